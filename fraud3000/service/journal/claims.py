"""What a store's journal must hold: checked at every start, before a new entry could take the number of a lost one.

Three things say how many entries there were: the anchors outside the store, the high-water mark beside the journal, and the
alerts within it. A claim stands until a person acknowledges the loss (`fraud3000 audit acknowledge`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fraud3000.errors import CheckFailed, UnavailableError
from fraud3000.service.journal.checkpoints import CheckpointClaims
from fraud3000.service.journal.entries import AcknowledgementEntry
from fraud3000.service.journal.high_water_mark import Mark
from fraud3000.service.journal.sqlite import SqliteJournal

_LEFT = ("seed.json", "history.parquet", "labels.parquet", "archive", "shadow", "snapshots", "journal.mark")
"""What a store holds beside its journal."""

MOST_LOST = 1_000_000
"""An alert of an entry that lies further behind the end is damaged: unlike anchors and mark, alerts are not sealed."""

_WAYS = (
    "Mount or restore the store; or rename the journal.db.rescued or journal.db.damaged-… file to journal.db; or accept "
    "the loss with `fraud3000 audit acknowledge --reason …`; or, for a new service, set another serve.store and "
    "serve.anchors."
)


@dataclass(frozen=True)
class Claim:
    """Somebody's word that a journal had an entry.

    Attributes
    ----------
    number, seal
        Of the entry; the seal is None if it is not known.
    source
        Who says so.
    """

    number: int
    seal: bytes | None
    source: str


def of_journal(journal: SqliteJournal, anchors: CheckpointClaims) -> list[Claim]:
    """Every claim about the end of this journal."""
    claims = [
        Claim(anchor.number, bytes.fromhex(anchor.seal), f"an anchor of {anchor.at}")
        for anchor in anchors.of(journal.store)
    ]
    mark = journal.mark.read()
    if mark is not None and mark.store == journal.store and mark.binding:
        claims.append(Claim(mark.number, mark.seal, "the high-water mark"))
    if journal.last < journal.last_alert <= journal.last + MOST_LOST:
        claims.append(Claim(journal.last_alert, None, "an alert"))
    return claims


def beyond_end(journal: SqliteJournal, anchors: CheckpointClaims) -> Claim | None:
    """The claim of the highest number that the journal does not reach; None if it reaches all."""
    claims = [claim for claim in of_journal(journal, anchors) if claim.number > journal.last]
    return max(claims, key=lambda claim: (claim.number, claim.seal is not None), default=None)


@dataclass(frozen=True)
class MissingJournal:
    """Another journal than the present one, which was kept at this place and is not acknowledged as lost.

    Attributes
    ----------
    store
        Its name.
    number
        Of its last known entry.
    source
        Who says so.
    """

    store: str
    number: int
    source: str


def missing_journals(
    journal: SqliteJournal | None, anchors: CheckpointClaims, mark: Mark | None
) -> Iterator[MissingJournal]:
    """Every other journal with entries that anchors or the high-water mark know at this place."""
    acknowledged: dict[str, int] = {}
    for entry in journal.of_transaction("") if journal is not None else ():
        if isinstance(entry, AcknowledgementEntry):
            acknowledged.update(entry.stores)
    known = {
        store: MissingJournal(store, anchor.number, f"an anchor of {anchor.at}")
        for store, anchor in anchors.highest().items()
    }
    if mark is not None and (mark.store not in known or known[mark.store].number < mark.number):
        known[mark.store] = MissingJournal(mark.store, mark.number, "the high-water mark")
    for store, missing in known.items():
        here = journal is not None and journal.store == store
        if not here and missing.number > acknowledged.get(store, 0):
            yield missing


def require(journal: SqliteJournal, anchors: CheckpointClaims) -> None:
    """Refuse to append to a journal that has lost its end, or that is not the one that was anchored here.

    Raises
    ------
    CheckFailed
        Saying what is missing, who says so, and the ways to proceed.
    """
    claim = beyond_end(journal, anchors)
    if claim is not None:
        lost = claim.number - journal.last
        raise CheckFailed(
            f"{journal.path}: ends at entry {journal.last:,}, but {claim.source} shows that there were {claim.number:,}: "
            f"{lost:,} acknowledged {'entry is' if lost == 1 else 'entries are'} lost",
            hint="Restore a copy that has them, or accept the loss with `fraud3000 audit acknowledge --reason …`.",
        )
    missing = next(missing_journals(journal, anchors, journal.mark.read()), None)
    if missing is not None:
        raise CheckFailed(
            f"{journal.path}: is not the journal that was kept here: {missing.source} shows journal {missing.store} with "
            f"{missing.number:,} entries",
            hint="Restore that journal, or accept the loss with `fraud3000 audit acknowledge --reason …`.",
        )


def require_untouched(root: Path, anchors: CheckpointClaims, mark: Path | None) -> None:
    """Refuse to begin an empty journal where there was one.

    Raises
    ------
    UnavailableError
        Naming what was found, and the ways to proceed.
    """
    found = [name for name in _LEFT if (root / name).exists()]
    found += sorted(path.name for path in root.glob("journal.db*"))
    found += [f"anchors of {anchor.number:,} entries" for anchor in anchors.highest().values() if anchor.number]
    found += [f"{len(anchors.damaged)} damaged anchor(s)"] if anchors.damaged else []
    found += [mark.name] if mark is not None and mark.exists() else []
    if found:
        raise UnavailableError(f"{root}: has no journal.db, but {', '.join(found)}", hint=_WAYS)
