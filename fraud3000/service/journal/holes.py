"""Holes: ranges of numbers whose entries are lost or damaged, and verification of the entries between them.

A lost entry's number is never used again. So the journal continues after a hole under the same name, ids of decisions stay
unique, and the loss remains visible. If the seal of the last lost entry is known, it still links the entries after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.hash_chain import SealedRow


@dataclass(frozen=True, slots=True)
class Hole:
    """A range of lost entries.

    Attributes
    ----------
    first, last
        Numbers, both included.
    seal
        Of the last of them; None if it is unknown, in which case the next entry cannot be verified.
    why
        What is wrong, as the predicate of a sentence.
    """

    first: int
    last: int
    seal: bytes | None
    why: str

    @property
    def span(self) -> str:
        """The numbers as text: "250" or "251 to 300"."""
        return f"{self.first:,}" if self.first == self.last else f"{self.first:,} to {self.last:,}"


def count(holes: Iterable[Hole], after: int = 0) -> int:
    """Return how many entries after a number are lost.

    Examples
    --------
    >>> count([Hole(3, 4, None, ""), Hole(9, 10, None, "")], after=3)
    3
    """
    return sum(max(0, hole.last - max(hole.first - 1, after)) for hole in holes)


def containing(holes: Iterable[Hole], number: int) -> Hole | None:
    """Return the hole that contains a number; None if its entry is not lost."""
    return next((hole for hole in holes if hole.first <= number <= hole.last), None)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a verification: an entry, a hole, or missing numbers.

    Attributes
    ----------
    first, last
        Numbers, both included; equal for an entry.
    row
        The entry; None for a hole and for missing numbers.
    hole
        The hole; None otherwise.
    verified
        True if the entry matches its seal; False for missing numbers.
    before
        The seal that the entry was verified against; None if that is unknown.
    expected
        The seal computed from the stored entry and that seal; None if it cannot be computed.
    """

    first: int
    last: int
    row: SealedRow | None = None
    hole: Hole | None = None
    verified: bool = True
    before: bytes | None = None
    expected: bytes | None = None


def steps(
    rows: Iterable[SealedRow], holes: Sequence[Hole], *, key: bytes, after: int, seal: bytes | None
) -> Iterator[Step]:
    """Yield the entries after a number and verify each seal; after a problem, continue with the next entry.

    Parameters
    ----------
    rows
        Entries behind `after`, in ascending order of their numbers.
    holes
        Of the whole journal, in order. Rows inside a hole are skipped.
    key
        The audit key.
    after, seal
        Number and seal of the entry before the first one; a seal of None is unknown.
    """
    remaining = [hole for hole in holes if hole.last > after]
    seals_before: tuple[bytes | None, ...] = (seal,)
    for row in rows:
        while remaining and remaining[0].last < row.number:
            hole = remaining.pop(0)
            if hole.first > after + 1:
                yield Step(after + 1, hole.first - 1, verified=False)
            yield Step(hole.first, hole.last, hole=hole)
            after, seals_before = hole.last, (hole.seal,)
        if remaining and remaining[0].first <= row.number:
            continue
        if row.number > after + 1:
            yield Step(after + 1, row.number - 1, verified=False)
            seals_before = (None,)
        step = _verified(row, key, seals_before)
        yield step
        after = row.number
        possible = (row.seal,) if step.verified else (step.expected, row.seal)
        seals_before = tuple(seal for seal in possible if isinstance(seal, bytes)) or (None,)
    for hole in remaining:
        if hole.first > after + 1:
            yield Step(after + 1, hole.first - 1, verified=False)
        yield Step(hole.first, hole.last, hole=hole)
        after = hole.last


def _verified(row: SealedRow, key: bytes, seals_before: tuple[bytes | None, ...]) -> Step:
    """Verify an entry against each seal that the entry before it may have."""
    if not row.well_formed:
        return Step(row.number, row.number, row, verified=False)
    for before in seals_before:
        if before is None or (isinstance(before, bytes) and row.is_valid(key, row.number, before)):
            return Step(row.number, row.number, row, before=before)
    first = seals_before[0]
    expected = row.seal_after(key, first) if isinstance(first, bytes) else None
    return Step(row.number, row.number, row, verified=False, before=first, expected=expected)


def ascending(rows: Iterable[SealedRow], *, after: int = 0, until: int | None = None) -> Iterator[SealedRow]:
    """Yield rows in ascending order, without those whose number is damaged, as bounds and neighbours show.

    Parameters
    ----------
    after, until
        Bounds of the numbers, the latter included.
    """
    for row, following in pairwise(chain(rows, [None])):
        assert row is not None
        conflicts = following is not None and after < following.number <= row.number
        if row.number > after and (until is None or row.number <= until) and not conflicts:
            after = row.number
            yield row


def bridge(key: bytes, before: bytes, last: int) -> bytes:
    """Compute a seal for the end of a hole whose seal is unknown, to link the entries after it to those before it."""
    return hash_chain.sealed(key, before, last, "hole", "", hash_chain.digest_of(b""))
