"""States of the features: of what a service began with and the entries of its journal, by way of snapshots.

A state of some catalogue is made of the newest snapshot that fits catalogue and journal, or of the history, and of the
entries since. Whoever makes it needs nothing of a running service but its files.
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
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.service.journal.entries import Entry, LabelEntry, LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.history_frames import ledger_of, transactions_of
from fraud3000.service.journal.interface import Journal
from fraud3000.service.journal.repair import Corrections
from fraud3000.service.journal.sqlite import SqliteJournal

HISTORY, LABELS = "history.parquet", "labels.parquet"
_AT_ONCE = 50_000  # entries that are read again at a time
_SNAPSHOTS = 2  # that are kept of each catalogue


def made(
    root: Path, catalogue: Catalogue, journal: SqliteJournal, *, until: int | None = None
) -> tuple[FeatureStore, int | None, int]:
    """A state of a catalogue after an entry of the journal.

    Parameters
    ----------
    until
        Number of that entry; None for the last one, as it was when this began.

    Returns
    -------
    store : FeatureStore
    snapshot : int or None
        Number of the entry after which the snapshot was taken that it was made of; None where there was none.
    last : int
        Number of the last entry that it has seen.

    Raises
    ------
    CheckFailed
        The journal is damaged.
    """
    number, store = newest(root, catalogue, journal, until=until) or (None, sown(root, catalogue))
    return store, number, advanced(store, journal, number or 0, until=until)


def advanced(
    store: FeatureStore,
    journal: Journal,
    number: int,
    *,
    until: int | None = None,
    corrections: Corrections | None = None,
) -> int:
    """Let a state that has seen the entries up to a number see those behind it, up to another; the last one's number.

    Parameters
    ----------
    corrections
        Of repaired times; None for those of the whole journal.

    Raises
    ------
    CheckFailed
        The journal is damaged.
    """
    entries = journal.after(number)
    if until is not None:
        entries = takewhile(lambda entry: entry.number <= until, entries)
    since = iter((corrections or Corrections.of_journal(journal)).apply(entries))
    while part := list(islice(since, _AT_ONCE)):
        taken = [one for one in part if isinstance(one, TransactionEntry)]
        declined = [one.transaction_id for one in taken if one.declined]
        store.absorb(transactions_of(taken), ledger_of(part), unpresumed=declined)
        for one in part:
            if isinstance(one, LateDecisionEntry):
                meet(store, one)
        number = part[-1].number
    return number


def meet(store: FeatureStore, entry: Entry) -> tuple[Value, ...]:
    """Let a state see an entry; the features of its transaction, and none of other entries."""
    features: tuple[Value, ...] = ()
    match entry:
        case TransactionEntry():
            features = tuple(store.observe(entry.transaction).values())
            if entry.declined:
                store.unpresume(entry.transaction_id, store.met)
        case LateDecisionEntry() if entry.declined:
            store.unpresume(entry.transaction_id)
        case LabelEntry():
            tell(store, entry)
    return features


def tell(store: FeatureStore, label: LabelEntry) -> None:
    """Let a state take a label record."""
    store.record_label(
        label.transaction_id,
        label.is_fraud,
        source=label.source,
        reported_at=label.reported_at,
        recorded_at=label.recorded_at,
    )


def sown(root: Path, catalogue: Catalogue) -> FeatureStore:
    """A store that has observed what the service of a folder began with."""
    store = FeatureStore(catalogue)
    if (root / HISTORY).exists():
        store.absorb(pl.read_parquet(root / HISTORY, n_rows=0), pl.read_parquet(root / LABELS))
        for piece in read_slices(pl.scan_parquet(root / HISTORY)):
            store.absorb(piece)
    return store


def newest(
    root: Path, catalogue: Catalogue, journal: SqliteJournal, *, until: int | None = None
) -> tuple[int, FeatureStore] | None:
    """The newest snapshot that fits catalogue and journal, up to an entry, with its number; None where there is none."""
    for path in sorted(_folder(root, catalogue).glob("*.snapshot"), reverse=True):
        number, _, seal = path.stem.partition("-")
        if int(number) > (journal.last if until is None else until):
            continue
        if (journal.seal_of(int(number)) or b"").hex()[:16] != seal:
            continue
        try:
            with path.open("rb") as file:
                return int(number), FeatureStore.restore(file)
        except (ScorerError, OSError) as error:  # it may be damaged, or gone by now
            logger.warning("{}: passed over ({})", path, getattr(error, "message", error))
    return None


def save(root: Path, store: FeatureStore, end: tuple[int, bytes]) -> Path:
    """Write a snapshot of a state, and take older ones of its catalogue away.

    Parameters
    ----------
    end
        Number and seal of the last entry that it has seen.

    Raises
    ------
    UnavailableError
        The place cannot be written.
    """
    number, seal = end
    path = _folder(root, store.catalogue) / f"{number:015d}-{seal.hex()[:16]}.snapshot"
    if not path.exists():
        with atomic_write.atomic_outputs(path) as (part,), part.open("wb") as file:
            store.snapshot(file)
    for old in sorted(path.parent.glob("*.snapshot"))[:-_SNAPSHOTS]:
        old.unlink(missing_ok=True)
    return path


def _folder(root: Path, catalogue: Catalogue) -> Path:
    return root / "snapshots" / catalogue.hash[:16]
