"""Interface of the journal: an append-only sequence of entries, each durable before its response is sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, Protocol

from fraud3000.service.alerts import Alert, AlertFilter
from fraud3000.service.entries import Entry, TransactionEntry

Flush = Literal["full", "normal"]
"""When a commit is flushed to the disk: before it returns, or some commits later, which survives a crash of the process only."""


class Journal(Protocol):
    """Append-only sequence of entries, numbered from 1."""

    @property
    def last(self) -> int:
        """Number of the last entry; 0 before the first."""

    def append(self, added: Sequence[Entry]) -> None:
        """Write entries, numbered on from the last; all are durable when it returns.

        Raises
        ------
        UnavailableError
            All or none of them are written; `last` shows which.
        """

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """Return the entries of a transaction, in order."""

    def of_transactions(self, ids: Collection[str]) -> dict[str, list[Entry]]:
        """Return the entries of several transactions by id; unknown ids are left out."""

    def ends(self) -> list[TransactionEntry]:
        """Return the first and the last transaction entry; empty if there is none."""

    def entry(self, number: int) -> Entry | None:
        """Return the entry with a number; None if there is none."""

    def alerts(self, filter_: AlertFilter) -> list[Alert]:
        """Return alerts by expected loss, the largest first; equal ones in order of arrival."""

    def after(self, number: int) -> Iterator[Entry]:
        """Yield every entry after a number, in order; verify each seal.

        Raises
        ------
        CheckFailed
            An entry is missing, or does not match its seal.
        """

    def close(self) -> None:
        """Close the journal's files."""
