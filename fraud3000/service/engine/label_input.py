"""Incoming label records: deduplication by source, and the time from which a record is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fraud3000.service.entries import Entry, LabelEntry


@dataclass(frozen=True)
class LabelInput:
    """A label record before it is in the journal; times in microseconds since the epoch.

    Attributes
    ----------
    recorded_at
        Since when it is known; None for now. If it lies before the newest transaction, it becomes one microsecond after that,
        because decisions that were already made did not use the label.
    """

    transaction_id: str
    is_fraud: int
    source: str
    reported_at: int | None = None
    recorded_at: int | None = None


def deduplicate(label: LabelInput, known: Iterable[Entry], *, number: int, now: int, newest: int | None) -> LabelEntry:
    """Return the last record of the same source if it has the same content, otherwise a new entry.

    Parameters
    ----------
    known
        The transaction's entries, in order.
    number
        Number of a new entry.
    now
        `recorded_at` of a new entry, if the record has none.
    newest
        The newest `ts` of all transactions; None without time.
    """
    same_source = [entry for entry in known if isinstance(entry, LabelEntry) and entry.source == label.source]
    if same_source:
        last = same_source[-1]
        if (last.is_fraud, last.reported_at) == (label.is_fraud, label.reported_at):
            return last
    at = now if label.recorded_at is None else label.recorded_at
    at = at if newest is None else max(at, newest + 1)
    return LabelEntry(number, label.transaction_id, label.is_fraud, label.source, label.reported_at, at)
