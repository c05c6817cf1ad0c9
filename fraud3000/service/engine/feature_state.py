"""Feature state of a service: restored from snapshot or seed history, then brought up to date from the journal.

The state of a catalogue is built from the newest snapshot that fits catalogue and journal, or else from the seed history,
and from the entries since. This needs only the service's files, so another process can do it beside a running service.
"""

from __future__ import annotations

from itertools import islice, takewhile
from pathlib import Path

import polars as pl
from loguru import logger

from fraud3000.data.storage import atomic_write
from fraud3000.data.storage.spill import read_slices
from fraud3000.errors import ScorerError
from fraud3000.features.online import FeatureStore
from fraud3000.features.online.row_features import Value
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.service.entries import Entry, LabelEntry, LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.history_frames import ledger_of, transactions_of
from fraud3000.service.journal.interface import Journal
from fraud3000.service.journal.repair import Corrections
from fraud3000.service.journal.sqlite import SqliteJournal

HISTORY, LABELS = "history.parquet", "labels.parquet"
_BATCH = 50_000  # entries that are applied at a time
_MAX_SNAPSHOTS = 2  # of each catalogue; older ones are deleted


def build(
    root: Path, catalogue: Catalogue, journal: SqliteJournal, *, until: int | None = None
) -> tuple[FeatureStore, int | None, int]:
    """Build the feature state of a catalogue as of an entry of the journal.

    Parameters
    ----------
    until
        Number of that entry; None for the entry that is the last one at the start of the call.

    Returns
    -------
    store : FeatureStore
    snapshot : int or None
        Number of the last entry in the snapshot that was used; None if there was no snapshot.
    last : int
        Number of the last entry in the state.

    Raises
    ------
    CheckFailed
        The journal is damaged.
    """
    number, store = newest_snapshot(root, catalogue, journal, until=until) or (None, from_seed(root, catalogue))
    return store, number, apply_entries(store, journal, number or 0, until=until)


def apply_entries(
    store: FeatureStore,
    journal: Journal,
    number: int,
    *,
    until: int | None = None,
    corrections: Corrections | None = None,
) -> int:
    """Apply the journal's entries after a number to a state; returns the number of the last one.

    Parameters
    ----------
    number
        Number of the last entry in the state.
    until
        Number of the last entry to apply; None for all.
    corrections
        Corrections of repaired times; None to read them from the journal.

    Raises
    ------
    CheckFailed
        The journal is damaged.
    """
    entries = journal.after(number)
    if until is not None:
        entries = takewhile(lambda entry: entry.number <= until, entries)
    corrected = iter((corrections or Corrections.from_journal(journal)).apply(entries))
    while batch := list(islice(corrected, _BATCH)):
        transactions = [entry for entry in batch if isinstance(entry, TransactionEntry)]
        declined = [entry.transaction_id for entry in transactions if entry.declined]
        store.absorb(transactions_of(transactions), ledger_of(batch), withheld=declined)
        for entry in batch:
            if isinstance(entry, LateDecisionEntry):
                observe_entry(store, entry)
        number = batch[-1].number
    return number


def observe_entry(store: FeatureStore, entry: Entry) -> tuple[Value, ...]:
    """Apply an entry to a state; returns the features of a transaction, and an empty tuple for other entries."""
    features: tuple[Value, ...] = ()
    match entry:
        case TransactionEntry():
            features = tuple(store.observe(entry.transaction).values())
            if entry.declined:
                store.withhold_label(entry.transaction_id, store.last_label_state)
        case LateDecisionEntry() if entry.declined:
            store.withhold_label(entry.transaction_id)
        case LabelEntry():
            record_label(store, entry)
    return features


def record_label(store: FeatureStore, label: LabelEntry) -> None:
    """Apply a label record to a state."""
    store.record_label(
        label.transaction_id,
        label.is_fraud,
        source=label.source,
        reported_at=label.reported_at,
        recorded_at=label.recorded_at,
    )


def from_seed(root: Path, catalogue: Catalogue) -> FeatureStore:
    """Build a state from the history and labels with which the service was seeded."""
    store = FeatureStore(catalogue)
    if (root / HISTORY).exists():
        store.absorb(pl.read_parquet(root / HISTORY, n_rows=0), pl.read_parquet(root / LABELS))
        for piece in read_slices(pl.scan_parquet(root / HISTORY)):
            store.absorb(piece)
    return store


def newest_snapshot(
    root: Path, catalogue: Catalogue, journal: SqliteJournal, *, until: int | None = None
) -> tuple[int, FeatureStore] | None:
    """Load the newest usable snapshot: of the catalogue, with the journal's seal, and up to an entry.

    Returns
    -------
    tuple or None
        The number of the last entry in the snapshot, and the state. None if there is no usable snapshot.
    """
    for path in sorted(_folder(root, catalogue).glob("*.snapshot"), reverse=True):
        number, _, seal = path.stem.partition("-")
        if int(number) > (journal.last if until is None else until):
            continue
        if (journal.seal_of(int(number)) or b"").hex()[:16] != seal:
            continue
        try:
            with path.open("rb") as file:
                return int(number), FeatureStore.restore(file)
        except (ScorerError, OSError) as error:  # damaged, or deleted since it was listed
            logger.warning("{}: snapshot not used ({})", path, getattr(error, "message", error))
    return None


def save(root: Path, store: FeatureStore, end: tuple[int, bytes]) -> Path:
    """Write a snapshot of a state and delete older ones of its catalogue.

    Parameters
    ----------
    end
        Number and seal of the last entry in the state.

    Returns
    -------
    Path
        The snapshot file.

    Raises
    ------
    UnavailableError
        The folder cannot be written.
    """
    number, seal = end
    path = _folder(root, store.catalogue) / f"{number:015d}-{seal.hex()[:16]}.snapshot"
    if not path.exists():
        with atomic_write.atomic_outputs(path) as (part,), part.open("wb") as file:
            store.snapshot(file)
    for old in sorted(path.parent.glob("*.snapshot"))[:-_MAX_SNAPSHOTS]:
        old.unlink(missing_ok=True)
    return path


def _folder(root: Path, catalogue: Catalogue) -> Path:
    return root / "snapshots" / catalogue.hash[:16]
