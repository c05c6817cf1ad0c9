"""Label records on their way into the journal: one that says nothing new, and since when another is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fraud3000.service.journal.entries import Entry, LabelEntry


@dataclass(frozen=True)
class LabelInput:
    """A label record as it comes in; times in microseconds since the epoch.

    Attributes
    ----------
    recorded_at
        Since when it is known; None for now. One that would reach back to a transaction that was taken is known from the
        moment after the newest of them.
    """

    transaction_id: str
    is_fraud: int
    source: str
    reported_at: int | None = None
    recorded_at: int | None = None


def deduplicate(said: LabelInput, known: Iterable[Entry], *, number: int, now: int, newest: int | None) -> LabelEntry:
    """The record that is kept: the last one of its source where that says the same, else a new one.

    Parameters
    ----------
    known
        What is known of the transaction, in order.
    number
        Of a new entry.
    now
        Since when it is known, unless it says so.
    newest
        The newest `ts` of all transactions; None without time.
    """
    mine = [one for one in known if isinstance(one, LabelEntry) and one.source == said.source]
    if mine and (mine[-1].is_fraud, mine[-1].reported_at) == (said.is_fraud, said.reported_at):
        return mine[-1]
    at = now if said.recorded_at is None else said.recorded_at
    at = at if newest is None else max(at, newest + 1)
    return LabelEntry(number, said.transaction_id, said.is_fraud, said.source, said.reported_at, at)
