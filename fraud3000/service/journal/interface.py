"""The journal: entries that are on the disk before they are answered, in their order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fraud3000.service.journal.entries import Entry, TransactionEntry

Flush = Literal["full", "normal"]
"""When a commit is on the disk: before it returns; or some commits later, safe from the end of the process alone."""


@dataclass(frozen=True)
class Queue:
    """Which alerts are asked for.

    Attributes
    ----------
    open
        Those without a label record, or those with one; None for both.
    decision
        review or decline; None for both.
    least
        Expected loss in minor units.
    behind
        Expected loss and number of the alert after which to go on; None for the first.
    limit
        How many at most.
    """

    open: bool | None = True
    decision: str | None = None
    least: float = 0.0
    behind: tuple[float, int] | None = None
    limit: int = 50


@dataclass(frozen=True)
class Alert:
    """A decision that somebody should look at.

    Attributes
    ----------
    number
        Of the transaction's entry.
    expected_loss
        If it were approved, in minor units.
    open
        No label record speaks of it yet.
    """

    number: int
    transaction_id: str
    expected_loss: float
    open: bool


class Journal(Protocol):
    """Where entries are kept."""

    @property
    def last(self) -> int:
        """Number of the last entry; 0 before the first."""

    def append(self, added: Sequence[Entry]) -> None:
        """Keep entries, numbered on from the last; all are on the disk when it returns.

        Raises
        ------
        UnavailableError
            `last` tells whether they are kept, all or none.
        """

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """What is kept about a transaction, in order."""

    def of_transactions(self, ids: Collection[str]) -> dict[str, list[Entry]]:
        """The same of several at once; those of which nothing is kept are left out."""

    def ends(self) -> list[TransactionEntry]:
        """The first transaction that came in and the last; none where there is none."""

    def entry(self, number: int) -> Entry | None:
        """The entry of a number; None where there is none."""

    def alerts(self, asked: Queue) -> list[Alert]:
        """Alerts by expected loss, the largest first, and where that is equal in order of arrival."""

    def after(self, number: int) -> Iterator[Entry]:
        """Every entry behind a number, in order, its seal checked.

        Raises
        ------
        CheckFailed
            An entry is missing, or not what it was when it was sealed.
        """

    def close(self) -> None:
        """Let go of it."""
