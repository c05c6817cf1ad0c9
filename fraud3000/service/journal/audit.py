"""Audit of a journal: every edit, gap, insertion and lost end that seals, anchors and the high-water mark show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fraud3000.service.journal.archive import entry_of
from fraud3000.service.journal.checkpoints import Checkpoint
from fraud3000.service.journal.claims import Claim
from fraud3000.service.journal.entries import AcknowledgementEntry
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.holes import Hole, Step


@dataclass
class Audit:
    """What was looked at, and what was found.

    Attributes
    ----------
    entries, last
        How many were read, and the number of the last, lost ones included.
    expired
        How many have no features and no answer any more, as their time has come.
    findings
        Number of an entry, and what is wrong there.
    acknowledged
        Losses that a person acknowledged: the same, with the reason.
    """

    entries: int = 0
    last: int = 0
    expired: int = 0
    findings: list[tuple[int, str]] = field(default_factory=list)
    acknowledged: list[tuple[int, str]] = field(default_factory=list)


def audit(
    steps: Iterable[Step],
    anchors: Sequence[Checkpoint],
    claims: Sequence[Claim],
    acknowledged: Sequence[AcknowledgementEntry],
) -> Audit:
    """Follow the journal from the first entry to the last, and compare it with what was claimed of it.

    After a finding it continues with what comes next, so that each is reported once.

    Parameters
    ----------
    steps
        From the first entry on, see `SqliteJournal.steps_after`.
    anchors
        Of this journal, read before the entries.
    claims
        Every claim about its end, likewise.
    acknowledged
        Its acknowledgements.
    """
    found = Audit()
    sealed: dict[int, set[str]] = {}
    for anchor in anchors:
        sealed.setdefault(anchor.number, set()).add(anchor.seal)
    unknown = False  # whether the seal before the next entry is lost
    for step in steps:
        if step.hole is not None:
            _add_hole(found, step.hole, acknowledged)
        elif step.row is None:
            found.findings.append((step.first, _missing(step)))
        else:
            found.entries += 1
            found.expired += step.row.digest is not None
            found.findings += _problems(step, step.row, sealed.get(step.first))
            if unknown and not any(entry.covers(step.first - 1, step.first - 1) for entry in acknowledged):
                found.findings.append((step.first, "cannot be verified, since the seal of the entry before it is lost"))
        unknown = (step.hole is not None and step.hole.seal is None) or (step.row is None and step.hole is None)
        found.last = step.last
    _add_lost_end(found, claims)
    return found


def _add_hole(found: Audit, hole: Hole, acknowledged: Sequence[AcknowledgementEntry]) -> None:
    number = f", with all up to {hole.last:,}" if hole.last > hole.first else ""
    said = f"{hole.why}{number}"
    reason = next((entry for entry in acknowledged if entry.covers(hole.first, hole.last)), None)
    if reason is None:
        found.findings.append((hole.first, said))
    else:
        found.acknowledged.append((hole.first, f"{said} (acknowledged by {reason.by}: {reason.reason})"))


def _missing(step: Step) -> str:
    return "is missing" if step.first == step.last else f"is missing, with all up to {step.last:,}"


def _problems(step: Step, row: SealedRow, anchored: set[str] | None) -> Iterator[tuple[int, str]]:
    if not step.verified:
        yield row.number, "is not what was sealed, or does not follow the entry before it"
    elif anchored is not None and anchored != {row.seal.hex()}:
        yield row.number, "is sealed otherwise than an anchor says"
    else:
        yield from _beside(row)


def _beside(row: SealedRow) -> Iterator[tuple[int, str]]:
    try:
        entry_of(row)
    except (ValueError, KeyError, TypeError):
        yield row.number, "what stands beside it is not what was sealed"


def _add_lost_end(found: Audit, claims: Sequence[Claim]) -> None:
    beyond = max(claims, key=lambda claim: claim.number, default=None)
    if beyond is not None and beyond.number > found.last:
        missing = beyond.number - found.last
        said = f"{missing:,} of the last entries are gone: {beyond.source} saw {beyond.number:,}"
        found.findings.append((found.last + 1, said))
