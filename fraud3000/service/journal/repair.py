"""Repair of times that a wrong clock gave to entries: find them, and correct what features and exports read.

Sealed entries and decisions are not changed. A `RepairEntry` lists the transactions that are dated in the future, which
features ignore from then on, and the label records that are dated in the future, each with its corrected time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from fraud3000.features.online.event_encoder import EPOCH, microseconds
from fraud3000.service.entries import Entry, LabelEntry, TransactionEntry
from fraud3000.service.journal.interface import Journal
from fraud3000.service.operator_entries import RepairEntry


@dataclass(frozen=True)
class Corrections:
    """Sum of the repairs of a journal.

    Attributes
    ----------
    withdrawn
        Numbers of transactions that features and exports ignore.
    recorded
        Number of a label record to its corrected `recorded_at`, in microseconds since the epoch.
    """

    withdrawn: frozenset[int] = frozenset()
    recorded: dict[int, int] = field(default_factory=dict)

    @classmethod
    def from_journal(cls, journal: Journal, until: int | None = None) -> Corrections:
        """Read the corrections of all repairs, or of those up to a number."""
        applied = [repair for repair in repairs(journal) if until is None or repair.number <= until]
        return cls(
            frozenset(number for repair in applied for number in repair.withdrawn),
            {number: at for repair in applied for number, at in repair.recorded},
        )

    def apply(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        """Return entries without the withdrawn transactions, and with the corrected times of label records."""
        if not self.withdrawn and not self.recorded:
            return entries
        return (self._corrected(entry) for entry in entries if not self._ignored(entry))

    def _ignored(self, entry: Entry) -> bool:
        return isinstance(entry, TransactionEntry) and entry.number in self.withdrawn

    def _corrected(self, entry: Entry) -> Entry:
        if isinstance(entry, LabelEntry) and entry.number in self.recorded:
            return replace(entry, recorded_at=self.recorded[entry.number])
        return entry


def repairs(journal: Journal) -> list[RepairEntry]:
    """Return the repairs of a journal, in order."""
    return [entry for entry in journal.of_transaction("") if isinstance(entry, RepairEntry)]


def last_received(journal: Journal) -> datetime | None:
    """Return the time of the last transaction's arrival, or of the last repair if that is later; None if there is neither."""
    transaction = next(reversed(journal.ends()), None)
    repair = next(reversed(repairs(journal)), None)
    if repair is not None and (transaction is None or repair.number > transaction.number):
        return EPOCH + timedelta(microseconds=repair.at)
    return None if transaction is None else EPOCH + timedelta(microseconds=transaction.received_at)


class _Times(NamedTuple):
    """Times of an entry in microseconds since the epoch: its arrival, and the transaction's `ts`."""

    number: int
    label: bool
    received_at: int
    ts: int | None


def find_wrong_times(
    entries: Iterable[Entry], *, now: datetime, ahead: timedelta, jump: timedelta
) -> tuple[list[int], list[tuple[int, int]]]:
    """Find entries dated later than entries that arrived after them.

    Parameters
    ----------
    entries
        Of the whole journal, with the corrections of earlier repairs applied.
    now
        Present time by the corrected clock.
    ahead
        How far a transaction's `ts` may be after its arrival.
    jump
        Error that a working clock may have.

    Returns
    -------
    withdrawn : list of int
        Numbers of transactions.
    recorded : list of (int, int)
        Number of a label record, and its corrected `recorded_at`.
    """
    times = [_times(entry) for entry in entries if isinstance(entry, TransactionEntry | LabelEntry)]
    bounds = _latest_possible(times, microseconds(now))
    slack, lead = (round(length.total_seconds() * 1e6) for length in (jump, ahead))
    withdrawn: list[int] = []
    recorded: list[tuple[int, int]] = []
    earliest = 0  # earliest `recorded_at` of the next label
    for entry, bound in zip(times, bounds, strict=True):
        if entry.label:
            if entry.received_at > bound + slack + lead:
                recorded.append((entry.number, earliest))
            continue
        if entry.ts is not None and entry.ts > bound + slack + lead:
            withdrawn.append(entry.number)
        elif entry.ts is not None:
            earliest = max(earliest, entry.ts + 1)
        if entry.received_at <= bound + slack:
            earliest = max(earliest, entry.received_at)
    return withdrawn, recorded


def _times(entry: TransactionEntry | LabelEntry) -> _Times:
    if isinstance(entry, LabelEntry):
        return _Times(entry.number, True, entry.recorded_at, None)
    return _Times(entry.number, False, entry.received_at, entry.transaction.get("ts"))


def _latest_possible(times: Sequence[_Times], now: int) -> list[int]:
    """Return the latest possible arrival of each entry: before every transaction that arrived after it, and before now."""
    bounds = []
    for entry in reversed(times):
        bounds.append(now)
        if not entry.label:
            now = min(now, entry.received_at)
    return bounds[::-1]


def newest_transaction_time(entries: Iterable[Entry]) -> int | None:
    """Return the latest `ts` of transactions, in microseconds since the epoch; None if there is none."""
    times = (entry.transaction.get("ts") for entry in entries if isinstance(entry, TransactionEntry))
    return max((ts for ts in times if ts is not None), default=None)
