"""What a feature is: frozen declarations that say what to compute, never how.

A window of x holds the events e of x's key with `t - delay - length <= e.ts < t - delay` that
arrived before x, where t is x's `ts`. The current row is never inside a window.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from fraud3000 import durations
from fraud3000.errors import LeakageError, ParamsError, ScorerError

CONTRACT_VERSION = 1
"""Version of the rules of time; part of every catalogue's hash."""

Key = str | tuple[str, ...]
Kind = Literal["numeric", "boolean", "categorical"]

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
    def span(self) -> int:
        """How far back the feature looks, in seconds: delay + length."""
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
    """Hour or weekday in the declared local zone, as a number from 0 (midnight, Monday)."""

    part: Literal["hour", "weekday"]

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
class Stateful(Feature):
    """A feature that looks back over the events of a key; the base of the windows."""

    key: Key
    length: str

    @property
    def keys(self) -> tuple[str, ...]:
        """The key's columns."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def owner(self) -> str:
        """The key in short: card, terminal, card_terminal."""
        return "_".join(_SHORT.get(column, column) for column in self.keys)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"ts", *self.keys})

    @property
    def span(self) -> int:
        return durations.seconds(self.length)


@dataclass(frozen=True)
class Window(Stateful):
    """An aggregate over a window: counts take approved and declined events, amounts approved ones only."""

    agg: Literal["count", "sum", "mean", "max", "std"]
    delay: str = "0d"

    @property
    def name(self) -> str:
        what = "count" if self.agg == "count" else f"amount_{self.agg}"
        return f"{self.owner}_{what}_{self.length}{_delayed(self.delay)}"

    @property
    def span(self) -> int:
        return durations.seconds(self.length) + durations.seconds(self.delay)


@dataclass(frozen=True)
class Versus(Stateful):
    """The current amount against the mean of the key's window: their ratio, or deviations from it."""

    how: Literal["ratio", "zscore"]

    @property
    def name(self) -> str:
        return f"{self.owner}_amount_{self.how}_{self.length}"

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"amount"}


@dataclass(frozen=True)
class SinceLast(Stateful):
    """Seconds since the key's last approved or declined event within the length, else null."""

    @property
    def name(self) -> str:
        return f"{self.owner}_since_last_{self.length}"


@dataclass(frozen=True)
class NotSeen(Stateful):
    """Whether the key, most often a pair, has no approved or declined event within the length."""

    kind: ClassVar[Kind] = "boolean"

    @property
    def name(self) -> str:
        return f"{self.owner}_not_seen_{self.length}"


@dataclass(frozen=True)
class FromLast(Stateful):
    """Distance from where the key's last event within the length was, or the speed it would take."""

    how: Literal["distance", "speed"]

    @property
    def name(self) -> str:
        return f"{self.owner}_{self.how}_{self.length}"

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"terminal_lat", "terminal_long"}


@dataclass(frozen=True)
class LabelWindow(Stateful):
    """Frauds, labelled transactions or their ratio in a window, each label as known at t."""

    agg: Literal["frauds", "labelled", "rate"]
    delay: str

    @property
    def name(self) -> str:
        what = {"frauds": "frauds", "labelled": "labelled", "rate": "fraud_rate"}[self.agg]
        return f"{self.owner}_{what}_{self.length}{_delayed(self.delay)}"

    @property
    def span(self) -> int:
        return durations.seconds(self.length) + durations.seconds(self.delay)

    def check(self, label_delay: int) -> None:
        if durations.seconds(self.delay) < label_delay:
            raise LeakageError(
                f"{self.name}: its delay of {self.delay} is shorter than the label delay of {durations.text(label_delay)}",
                hint="A label window's delay must be at least prepare.label_delay.",
            )


_KINDS: dict[str, type[Feature]] = {
    kind.__name__: kind
    for kind in (Column, Calendar, FromHome, Window, Versus, SinceLast, NotSeen, FromLast, LabelWindow)
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

    @property
    def names(self) -> list[str]:
        return [feature.name for feature in self.features]

    @property
    def span(self) -> int:
        """The longest delay + length, in seconds; 0 without windows."""
        return max((feature.span for feature in self.features), default=0)

    @property
    def hash(self) -> str:
        """SHA-256 over every declaration, every setting and the contract's version."""
        canonical = json.dumps({"contract": CONTRACT_VERSION, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "features"}
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
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "features"}
        return Catalogue(features=tuple(f for f in self.features if f.name not in left_out), **settings)


def _feature(item: dict[str, Any]) -> Feature:
    kind = _KINDS.get(item["kind"])
    if kind is None:
        known = ", ".join(_KINDS)
        raise ScorerError(f"unknown kind of feature '{item['kind']}'; known: {known}", hint="Update fraud3000.")
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in item.items() if name != "kind"}
    return kind(**arguments)


def _check_durations(feature: Feature) -> None:
    try:
        feature.span  # noqa: B018  reading it parses every duration
    except ValueError as error:
        raise ParamsError(
            f"features: {error}", hint="Windows are whole seconds, minutes, hours, days or weeks."
        ) from None


def _delayed(delay: str) -> str:
    return f"_delayed_{delay}" if durations.seconds(delay) else ""
