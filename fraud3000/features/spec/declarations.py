"""What a feature is: frozen declarations that say what to compute, never how.

A window of x holds the events e of x's key with `t - delay - length <= e.ts < t - delay` that
arrived before x, where t is x's `ts`. The current row is never inside a window.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

from fraud3000 import durations
from fraud3000.errors import LeakageError, ParamsError, ScorerError
from fraud3000.schema import TRANSACTIONS

CONTRACT_VERSION = 1
"""Version of the rules of time; part of every catalogue's hash."""

Key = str | tuple[str, ...]
Kind = Literal["numeric", "boolean", "categorical"]

MOST_DISTINCT = 1_000
"""The largest cap of a distinct count."""

_SHORT = {"card_id": "card", "terminal_id": "terminal"}


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
        return f"where_{_SHORT.get(self.column, self.column)}_{self.how}_{told}"


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
        return "_".join(_SHORT.get(column, column) for column in self.keys)

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


@dataclass(frozen=True)
class Window(Stateful):
    """An aggregate over a window.

    Counts, shares and distinct counts take approved and declined events, all other aggregates approved
    ones only; a condition on `status` says otherwise.

    Attributes
    ----------
    agg
        ``share`` is the events under the condition over all of the window.
    column
        Whose values are aggregated: `amount`, a numeric column (in steps of 1/10,000), or for
        ``distinct`` a text column. Events without a value are not taken.
    cap
        The most that a distinct count says.
    """

    agg: Literal["count", "sum", "mean", "max", "min", "std", "distinct", "share"]
    column: str = field(default="amount", kw_only=True)
    cap: int = field(default=50, kw_only=True)

    @property
    def what(self) -> str:
        column = _SHORT.get(self.column, self.column)
        return {"count": "count", "share": "share", "distinct": f"distinct_{column}"}.get(
            self.agg, f"{column}_{self.agg}"
        )

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | (frozenset() if self.agg in {"count", "share"} else {self.column})

    def check(self, label_delay: int) -> None:
        super().check(label_delay)
        if self.agg == "share" and self.where is None:
            raise ParamsError(f"{self.name}: a share without a condition", hint="Say of what: `where`.")
        if not 1 <= self.cap <= MOST_DISTINCT:
            raise ParamsError(f"{self.name}: a cap of {self.cap}", hint=f"It may be 1 to {MOST_DISTINCT}.")


@dataclass(frozen=True)
class Versus(Stateful):
    """The current value against the mean of the key's window: their ratio, or deviations from it."""

    how: Literal["ratio", "zscore"]
    column: str = field(default="amount", kw_only=True)

    @property
    def what(self) -> str:
        return f"{self.column}_{self.how}"

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {self.column}


@dataclass(frozen=True)
class Shift(Stateful):
    """An aggregate of a window as a multiple of the key's mean over a longer one: how unlike itself it is lately.

    Attributes
    ----------
    over
        The longer window's length; delay, bucket and condition are the same for both.
    """

    agg: Literal["sum", "mean", "max", "min", "std"]
    over: str
    column: str = field(default="amount", kw_only=True)

    @property
    def recent(self) -> Window:
        """The window that is looked at."""
        return self._window(self.length, self.agg)

    @property
    def usual(self) -> Window:
        """The mean that it is told as a multiple of."""
        return self._window(self.over, "mean")

    def _window(self, length: str, agg: Literal["sum", "mean", "max", "min", "std"]) -> Window:
        same = {"column": self.column, "delay": self.delay, "bucket": self.bucket, "where": self.where}
        return Window(self.key, length, agg, **same)  # type: ignore[arg-type]

    @property
    def what(self) -> str:
        return self.recent.what

    @property
    def name(self) -> str:
        return f"{super().name}_over_{self.over}"

    @property
    def needs(self) -> frozenset[str]:
        return self.recent.needs

    @property
    def longest(self) -> int:
        return self.usual.longest

    def check(self, label_delay: int) -> None:
        super().check(label_delay)
        if durations.seconds(self.over) <= durations.seconds(self.length):
            raise ParamsError(
                f"{self.name}: {self.length} is told over {self.over}", hint="`over` must be the longer of the two."
            )


@dataclass(frozen=True)
class Recency(Stateful):
    """A feature of the key's last approved or declined event within the length; the base of three kinds."""

    def check(self, label_delay: int) -> None:
        super().check(label_delay)
        if self.bucket is not None or durations.seconds(self.delay):
            raise ParamsError(
                f"{self.name}: what looks at the last event has neither delay nor bucket", hint="Leave them out."
            )


@dataclass(frozen=True)
class SinceLast(Recency):
    """Seconds since the key's last approved or declined event within the length, else null."""

    @property
    def what(self) -> str:
        return "since_last"


@dataclass(frozen=True)
class NotSeen(Recency):
    """Whether the key, most often a pair, has no approved or declined event within the length."""

    kind: ClassVar[Kind] = "boolean"

    @property
    def what(self) -> str:
        return "not_seen"


