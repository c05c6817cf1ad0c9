"""Audit of a journal: find every edit, gap, insertion and lost end that seals, checkpoints and the high-water mark reveal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fraud3000.service.journal.archive import decode
from fraud3000.service.journal.checkpoints import Checkpoint
from fraud3000.service.journal.claims import Claim
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.holes import Hole, Step
from fraud3000.service.operator_entries import AcknowledgementEntry


@dataclass
class Audit:
    """Result of an audit.

    Attributes
    ----------
    entries, last
        How many entries were read, and the number of the last one, lost ones included.
    expired
        How many entries have no features and no decision any more, since their retention has ended.
    findings
        Number of an entry, and what is wrong with it.
    acknowledged
        Losses that an operator acknowledged: the number of the first lost entry, and what was found, with the reason.
    """

    entries: int = 0
    last: int = 0
    expired: int = 0
    findings: list[tuple[int, str]] = field(default_factory=list)
    acknowledged: list[tuple[int, str]] = field(default_factory=list)


def audit(
    steps: Iterable[Step],
    checkpoints: Sequence[Checkpoint],
    claims: Sequence[Claim],
    acknowledged: Sequence[AcknowledgementEntry],
) -> Audit:
    """Verify the journal from its first entry to its last, and compare it with checkpoints and claims.

    After a finding it continues with the next entry, so that each problem is reported once.

    Parameters
    ----------
    steps
        From the first entry on, see `SqliteReader.steps_after`.
    checkpoints
        Of this journal, read before the entries.
    claims
        Every claim about its end, read before the entries.
    acknowledged
        Its acknowledgements.
    """
    result = Audit()
    checkpoint_seals: dict[int, set[str]] = {}
    for checkpoint in checkpoints:
        checkpoint_seals.setdefault(checkpoint.number, set()).add(checkpoint.seal)
    unknown = False  # whether the seal before the next entry is lost
    for step in steps:
        if step.hole is not None:
            _add_hole(result, step.hole, acknowledged)
        elif step.row is None:
            result.findings.append((step.first, _missing(step)))
        else:
            result.entries += 1
            result.expired += step.row.digest is not None
            result.findings += _problems(step, step.row, checkpoint_seals.get(step.first))
            if unknown and not any(entry.covers(step.first - 1, step.first - 1) for entry in acknowledged):
                problem = "cannot be verified, since the seal of the entry before it is lost"
                result.findings.append((step.first, problem))
        unknown = (step.hole is not None and step.hole.seal is None) or (step.row is None and step.hole is None)
        result.last = step.last
    _add_lost_end(result, claims)
    return result


def _add_hole(result: Audit, hole: Hole, acknowledged: Sequence[AcknowledgementEntry]) -> None:
    others = f", with all up to {hole.last:,}" if hole.last > hole.first else ""
    problem = f"{hole.why}{others}"
    entry = next((entry for entry in acknowledged if entry.covers(hole.first, hole.last)), None)
    if entry is None:
        result.findings.append((hole.first, problem))
    else:
        result.acknowledged.append((hole.first, f"{problem} (acknowledged by {entry.by}: {entry.reason})"))


def _missing(step: Step) -> str:
    return "is missing" if step.first == step.last else f"is missing, with all up to {step.last:,}"


def _problems(step: Step, row: SealedRow, checkpoint_seals: set[str] | None) -> Iterator[tuple[int, str]]:
    if not step.verified:
        yield row.number, "does not match its seal, or does not follow the entry before it"
    elif checkpoint_seals is not None and checkpoint_seals != {row.seal.hex()}:
        yield row.number, "has another seal than a checkpoint recorded"
    else:
        yield from _decoding_problems(row)


def _decoding_problems(row: SealedRow) -> Iterator[tuple[int, str]]:
    try:
        decode(row)
    except (ValueError, KeyError, TypeError):
        yield row.number, "has personal data that does not match the hash in its body"


def _add_lost_end(result: Audit, claims: Sequence[Claim]) -> None:
    beyond = max(claims, key=lambda claim: claim.number, default=None)
    if beyond is not None and beyond.number > result.last:
        missing = beyond.number - result.last
        problem = f"{missing:,} of the last entries are missing: {beyond.source} recorded {beyond.number:,}"
        result.findings.append((result.last + 1, problem))
