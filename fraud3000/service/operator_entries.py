"""Entries that operators make: erasures, acknowledgements of losses, and repairs of times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json


class _OperatorEntry:
    """What entries of operators share: they are about no single transaction."""

    __slots__ = ()

    @property
    def transaction_id(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class ErasureEntry(_OperatorEntry):
    """Record that personal data was erased from entries before this one.

    Attributes
    ----------
    entries
        How many entries were changed.
    at
        Microseconds since the epoch.
    """

    number: int
    entries: int
    at: int

    @property
    def kind(self) -> Literal["erasure"]:
        return "erasure"

    def body(self) -> bytes:
        """Encode the entry as JSON; equal entries give equal bytes."""
        return to_json({"entries": self.entries, "at": self.at})


@dataclass(frozen=True, slots=True)
class AcknowledgementEntry(_OperatorEntry):
    """An operator's statement that lost entries are known to be lost, and why.

    Attributes
    ----------
    at
        Microseconds since the epoch.
    by
        Name of the user who ran the command.
    reason
        In the operator's words.
    holes
        Ranges of lost numbers of this journal, each as (first, last).
    stores
        Names of other journals that were lost from this path, with the number of their last recorded entry.
    """

    number: int
    at: int
    by: str
    reason: str
    holes: tuple[tuple[int, int], ...] = ()
    stores: tuple[tuple[str, int], ...] = ()

    @property
    def kind(self) -> Literal["acknowledgement"]:
        return "acknowledgement"

    def body(self) -> bytes:
        """Encode the entry as JSON; equal entries give equal bytes."""
        return to_json({name: getattr(self, name) for name in ("at", "by", "reason", "holes", "stores")})

    def covers(self, first: int, last: int) -> bool:
        """True if all entries of a range are acknowledged as lost."""
        return any(begin <= first and last <= end for begin, end in self.holes)

    @classmethod
    def from_body(cls, number: int, body: dict[str, Any]) -> AcknowledgementEntry:
        """Decode the entry from its parsed JSON body."""
        holes = tuple((int(first), int(last)) for first, last in body["holes"])
        stores = tuple((str(name), int(last)) for name, last in body["stores"])
        return cls(number, body["at"], body["by"], body["reason"], holes, stores)


@dataclass(frozen=True, slots=True)
class RepairEntry(_OperatorEntry):
    """An operator's correction of times that a wrong clock gave to entries before this one, and why.

    Attributes
    ----------
    at
        Microseconds since the epoch.
    by
        Name of the user who ran the command.
    reason
        In the operator's words.
    withdrawn
        Numbers of transactions that features and exports ignore from this entry on; their decisions stay.
    recorded
        Numbers of label records, each with its corrected `recorded_at`, in microseconds since the epoch.
    newest
        Latest `ts` of the remaining transactions, in microseconds since the epoch; None if there are none.
    """

    number: int
    at: int
    by: str
    reason: str
    withdrawn: tuple[int, ...] = ()
    recorded: tuple[tuple[int, int], ...] = ()
    newest: int | None = None

    @property
    def kind(self) -> Literal["repair"]:
        return "repair"

    def body(self) -> bytes:
        """Encode the entry as JSON; equal entries give equal bytes."""
        return to_json(
            {name: getattr(self, name) for name in ("at", "by", "reason", "withdrawn", "recorded", "newest")}
        )

    @classmethod
    def from_body(cls, number: int, body: dict[str, Any]) -> RepairEntry:
        """Decode the entry from its parsed JSON body."""
        recorded = tuple((int(label), int(at)) for label, at in body["recorded"])
        return cls(number, body["at"], body["by"], body["reason"], tuple(body["withdrawn"]), recorded, body["newest"])
