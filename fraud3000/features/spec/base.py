"""Base classes of feature declarations: `Feature`, `Stateful` (looks back over the events of a key) and `Condition`.

A window of x holds the events e of x's key with `t - delay - length <= e.ts < t - delay` that
arrived before x, where t is x's `ts`. The current row is never inside a window.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fraud3000 import durations
from fraud3000.errors import ParamsError

Key = str | tuple[str, ...]
Kind = Literal["numeric", "boolean", "categorical"]

_SHORT = {"card_id": "card", "terminal_id": "terminal"}


def short_name(column: str) -> str:
    """Column name as part of a feature's name: `card` for `card_id`."""
    return _SHORT.get(column, column)


@dataclass(frozen=True)
class Feature(ABC):
    """Declaration of one column of FEATURED; base class of every kind of feature."""

    kind: ClassVar[Kind] = "numeric"

    @property
    @abstractmethod
    def name(self) -> str:
        """The column's name, derived from the declaration."""

    @property
    def needs(self) -> frozenset[str]:
        """Columns of TRANSACTIONS that the feature needs."""
        return frozenset()

    @property
    def lookback(self) -> int:
        """How far back the feature looks, in seconds: delay + length."""
        return 0

    @property
    def retention(self) -> int:
        """Age of the oldest event that the feature may read, in seconds: delay + length + bucket."""
        return 0

    def check(self, label_delay: int) -> None:  # noqa: B027  most kinds accept every declaration
        """Raise if the rules of time do not allow the declaration."""


@dataclass(frozen=True)
class Condition:
    """Condition on the events that a window includes; an event whose value is null is not included.

    Attributes
    ----------
    how
        ``is``: the text is one of `values`; the others compare a number with the one in `values`
        (amounts in minor units).
    """

    column: str
    how: Literal["is", "above", "at_least", "below", "at_most"]
    values: tuple[str, ...] | tuple[float, ...]

    @property
    def name(self) -> str:
        values = "_or_".join(_value_name(value) for value in self.values)
        return f"where_{short_name(self.column)}_{self.how}_{values}"


@dataclass(frozen=True)
class Stateful(Feature):
    """Declaration of a feature that looks back over the events of a key; base class of the windows.

    Attributes
    ----------
    delay
        How long before t the window ends.
    bucket
        If set, the window holds whole closed buckets of this length, counted from the UTC epoch:
        [floor(t - delay - length), floor(t - delay)).
    where
        Condition on the events; None includes all that the aggregate includes.
    """

    key: Key
    length: str
    delay: str = field(default="0d", kw_only=True)
    bucket: str | None = field(default=None, kw_only=True)
    where: Condition | None = field(default=None, kw_only=True)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def key_name(self) -> str:
        """Key as part of the feature's name: card, terminal, card_terminal."""
        return "_".join(short_name(column) for column in self.keys)

    @property
    @abstractmethod
    def aggregate_name(self) -> str:
        """Aggregate as part of the feature's name."""

    @property
    def name(self) -> str:
        delayed = f"_delayed_{self.delay}" if durations.seconds(self.delay) else ""
        bucketed = f"_by_{self.bucket}" if self.bucket else ""
        where = f"_{self.where.name}" if self.where else ""
        return f"{self.key_name}_{self.aggregate_name}_{self.length}{delayed}{bucketed}{where}"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"ts", *self.keys, *({self.where.column} if self.where else ())})

    @property
    def lookback(self) -> int:
        return durations.seconds(self.delay) + durations.seconds(self.length)

    @property
    def retention(self) -> int:
        return self.lookback + (durations.seconds(self.bucket) if self.bucket else 0)

    def check(self, label_delay: int) -> None:
        if self.bucket is not None and durations.seconds(self.bucket) == 0:
            raise ParamsError(
                f"{self.name}: bucket is {self.bucket}, it must be longer than 0s",
                hint="Leave `bucket` out for an exact window.",
            )
        if durations.seconds(self.length) == 0:
            raise ParamsError(
                f"{self.name}: length is {self.length}, it must be longer than 0s",
                hint="Set `length` to a duration such as 7d.",
            )


def _value_name(value: str | float) -> str:
    """Value of a condition as part of a column's name."""
    text = value if isinstance(value, str) else f"{value:.15g}".replace("-", "minus ")
    return re.sub(r"\W+", "_", text).strip("_") or "empty"
