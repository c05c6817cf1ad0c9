"""Label records, from the ledger to the windows: they wait for their transaction, and may change what was known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fraud3000.features.online.label_records import WITHHELD, Record, compute_deltas, subtract
from fraud3000.features.online.plan import PRESUMED, Ints
from fraud3000.features.online.recent_transactions import FLAGS, HEAD, TS, RecentTransactions

LabelState = tuple[int, int, list[int], list[Record]]
"""A transaction that was met: its ts, flags and keys, and the records that had waited for it."""

AddDelta = Callable[[Ints, Ints], None]
"""Notes a change with the keys of an event: the keys, then ts, since, flags, frauds and labelled."""


class Labels:
    """What is said of the transactions that label windows may still read.

    Parameters
    ----------
    span
        How far back label windows look, in microseconds; 0 without any, and nothing is kept.
    keys
        How many keys a transaction's label counts for.
    flags
        Those that label windows ask for.
    precedence
        Sources, the most trusted first.
    alter
        Where changes go.

    Attributes
    ----------
    last
        The transaction that was met alone and last; None before the first.
    """

    def __init__(self, span: int, keys: int, flags: int, precedence: tuple[str, ...], add_delta: AddDelta) -> None:
        self.span = span
        self._flags = flags | PRESUMED
        self.recent = RecentTransactions(span, keys, self._flags)
        self.waiting: dict[str, list[Record]] = {}
        self.count = 0  # records taken
        self.last: LabelState | None = None
        self._precedence = precedence
        self._add_delta = add_delta

    def add_record(self, id_: str, is_fraud: int, source: str, reported_at: int | None, recorded_at: int) -> None:
        """Take a record; times in microseconds."""
        if not self.span:
            return
        record = Record(is_fraud, source, reported_at, recorded_at, self.count)
        self.count += 1
        found = self.recent.find(id_)
        if found is None:
            self.waiting.setdefault(id_, []).append(record)
        else:
            self._apply_records(id_, *found, [record])

    def add_transaction(self, id_: str, ts: int, flags: int, keys: list[int]) -> None:
        """Take a transaction."""
        if not self.span:
            return
        flags &= self._flags
        self.recent.append(id_, ts, flags, keys)
        records = self._apply_waiting(id_, np.array([0, 0, ts, flags, *keys])) if id_ in self.waiting else []
        self.last = (ts, flags, keys, records)

    def withhold_label(self, id_: str, label_state: LabelState | None = None) -> None:
        """Presume nothing of a transaction; without what was met, of one that some window may still read."""
        found = self.recent.find(id_)
        if found is None and label_state is not None:
            ts, flags, keys, records = label_state
            found = np.array([0, 0, ts, flags, *keys]), records
        if found is not None:
            self._apply_records(id_, *found, [WITHHELD])

    def expect_withheld(self, ids: Iterable[str]) -> None:
        """Presume nothing of transactions that are about to be met."""
        for id_ in ids:
            if self.span:
                self.waiting.setdefault(id_, []).append(WITHHELD)

    def add_transactions(self, ids: list[str], entries: Ints) -> None:
        """Take transactions; an entry each as `Recent` keeps it."""
        entries[:, FLAGS] &= self._flags
        self.recent.extend(entries)
        if self.waiting:
            for row in [row for row, id_ in enumerate(ids) if id_ in self.waiting]:
                self._apply_waiting(ids[row], entries[row])

    def _apply_waiting(self, id_: str, entry: Ints) -> list[Record]:
        found = self.recent.find(id_)
        records: list[Record] = [] if found is None else found[1]
        self._apply_records(id_, entry, records, self.waiting.pop(id_))
        return records

    def _apply_records(self, id_: str, entry: Ints, known: list[Record], records: Iterable[Record]) -> None:
        """Change what is known of a transaction; what comes when no window sees it any more goes on waiting, unread."""
        presumed, expiry = bool(entry[FLAGS] & PRESUMED), entry[TS] + self.span
        before = compute_deltas(known, self._precedence, presumed=presumed)
        for record in records:
            (known if record.recorded_at < expiry else self.waiting.setdefault(id_, [])).append(record)
        after = compute_deltas(known, self._precedence, presumed=presumed)
        for since, (frauds, labelled) in subtract(after, before).items():
            self._add_delta(entry[HEAD:], np.array([entry[TS], since, entry[FLAGS], frauds, labelled]))

    # as a file, or a hash

    def waiting_records(self) -> list[tuple[Any, ...]]:
        """The records that wait, by transaction and time, however they came."""
        waiting = [(id_, record) for id_, records in self.waiting.items() for record in records]
        waiting.sort(key=lambda item: (item[0], item[1].recorded_at, item[1].position))
        return [(id_, *record[:-1]) for id_, record in waiting]

    def content(self) -> dict[str, Any]:
        """What a snapshot tells beside the arrays."""
        records = {age: generation.records for age, generation in self.recent.generations.items()}
        return {"count": self.count, "newest": self.recent.newest, "waiting": self.waiting, "records": records}

    def arrays(self) -> dict[str, Ints]:
        """The transactions, one array for each generation."""
        generations = self.recent.generations.items()
        return {f"transactions {age}": generation.rows[: generation.count] for age, generation in generations}

    def restore(self, content: dict[str, Any], arrays: Mapping[str, Ints]) -> None:
        """Take back what `content` and `arrays` gave."""
        self.count, self.recent.newest = content["count"], content["newest"]
        self.waiting = _records(content["waiting"])
        for age, records in content["records"].items():
            generation = self.recent.get_or_create(int(age))
            generation.records = _records(records)
            generation.extend(arrays[f"transactions {age}"])


def _records(saved: Mapping[str, Any]) -> dict[str, list[Record]]:
    return {id_: [Record(*record) for record in records] for id_, records in saved.items()}
