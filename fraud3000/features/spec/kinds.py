"""Kinds of features: one frozen dataclass per kind, which says what to compute, not how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fraud3000 import durations
from fraud3000.errors import LeakageError, ParamsError
from fraud3000.features.spec.base import Feature, Kind, Stateful, short_name

MOST_DISTINCT = 1_000
"""Largest cap of a distinct count."""


@dataclass(frozen=True)
class Column(Feature):
    """A column of the transaction itself."""

    column: str
    categorical: bool = False

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return "categorical" if self.categorical else "numeric"

    @property
    def name(self) -> str:
        return self.column

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.column})


@dataclass(frozen=True)
class Calendar(Feature):
    """A part of the local time in the declared zone; hours and weekdays count from 0 (midnight, Monday).

    Night is the hours 0 to 6, the weekend Saturday and Sunday.
    """

    part: Literal["hour", "weekday", "night", "weekend"]

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return "boolean" if self.part in {"night", "weekend"} else "numeric"

    @property
    def name(self) -> str:
        return self.part

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"ts"})


@dataclass(frozen=True)
class FromHome(Feature):
    """Kilometres between the card's home and the terminal, in steps of a metre."""

    @property
    def name(self) -> str:
        return "home_distance"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"card_lat", "card_long", "terminal_lat", "terminal_long"})


@dataclass(frozen=True)
class Window(Stateful):
    """An aggregate over a window.

    Counts, shares and distinct counts include approved and declined events, all other aggregates only approved
    ones, unless the condition is on `status`.

    Attributes
    ----------
    agg
        ``share`` is the number of events that satisfy the condition divided by the number of all events.
    column
        Column to aggregate: `amount`, a numeric column (in steps of 1/10,000), or for
        ``distinct`` a text column. Events whose value is null are not included.
    cap
        Largest value of a distinct count.
    """

    agg: Literal["count", "sum", "mean", "max", "min", "std", "distinct", "share"]
    column: str = field(default="amount", kw_only=True)
    cap: int = field(default=50, kw_only=True)

    @property
    def aggregate_name(self) -> str:
        column = short_name(self.column)
        return {"count": "count", "share": "share", "distinct": f"distinct_{column}"}.get(
            self.agg, f"{column}_{self.agg}"
        )

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | (frozenset() if self.agg in {"count", "share"} else {self.column})

    def check(self, label_delay: int) -> None:
        super().check(label_delay)
        if self.agg == "share" and self.where is None:
            raise ParamsError(
                f"{self.name}: a share needs a condition", hint="Set `where` to the events whose share you want."
            )
        if not 1 <= self.cap <= MOST_DISTINCT:
            raise ParamsError(
                f"{self.name}: cap is {self.cap}, it must be from 1 to {MOST_DISTINCT}",
                hint=f"Set `cap` to 1 to {MOST_DISTINCT}.",
            )


@dataclass(frozen=True)
class Versus(Stateful):
    """The current value compared with the mean of the key's window: their ratio, or its z-score."""

    how: Literal["ratio", "zscore"]
    column: str = field(default="amount", kw_only=True)

    @property
    def aggregate_name(self) -> str:
        return f"{self.column}_{self.how}"

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {self.column}


@dataclass(frozen=True)
class Shift(Stateful):
    """An aggregate of a window divided by the key's mean over a longer window: how much the key changed lately.

    Attributes
    ----------
    over
        Length of the longer window; delay, bucket and condition are the same for both.
    """

    agg: Literal["sum", "mean", "max", "min", "std"]
    over: str
    column: str = field(default="amount", kw_only=True)

    @property
    def recent(self) -> Window:
        """Window in the numerator."""
        return self._window(self.length, self.agg)

    @property
    def usual(self) -> Window:
        """Mean in the denominator."""
        return self._window(self.over, "mean")

    def _window(self, length: str, agg: Literal["sum", "mean", "max", "min", "std"]) -> Window:
        settings = {"column": self.column, "delay": self.delay, "bucket": self.bucket, "where": self.where}
        return Window(self.key, length, agg, **settings)  # type: ignore[arg-type]

    @property
    def aggregate_name(self) -> str:
        return self.recent.aggregate_name

    @property
    def name(self) -> str:
        return f"{super().name}_over_{self.over}"

    @property
    def needs(self) -> frozenset[str]:
        return self.recent.needs

    @property
    def lookback(self) -> int:
        return self.usual.lookback

    def check(self, label_delay: int) -> None:
        super().check(label_delay)
        if durations.seconds(self.over) <= durations.seconds(self.length):
            raise ParamsError(
                f"{self.name}: over is {self.over}, it must be longer than the length, {self.length}",
                hint="Set `over` to the longer window.",
            )


@dataclass(frozen=True)
class Recency(Stateful):
    """Declaration of a feature of the key's last approved or declined event within the length; base class of three kinds."""

    def check(self, label_delay: int) -> None:
        super().check(label_delay)
        if self.bucket is not None or durations.seconds(self.delay):
            raise ParamsError(
                f"{self.name}: a feature of the last event takes neither delay nor bucket",
                hint="Leave `delay` and `bucket` out.",
            )


@dataclass(frozen=True)
class SinceLast(Recency):
    """Seconds since the key's last approved or declined event within the length, else null."""

    @property
    def aggregate_name(self) -> str:
        return "since_last"


@dataclass(frozen=True)
class NotSeen(Recency):
    """True if the key, most often a pair, has no approved or declined event within the length."""

    kind: ClassVar[Kind] = "boolean"

    @property
    def aggregate_name(self) -> str:
        return "not_seen"


@dataclass(frozen=True)
class FromLast(Recency):
    """Distance from the terminal of the key's last event within the length, or the speed that the distance requires."""

    how: Literal["distance", "speed"]

    @property
    def aggregate_name(self) -> str:
        return self.how

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"terminal_lat", "terminal_long"}


@dataclass(frozen=True)
class LabelWindow(Stateful):
    """Number of frauds, of labelled transactions, or their ratio in a window, each label as known at t.

    Attributes
    ----------
    agg
        ``smoothed`` is (frauds + prior * strength) / (labelled + strength).
    prior, strength
        A fraud rate, and its weight in labelled transactions.
    """

    agg: Literal["frauds", "labelled", "rate", "smoothed"]
    prior: float = field(default=0.01, kw_only=True)
    strength: float = field(default=20.0, kw_only=True)

    @property
    def aggregate_name(self) -> str:
        return {"rate": "fraud_rate", "smoothed": "fraud_rate_smoothed"}.get(self.agg, self.agg)

    def check(self, label_delay: int) -> None:
        super().check(label_delay)
        if durations.seconds(self.delay) < label_delay:
            raise LeakageError(
                f"{self.name}: its delay of {self.delay} is shorter than the label delay of {durations.text(label_delay)}",
                hint="A label window's delay must be at least prepare.label_delay.",
            )
        if not (0 <= self.prior <= 1 and self.strength > 0):
            raise ParamsError(
                f"{self.name}: prior is {self.prior} and strength is {self.strength}; "
                "the prior must be from 0 to 1, the strength above 0",
                hint="Change `prior` or `strength`.",
            )


KINDS: dict[str, type[Feature]] = {
    kind.__name__: kind
    for kind in (Column, Calendar, FromHome, Window, Versus, Shift, SinceLast, NotSeen, FromLast, LabelWindow)
}
