"""Claims about how many entries a store's journal has: checked at every start, before a new entry could reuse a lost number.

Three sources record the count: the checkpoints outside the store, the high-water mark, and the alerts within the journal.
A claim stands until an operator acknowledges the loss (`fraud3000 audit acknowledge`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fraud3000.errors import CheckFailed, UnavailableError
from fraud3000.service.journal.checkpoints import CheckpointClaims
from fraud3000.service.journal.high_water_mark import Mark
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.service.operator_entries import AcknowledgementEntry

_STORE_FILES = ("seed.json", "history.parquet", "labels.parquet", "archive", "shadow", "snapshots", "journal.mark")
"""Files and folders of a store other than its journal."""

MAX_LOST = 1_000_000
"""An alert of an entry further after the end is damaged: unlike checkpoints and mark, alerts are not sealed."""

_NO_JOURNAL_HINT = (
    "Mount or restore the store; or rename the journal.db.rescued or journal.db.damaged-… file to journal.db; or accept "
    "the loss with `fraud3000 audit acknowledge --reason …`; or, for a new service, set another serve.store and "
    "serve.anchors."
)


@dataclass(frozen=True)
class Claim:
    """A record that a journal had an entry.

    Attributes
    ----------
    number, seal
        Of the entry; the seal is None if it is not known.
    source
        What recorded it, as the subject of a sentence.
    """

    number: int
    seal: bytes | None
    source: str


def journal_claims(journal: SqliteJournal, checkpoints: CheckpointClaims) -> list[Claim]:
    """Return every claim about the end of this journal."""
    claims = [
        Claim(checkpoint.number, bytes.fromhex(checkpoint.seal), f"a checkpoint of {checkpoint.at}")
        for checkpoint in checkpoints.of_store(journal.store)
    ]
    mark = journal.mark.read()
    if mark is not None and mark.store == journal.store and mark.binding:
        claims.append(Claim(mark.number, mark.seal, "the high-water mark"))
    if journal.last < journal.last_alert <= journal.last + MAX_LOST:
        claims.append(Claim(journal.last_alert, None, "an alert"))
    return claims


def beyond_end(journal: SqliteJournal, checkpoints: CheckpointClaims) -> Claim | None:
    """Return the claim with the highest number after the journal's end; None if there is none."""
    claims = [claim for claim in journal_claims(journal, checkpoints) if claim.number > journal.last]
    return max(claims, key=lambda claim: (claim.number, claim.seal is not None), default=None)


@dataclass(frozen=True)
class MissingJournal:
    """A journal that was at this path, is not the present one, and is not acknowledged as lost.

    Attributes
    ----------
    store
        Its name.
    number
        Of its last recorded entry.
    source
        What recorded it, as the subject of a sentence.
    """

    store: str
    number: int
    source: str


def missing_journals(
    journal: SqliteJournal | None, checkpoints: CheckpointClaims, mark: Mark | None
) -> Iterator[MissingJournal]:
    """Yield every other journal with entries that checkpoints or the high-water mark record at this path."""
    acknowledged: dict[str, int] = {}
    for entry in journal.of_transaction("") if journal is not None else ():
        if isinstance(entry, AcknowledgementEntry):
            acknowledged.update(entry.stores)
    recorded = {
        store: MissingJournal(store, checkpoint.number, f"a checkpoint of {checkpoint.at}")
        for store, checkpoint in checkpoints.highest().items()
    }
    if mark is not None and (mark.store not in recorded or recorded[mark.store].number < mark.number):
        recorded[mark.store] = MissingJournal(mark.store, mark.number, "the high-water mark")
    for store, missing in recorded.items():
        present = journal is not None and journal.store == store
        if not present and missing.number > acknowledged.get(store, 0):
            yield missing


def require_complete(journal: SqliteJournal, checkpoints: CheckpointClaims) -> None:
    """Check that the journal has every claimed entry, and is the journal that was recorded at this path.

    Raises
    ------
    CheckFailed
        Entries, or another journal, are missing.
    """
    claim = beyond_end(journal, checkpoints)
    if claim is not None:
        lost = claim.number - journal.last
        raise CheckFailed(
            f"{journal.path}: ends at entry {journal.last:,}, but {claim.source} shows that there were {claim.number:,}: "
            f"{lost:,} acknowledged {'entry is' if lost == 1 else 'entries are'} lost",
            hint="Restore a copy that has them, or accept the loss with `fraud3000 audit acknowledge --reason …`.",
        )
    missing = next(missing_journals(journal, checkpoints, journal.mark.read()), None)
    if missing is not None:
        raise CheckFailed(
            f"{journal.path}: is another journal than before: {missing.source} shows journal {missing.store} with "
            f"{missing.number:,} entries",
            hint="Restore that journal, or accept the loss with `fraud3000 audit acknowledge --reason …`.",
        )


def require_new(root: Path, checkpoints: CheckpointClaims, mark: Path | None) -> None:
    """Check that a folder without a journal never had one, before an empty journal is created there.

    Raises
    ------
    UnavailableError
        Files, checkpoints or a mark show that there was a journal.
    """
    traces = [name for name in _STORE_FILES if (root / name).exists()]
    traces += sorted(path.name for path in root.glob("journal.db*"))
    traces += [f"checkpoints of {last.number:,} entries" for last in checkpoints.highest().values() if last.number]
    traces += [f"{len(checkpoints.damaged)} damaged checkpoint(s)"] if checkpoints.damaged else []
    traces += [mark.name] if mark is not None and mark.exists() else []
    if traces:
        raise UnavailableError(f"{root}: has no journal.db, but {', '.join(traces)}", hint=_NO_JOURNAL_HINT)
