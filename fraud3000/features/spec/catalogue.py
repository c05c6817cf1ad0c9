"""The catalogue: the features of one model and the settings that their values depend on, with a hash over both."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from fraud3000 import durations
from fraud3000.errors import ParamsError, ScorerError
from fraud3000.features.spec.base import Condition, Feature, Stateful
from fraud3000.features.spec.kinds import KINDS, Shift
from fraud3000.schema import TRANSACTIONS

CONTRACT_VERSION = 1
"""Version of the rules of time; part of every catalogue's hash."""


@dataclass(frozen=True)
class Catalogue:
    """The features of one model and the settings that their values depend on.

    Attributes
    ----------
    label_delay, late_horizon
        In seconds.
    zone
        Time zone of calendar features.
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
        for name, count in Counter(self.names).items():
            if count > 1:
                raise ParamsError(
                    f"features: '{name}' is declared twice", hint="Remove one of them, or rename the column."
                )

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
    def lookback(self) -> int:
        """Longest delay + length of all features, in seconds; 0 without windows."""
        return max((feature.lookback for feature in self.features), default=0)

    @property
    def retention(self) -> int:
        """Age of the oldest event that some feature may read, in seconds: delay + length + bucket."""
        return max((feature.retention for feature in self.features), default=0)

    @property
    def evaluation_order(self) -> list[Stateful]:
        """Stateful features in the order to compute them: windows that only shifts read, other features, shifts."""
        stateful = [feature for feature in self.features if isinstance(feature, Stateful)]
        shifts = [feature for feature in stateful if isinstance(feature, Shift)]
        windows = [feature for feature in stateful if not isinstance(feature, Shift)]
        parts = dict.fromkeys(window for shift in shifts for window in (shift.recent, shift.usual))
        return [*(window for window in parts if window not in windows), *windows, *shifts]

    @property
    def hash(self) -> str:
        """SHA-256 over all declarations, all settings, the contract's version and the schema."""
        schema = {name: str(kind) for name, kind in TRANSACTIONS.items()}
        canonical = json.dumps({"contract": CONTRACT_VERSION, "schema": schema, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "features"}
        return {"features": [{"kind": type(f).__name__, **asdict(f)} for f in self.features], **settings}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Catalogue:
        """Create a catalogue from the result of `to_dict`.

        Raises
        ------
        ScorerError
            This release does not support a kind of feature.
        """
        settings = {name: value for name, value in content.items() if name != "features"}
        settings["precedence"] = tuple(settings.get("precedence", ()))
        return cls(features=tuple(_feature(item) for item in content["features"]), **settings)

    def without(self, names: Iterable[str]) -> Catalogue:
        """Return the catalogue without some features."""
        excluded = set(names)
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "features"}
        return Catalogue(features=tuple(f for f in self.features if f.name not in excluded), **settings)


def _feature(item: dict[str, Any]) -> Feature:
    kind = KINDS.get(item["kind"])
    if kind is None:
        known = ", ".join(KINDS)
        raise ScorerError(f"unknown kind of feature '{item['kind']}'; known: {known}", hint="Update fraud3000.")
    arguments = {name: _to_frozen(value) for name, value in item.items() if name != "kind"}
    return kind(**arguments)


def _to_frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return Condition(**{name: _to_frozen(part) for name, part in value.items()})
    return tuple(value) if isinstance(value, list) else value


def _check_durations(feature: Feature) -> None:
    try:
        feature.retention  # noqa: B018  reading it parses every duration
    except ValueError as error:
        raise ParamsError(
            f"features: {error}",
            hint="Use whole seconds, minutes, hours, days or weeks, such as 30s, 10m, 1h, 7d or 2w.",
        ) from None
