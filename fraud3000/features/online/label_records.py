"""Label records of one transaction, and what they change in the windows that see it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Record(NamedTuple):
    """What a source says of a transaction's label; times in microseconds, `place` in the order they were given in.

    One that is neither fraud nor legitimate says that nothing is presumed of the transaction.
    """

    is_fraud: int | None
    source: str
    reported_at: int | None
    recorded_at: int
    place: int


UNPRESUMED = Record(None, "", None, -(1 << 62), -1)

Strength = tuple[float, int, float, int]

Changes = dict[int, tuple[int, int]]
"""By `since`: what is added to frauds and to labelled for every t after it."""


def changes(records: Iterable[Record], precedence: Sequence[str], *, presumed: bool) -> Changes:
    """What a transaction's records add to what is counted for it without any.

    Deciding is the record of the most trusted source, then the greatest (`recorded_at`, `reported_at`, place).

    Examples
    --------
    >>> changes([Record(1, "file", None, 5, 0), Record(0, "file", None, 9, 1)], (), presumed=True)
    {5: (1, 0), 9: (-1, 0)}
    >>> changes([UNPRESUMED, Record(1, "file", None, 5, 0)], (), presumed=True) == {
    ...     UNPRESUMED.recorded_at: (0, -1), 5: (1, 1)}
    True
    """
    trust = {source: -place for place, source in enumerate(precedence)}
    found: Changes = {}
    known = (0, int(presumed))
    decided: Strength | None = None
    for record in sorted(records, key=lambda record: (record.recorded_at, record.place)):
        if record.is_fraud is None:
            _add(found, record.recorded_at, 0, -known[1])
            known = (0, 0)
            continue
        reported = -math.inf if record.reported_at is None else record.reported_at
        strength: Strength = (trust.get(record.source, -math.inf), record.recorded_at, reported, record.place)
        if decided is None or strength > decided:
            decided = strength
            _add(found, record.recorded_at, record.is_fraud - known[0], 1 - known[1])
            known = (record.is_fraud, 1)
    return {since: steps for since, steps in found.items() if steps != (0, 0)}


def difference(now: Changes, before: Changes) -> Changes:
    """What takes one set of changes to another."""
    found = dict(now)
    for since, (frauds, labelled) in before.items():
        _add(found, since, -frauds, -labelled)
    return {since: steps for since, steps in found.items() if steps != (0, 0)}


def _add(found: Changes, since: int, frauds: int, labelled: int) -> None:
    frauds_before, labelled_before = found.get(since, (0, 0))
    found[since] = (frauds_before + frauds, labelled_before + labelled)
