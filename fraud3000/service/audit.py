"""Whether a journal is what it was: every edit, gap, insertion and cut tail that its seals and anchors show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fraud3000.service import seals
from fraud3000.service.anchors import Anchor
from fraud3000.service.archive import entry_of
from fraud3000.service.seals import Sealed


@dataclass
class Audit:
    """What was looked at, and what was found.

    Attributes
    ----------
    entries, last
        How many were read, and the number of the last.
    expired
        How many have no features and no answer any more, as their time has come.
    findings
        Number of an entry, and what is wrong there.
    """

    entries: int = 0
    last: int = 0
    expired: int = 0
    findings: list[tuple[int, str]] = field(default_factory=list)


def audit(rows: Iterable[Sealed], anchors: Sequence[Anchor], *, key: bytes) -> Audit:
    """Follow the seals from the first entry to the last, and hold them against the anchors.

    After a finding it goes on from what stands there, so that each is told once.

    Parameters
    ----------
    rows
        All entries as they lie in their files, in order.
    anchors
        Of this journal, told before the rows are read.
    key
        The audit key.
    """
    found = Audit()
    told: dict[int, set[str]] = {}
    for anchor in anchors:
        told.setdefault(anchor.number, set()).add(anchor.seal)
    before = seals.START
    for row in rows:
        if row.number != found.last + 1:
            found.findings.append((found.last + 1, _gap(found.last + 1, row.number)))
        elif not row.holds(key, row.number, before):
            found.findings.append((row.number, "is not what was sealed, or does not follow the entry before it"))
        elif {row.seal.hex()} != told.get(row.number, {row.seal.hex()}):
            found.findings.append((row.number, "is sealed otherwise than an anchor says"))
        else:
            found.findings.extend(_beside(row))
        found.entries += 1
        found.expired += row.digest is not None
        found.last, before = row.number, row.seal
    if anchors and anchors[-1].number > found.last:
        missing = anchors[-1].number - found.last
        said = f"{missing:,} of the last entries are gone: an anchor of {anchors[-1].at} saw {anchors[-1].number:,}"
        found.findings.append((found.last + 1, said))
    return found


def _gap(first: int, number: int) -> str:
    return "is missing" if number == first + 1 else f"is missing, with all up to {number - 1:,}"


def _beside(row: Sealed) -> Iterator[tuple[int, str]]:
    try:
        entry_of(row)
    except (ValueError, KeyError, TypeError):
        yield row.number, "what stands beside it is not what was sealed"