@dataclass(frozen=True)
class FromLast(Recency):
    """Distance from where the key's last event within the length was, or the speed it would take."""

    how: Literal["distance", "speed"]

    @property
    def what(self) -> str:
        return self.how

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"terminal_lat", "terminal_long"}


@dataclass(frozen=True)
class LabelWindow(Stateful):
    """Frauds, labelled transactions or their ratio in a window, each label as known at t.

    Attributes
    ----------
    agg
        ``smoothed`` is (frauds + prior * strength) / (labelled + strength).
    prior, strength
        A rate, and the number of labelled transactions that it is worth.
    """

    agg: Literal["frauds", "labelled", "rate", "smoothed"]
    prior: float = field(default=0.01, kw_only=True)
    strength: float = field(default=20.0, kw_only=True)

    @property
    def what(self) -> str:
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
                f"{self.name}: a prior of {self.prior} worth {self.strength}",
                hint="The prior is a rate from 0 to 1, its strength above 0.",
            )


KINDS: dict[str, type[Feature]] = {
    kind.__name__: kind
    for kind in (Column, Calendar, FromHome, Window, Versus, Shift, SinceLast, NotSeen, FromLast, LabelWindow)
}


@dataclass(frozen=True)
class Catalogue:
    """The features of one model and the settings their values depend on.

    Attributes
    ----------
    label_delay, late_horizon
        In seconds.
    zone
        Local zone of calendar features.
    precedence
        Label sources, the most trusted first.
    """

    features: tuple[Feature, ...]
    label_delay: int
    late_horizon: int = 86_400
    zone: str = "UTC"
    precedence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for feature in self.features:
            _check_durations(feature)
            feature.check(self.label_delay)
        for name, times in Counter(self.names).items():
            if times > 1:
                raise ParamsError(f"features: '{name}' is declared twice", hint="Keep one, or rename the column.")

    def __repr__(self) -> str:
        kinds = Counter(type(feature).__name__ for feature in self.features)
        counted = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"
        delay, horizon = durations.text(self.label_delay), durations.text(self.late_horizon)
        settings = f"label delay {delay}, late horizon {horizon}, zone {self.zone}"
        return f"<Catalogue of {len(self.features)} features: {counted}; {settings}>"

    @property
    def names(self) -> list[str]:
        return [feature.name for feature in self.features]

    @property
    def longest(self) -> int:
        """The longest delay + length, in seconds; 0 without windows."""
        return max((feature.longest for feature in self.features), default=0)

    @property
    def span(self) -> int:
        """How far back an event may lie that some window sees, in seconds: delay + length + bucket."""
        return max((feature.span for feature in self.features), default=0)

    @property
    def looking_back(self) -> list[Stateful]:
        """What engines make in this order: windows that shifts alone are made of, stateful features, shifts."""
        stateful = [feature for feature in self.features if isinstance(feature, Stateful)]
        shifts = [feature for feature in stateful if isinstance(feature, Shift)]
        windows = [feature for feature in stateful if not isinstance(feature, Shift)]
        made_of = dict.fromkeys(window for shift in shifts for window in (shift.recent, shift.usual))
        return [*(window for window in made_of if window not in windows), *windows, *shifts]

    @property
    def hash(self) -> str:
        """SHA-256 over every declaration, every setting, the contract's version and the schema."""
        schema = {name: str(kind) for name, kind in TRANSACTIONS.items()}
        canonical = json.dumps({"contract": CONTRACT_VERSION, "schema": schema, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "features"}
        return {"features": [{"kind": type(f).__name__, **asdict(f)} for f in self.features], **settings}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Catalogue:
        """Read what `to_dict` wrote.

        Raises
        ------
        ScorerError
            A kind of feature that this version does not know.
        """
        settings = {name: value for name, value in content.items() if name != "features"}
        settings["precedence"] = tuple(settings.get("precedence", ()))
        return cls(features=tuple(_feature(item) for item in content["features"]), **settings)

    def without(self, names: Iterable[str]) -> Catalogue:
        """The catalogue less some features."""
        left_out = set(names)
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "features"}
        return Catalogue(features=tuple(f for f in self.features if f.name not in left_out), **settings)


def _feature(item: dict[str, Any]) -> Feature:
    kind = KINDS.get(item["kind"])
    if kind is None:
        known = ", ".join(KINDS)
        raise ScorerError(f"unknown kind of feature '{item['kind']}'; known: {known}", hint="Update fraud3000.")
    arguments = {name: _frozen(value) for name, value in item.items() if name != "kind"}
    return kind(**arguments)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return Condition(**{name: _frozen(part) for name, part in value.items()})
    return tuple(value) if isinstance(value, list) else value


def _plain(value: str | float) -> str:
    """A condition's value as part of a column's name."""
    text = value if isinstance(value, str) else f"{value:.15g}".replace("-", "minus ")
    return re.sub(r"\W+", "_", text).strip("_") or "empty"


def _check_durations(feature: Feature) -> None:
    try:
        feature.span  # noqa: B018  reading it parses every duration
    except ValueError as error:
        raise ParamsError(
            f"features: {error}", hint="Windows are whole seconds, minutes, hours, days or weeks."
        ) from None
