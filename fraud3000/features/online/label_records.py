"""Label records of one transaction, and the deltas that they make to label windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Record(NamedTuple):
    """Label of a transaction by one source; times in microseconds, `position` is the record's position in the ledger.

    `is_fraud` None withholds the label: the transaction is no longer presumed legitimate.
    """

    is_fraud: int | None
    source: str
    reported_at: int | None
    recorded_at: int
    position: int


WITHHELD = Record(None, "", None, -(1 << 62), -1)

Strength = tuple[float, int, float, int]

Deltas = dict[int, tuple[int, int]]
"""By `since`: amounts added to frauds and to labelled for every t after it."""


def compute_deltas(records: Iterable[Record], precedence: Sequence[str], *, presumed: bool) -> Deltas:
    """Compute the deltas of a transaction's records, relative to no records.

    The record of the most trusted source decides, then the greatest (`recorded_at`, `reported_at`, position).

    Examples
    --------
    >>> compute_deltas([Record(1, "file", None, 5, 0), Record(0, "file", None, 9, 1)], (), presumed=True)
    {5: (1, 0), 9: (-1, 0)}
    >>> compute_deltas([WITHHELD, Record(1, "file", None, 5, 0)], (), presumed=True) == {
    ...     WITHHELD.recorded_at: (0, -1), 5: (1, 1)}
    True
    """
    trust = {source: -position for position, source in enumerate(precedence)}
    deltas: Deltas = {}
    current = (0, int(presumed))
    deciding: Strength | None = None
    for record in sorted(records, key=lambda record: (record.recorded_at, record.position)):
        if record.is_fraud is None:
            _add(deltas, record.recorded_at, 0, -current[1])
            current = (0, 0)
            continue
        reported = -math.inf if record.reported_at is None else record.reported_at
        strength: Strength = (trust.get(record.source, -math.inf), record.recorded_at, reported, record.position)
        if deciding is None or strength > deciding:
            deciding = strength
            _add(deltas, record.recorded_at, record.is_fraud - current[0], 1 - current[1])
            current = (record.is_fraud, 1)
    return {since: steps for since, steps in deltas.items() if steps != (0, 0)}


def subtract(minuend: Deltas, subtrahend: Deltas) -> Deltas:
    """Subtract one set of deltas from another."""
    deltas = dict(minuend)
    for since, (frauds, labelled) in subtrahend.items():
        _add(deltas, since, -frauds, -labelled)
    return {since: steps for since, steps in deltas.items() if steps != (0, 0)}


def _add(deltas: Deltas, since: int, frauds: int, labelled: int) -> None:
    frauds_before, labelled_before = deltas.get(since, (0, 0))
    deltas[since] = (frauds_before + frauds, labelled_before + labelled)
