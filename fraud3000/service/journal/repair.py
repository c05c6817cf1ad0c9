"""Repair of a journal whose entries have times of a wrong clock: find them, and correct what features and exports read.

Entries stay as they were sealed, and so do the decisions. A sealed `RepairEntry` lists the transactions that lie in the future,
which features ignore from then on, and the label records that were dated into the future, each with the time that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from fraud3000.features.online.event_encoder import EPOCH, microseconds
from fraud3000.service.journal.entries import Entry, LabelEntry, RepairEntry, TransactionEntry
from fraud3000.service.journal.interface import Journal


@dataclass(frozen=True)
class Corrections:
    """What the repairs of a journal say.

    Attributes
    ----------
    withdrawn
        Numbers of transactions that features and exports ignore.
    recorded
        Number of a label record to the `recorded_at` that counts, in microseconds since the epoch.
    """

    withdrawn: frozenset[int] = frozenset()
    recorded: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of_journal(cls, journal: Journal, until: int | None = None) -> Corrections:
        """Those of all repairs, or of those up to a number."""
        found = [repair for repair in repairs(journal) if until is None or repair.number <= until]
        return cls(
            frozenset(number for repair in found for number in repair.withdrawn),
            {number: at for repair in found for number, at in repair.recorded},
        )

    def apply(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        """Entries without the withdrawn transactions, and with the corrected times of label records."""
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
    """The repairs of a journal, in order."""
    return [entry for entry in journal.of_transaction("") if isinstance(entry, RepairEntry)]


def last_received(journal: Journal) -> datetime | None:
    """When the last transaction came, or the last repair was made if that was later; None if there is neither."""
    transaction = next(reversed(journal.ends()), None)
    repair = next(reversed(repairs(journal)), None)
    if repair is not None and (transaction is None or repair.number > transaction.number):
        return EPOCH + timedelta(microseconds=repair.at)
    return None if transaction is None else EPOCH + timedelta(microseconds=transaction.received_at)


class _Times(NamedTuple):
    """Times of an entry, in microseconds since the epoch: of its arrival, and its own."""

    number: int
    label: bool
    received_at: int
    ts: int | None


def find(
    entries: Iterable[Entry], *, now: datetime, ahead: timedelta, jump: timedelta
) -> tuple[list[int], list[tuple[int, int]]]:
    """Find entries whose times lie in the future of what came after them.

    Parameters
    ----------
    entries
        Of the whole journal, with the corrections of earlier repairs applied.
    now
        The clock, which is right.
    ahead
        How far a transaction's time may lie after its arrival.
    jump
        How far a right clock may be off.

    Returns
    -------
    withdrawn : list of int
        Numbers of transactions.
    recorded : list of (int, int)
        Number of a label record, and the time since when it is known.
    """
    times = [_times(entry) for entry in entries if isinstance(entry, TransactionEntry | LabelEntry)]
    bounds = _latest_possible(times, microseconds(now))
    slack, lead = (round(length.total_seconds() * 1e6) for length in (jump, ahead))
    withdrawn: list[int] = []
    recorded: list[tuple[int, int]] = []
    known = 0  # since when a label could have been known that comes next
    for entry, bound in zip(times, bounds, strict=True):
        if entry.label:
            if entry.received_at > bound + slack + lead:
                recorded.append((entry.number, known))
            continue
        if entry.ts is not None and entry.ts > bound + slack + lead:
            withdrawn.append(entry.number)
        elif entry.ts is not None:
            known = max(known, entry.ts + 1)
        if entry.received_at <= bound + slack:
            known = max(known, entry.received_at)
    return withdrawn, recorded


def _times(entry: TransactionEntry | LabelEntry) -> _Times:
    if isinstance(entry, LabelEntry):
        return _Times(entry.number, True, entry.recorded_at, None)
    return _Times(entry.number, False, entry.received_at, entry.transaction.get("ts"))


def _latest_possible(times: Sequence[_Times], now: int) -> list[int]:
    """For each entry the latest time at which it can have come: before every transaction that came after it, and before now."""
    bounds = []
    for entry in reversed(times):
        bounds.append(now)
        if not entry.label:
            now = min(now, entry.received_at)
    return bounds[::-1]


def newest_left(entries: Iterable[Entry]) -> int | None:
    """The newest `ts` of transactions that are not withdrawn, in microseconds since the epoch; None without any."""
    times = (entry.transaction.get("ts") for entry in entries if isinstance(entry, TransactionEntry))
    return max((ts for ts in times if ts is not None), default=None)
