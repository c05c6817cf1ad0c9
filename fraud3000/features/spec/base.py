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
    """One column of FEATURED; the base of every kind below."""

    kind: ClassVar[Kind] = "numeric"

    @property
    @abstractmethod
    def name(self) -> str:
        """The column's name, derived from the declaration."""

    @property
    def needs(self) -> frozenset[str]:
        """The columns of TRANSACTIONS without which there is no such feature."""
        return frozenset()

    @property
    def longest(self) -> int:
        """How far back the feature looks, in seconds: delay + length."""
        return 0

    @property
    def span(self) -> int:
        """How far back an event may lie that it sees, in seconds: delay + length + bucket."""
        return 0

    def check(self, label_delay: int) -> None:  # noqa: B027  most kinds have nothing to refuse
        """Refuse a declaration that the rules of time do not allow."""


@dataclass(frozen=True)
class Condition:
    """Which of a key's events a window takes; an event without the column's value is not taken.

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
        told = "_or_".join(_plain(value) for value in self.values)
        return f"where_{short_name(self.column)}_{self.how}_{told}"


@dataclass(frozen=True)
class Stateful(Feature):
    """A feature that looks back over the events of a key; the base of the windows.

    Attributes
    ----------
    delay
        How long before t the window ends.
    bucket
        Where given, the window holds whole closed buckets of this length, counted from the UTC epoch:
        [floor(t - delay - length), floor(t - delay)).
    where
        Which events it takes; all that its aggregate takes where there is none.
    """

    key: Key
    length: str
    delay: str = field(default="0d", kw_only=True)
    bucket: str | None = field(default=None, kw_only=True)
    where: Condition | None = field(default=None, kw_only=True)

    @property
    def keys(self) -> tuple[str, ...]:
        """The key's columns."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def owner(self) -> str:
        """The key in short: card, terminal, card_terminal."""
        return "_".join(short_name(column) for column in self.keys)

    @property
    @abstractmethod
    def what(self) -> str:
        """The aggregate, as the name tells it."""

    @property
    def name(self) -> str:
        delayed = f"_delayed_{self.delay}" if durations.seconds(self.delay) else ""
        bucketed = f"_by_{self.bucket}" if self.bucket else ""
        where = f"_{self.where.name}" if self.where else ""
        return f"{self.owner}_{self.what}_{self.length}{delayed}{bucketed}{where}"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"ts", *self.keys, *({self.where.column} if self.where else ())})

    @property
    def longest(self) -> int:
        return durations.seconds(self.delay) + durations.seconds(self.length)

    @property
    def span(self) -> int:
        return self.longest + (durations.seconds(self.bucket) if self.bucket else 0)

    def check(self, label_delay: int) -> None:
        if self.bucket is not None and durations.seconds(self.bucket) == 0:
            raise ParamsError(f"{self.name}: a bucket of {self.bucket}", hint="Leave it out for an exact window.")
        if durations.seconds(self.length) == 0:
            raise ParamsError(f"{self.name}: a length of {self.length}", hint="Every window has a length.")


def _plain(value: str | float) -> str:
    """A condition's value as part of a column's name."""
    text = value if isinstance(value, str) else f"{value:.15g}".replace("-", "minus ")
    return re.sub(r"\W+", "_", text).strip("_") or "empty"
