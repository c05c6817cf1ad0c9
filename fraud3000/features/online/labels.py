"""Applies label records to label windows; records of transactions that have not arrived wait for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fraud3000.features.online.plan import PRESUMED, Ints
from fraud3000.features.online.recent_transactions import FLAGS, HEAD, TS, RecentTransactions, Record

WITHHELD = Record(None, "", None, -(1 << 62), -1)

LabelState = tuple[int, int, list[int], list[Record]]
"""Label state of a transaction: its ts, flags and key records, and the label records that waited for it."""

AddDelta = Callable[[Ints, Ints], None]
"""Adds a label delta to the keys of an event: the key records, then ts, since, flags, frauds and labelled."""

Strength = tuple[float, int, float, int]

Deltas = dict[int, tuple[int, int]]
"""By `since`: amounts added to frauds and to labelled for every t after it."""


class Labels:
    """Label records of the transactions that label windows may still read.

    Parameters
    ----------
    span
        How far back label windows look, in microseconds; 0 without label windows, and nothing is stored.
    keys
        Number of keys whose label windows count a transaction.
    flags
        Flags that label windows test.
    precedence
        Sources, the most trusted first.
    add_delta
        Called with each delta.

    Attributes
    ----------
    last
        Label state of the last transaction of `add_transaction`; None before the first.
    """

    def __init__(self, span: int, keys: int, flags: int, precedence: tuple[str, ...], add_delta: AddDelta) -> None:
        self.span = span
        self._flags = flags | PRESUMED
        self.recent = RecentTransactions(span, keys, self._flags)
        self.waiting: dict[str, list[Record]] = {}
        self.count = 0  # records added
        self.last: LabelState | None = None
        self._precedence = precedence
        self._add_delta = add_delta

    def add_record(self, id_: str, is_fraud: int, source: str, reported_at: int | None, recorded_at: int) -> None:
        """Add a label record; times in microseconds."""
        if not self.span:
            return
        record = Record(is_fraud, source, reported_at, recorded_at, self.count)
        self.count += 1
        match = self.recent.find(id_)
        if match is None:
            self.waiting.setdefault(id_, []).append(record)
        else:
            self._apply_records(id_, *match, [record])

    def add_transaction(self, id_: str, ts: int, flags: int, keys: list[int]) -> None:
        """Add a transaction and apply the records that waited for it."""
        if not self.span:
            return
        flags &= self._flags
        self.recent.append(id_, ts, flags, keys)
        records = self._apply_waiting(id_, np.array([ts, flags, *keys])) if id_ in self.waiting else []
        self.last = (ts, flags, keys, records)

    def withhold_label(self, id_: str, label_state: LabelState | None = None) -> None:
        """Stop presuming a transaction legitimate; without `label_state`, only if label windows may still read it."""
        match = self.recent.find(id_)
        if match is None and label_state is not None:
            ts, flags, keys, records = label_state
            match = np.array([ts, flags, *keys]), records
        if match is not None:
            self._apply_records(id_, *match, [WITHHELD])

    def expect_withheld(self, ids: Iterable[str]) -> None:
        """Withhold the labels of transactions that will be added next."""
        for id_ in ids:
            if self.span:
                self.waiting.setdefault(id_, []).append(WITHHELD)

    def add_transactions(self, ids: list[str], hashes: Ints, entries: Ints) -> None:
        """Add many transactions: their ids, the hashes of these, and entries as `RecentTransactions` stores them."""
        entries[:, FLAGS] &= self._flags
        self.recent.extend(hashes, entries)
        if self.waiting:
            for row in [row for row, id_ in enumerate(ids) if id_ in self.waiting]:
                self._apply_waiting(ids[row], entries[row])

    def _apply_waiting(self, id_: str, entry: Ints) -> list[Record]:
        match = self.recent.find(id_)
        records: list[Record] = [] if match is None else match[1]
        self._apply_records(id_, entry, records, self.waiting.pop(id_))
        return records

    def _apply_records(self, id_: str, entry: Ints, known: list[Record], records: Iterable[Record]) -> None:
        """Apply records to a transaction; those recorded after its last label window stay in `waiting`, unread."""
        presumed, expiry = bool(entry[FLAGS] & PRESUMED), entry[TS] + self.span
        before = compute_deltas(known, self._precedence, presumed=presumed)
        for record in records:
            (known if record.recorded_at < expiry else self.waiting.setdefault(id_, [])).append(record)
        after = compute_deltas(known, self._precedence, presumed=presumed)
        for since, (frauds, labelled) in subtract(after, before).items():
            self._add_delta(entry[HEAD:], np.array([entry[TS], since, entry[FLAGS], frauds, labelled]))

    # snapshot and checksum

    def waiting_records(self) -> list[tuple[Any, ...]]:
        """Waiting records sorted by transaction and time, whatever the order of arrival."""
        waiting = [(id_, record) for id_, records in self.waiting.items() for record in records]
        waiting.sort(key=lambda item: (item[0], item[1].recorded_at, item[1].position))
        return [(id_, *record[:-1]) for id_, record in waiting]

    def content(self) -> dict[str, Any]:
        """Content of a snapshot beside the arrays."""
        records = {age: generation.records for age, generation in self.recent.generations.items()}
        return {"count": self.count, "newest": self.recent.newest, "waiting": self.waiting, "records": records}

    def arrays(self) -> dict[str, Ints]:
        """Recent transactions, two arrays per generation."""
        arrays = {}
        for age, generation in self.recent.generations.items():
            arrays[f"transactions {age}"] = generation.rows[: generation.count]
            arrays[f"transactions by id {age}"] = generation.rows_by_id
        return arrays

    def restore(self, content: dict[str, Any], arrays: Mapping[str, Ints]) -> None:
        """Load what `content` and `arrays` returned."""
        self.count, self.recent.newest = content["count"], content["newest"]
        self.waiting = _records(content["waiting"])
        for age, records in content["records"].items():
            generation = self.recent.get_or_create(int(age))
            generation.records = _records(records)
            generation.rows, generation.rows_by_id = arrays[f"transactions {age}"], arrays[f"transactions by id {age}"]
            generation.count = len(generation.rows)


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


def _records(saved: Mapping[str, Any]) -> dict[str, list[Record]]:
    return {id_: [Record(*record) for record in records] for id_, records in saved.items()}
