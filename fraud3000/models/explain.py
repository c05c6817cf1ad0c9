"""Why a transaction scores high, in words: what would lower its score most if it were as usual."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from fraud3000.features.spec import Feature
from fraud3000.features.words import tell
from fraud3000.models.encoder import Encoder, Floats
from fraud3000.models.fit import Model
from fraud3000.models.words import value_in_words

MOST_REASONS = 3
_LEAST_SHARE = 0.1
"""Of the strongest family's effect, for another to be worth telling."""
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Reason:
    """One reason for a score.

    Attributes
    ----------
    code
        The family of features, such as CARD_AMOUNTS.
    text
        The feature of the family that stands out most, its value and the usual one.
    """

    code: str
    text: str


@dataclass(frozen=True)
class Typical:
    """What is usual among legitimate transactions of the fit, in the encoder's numbers.

    Attributes
    ----------
    values
        Of each column the median, or the most frequent code or flag; NaN where it is always missing.
    spreads
        Interquartile range; where that is 0 the standard deviation, else 1.
    """

    values: dict[str, float]
    spreads: dict[str, float]

    @classmethod
    def learn(cls, encoder: Encoder, legitimate: pl.DataFrame, features: Iterable[Feature]) -> Typical:
        """Learn from FEATURED, legitimate rows of the fit."""
        counted = {feature.name for feature in features if feature.kind != "numeric"}
        columns = encoder.frame(legitimate)
        values = {name: _usual(columns[name], counted=name in counted) for name in encoder.columns}
        return cls(values, {name: 1.0 if name in counted else _spread(columns[name]) for name in encoder.columns})

    def to_dict(self) -> dict[str, Any]:
        values = {name: None if math.isnan(value) else value for name, value in self.values.items()}
        return {"values": values, "spreads": dict(self.spreads)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Typical:
        values = {name: math.nan if value is None else value for name, value in content["values"].items()}
        return cls(values, dict(content["spreads"]))


def reasons(
    model: Model, typical: Typical, features: Sequence[Feature], featured: pl.DataFrame, *, decimals: int = 2
) -> list[tuple[Reason, ...]]:
    """The families of features that raise each row's score most, at most three, the strongest first.

    Each family in turn is set to its usual values and the row scored anew; a family counts by how
    far that lowers the log-odds; one that does so by less than a tenth of the strongest is not told. Costs one prediction for each
    row and family, so it is meant for alerts.

    Parameters
    ----------
    features
        The catalogue's features.
    featured
        FEATURED, the rows to explain.
    decimals
        Of the currency: how many digits of an amount are minor units.
    """
    told = _Teller(model.encoder, typical, features, decimals)
    found: list[tuple[Reason, ...]] = []
    for part in featured.iter_slices(_ROWS_AT_ONCE):
        matrix = model.encoder.matrix(part)
        drops = _drops(model, matrix, told)
        found.extend(told.reasons(row, drop) for row, drop in zip(matrix, drops, strict=True))
    return found


def _drops(model: Model, matrix: Floats, told: _Teller) -> Floats:
    """How far the log-odds fall when a family is as usual; ndarray of shape (n_rows, n_families)."""
    before = model.log_odds_of(matrix)
    drops = np.empty((len(matrix), len(told.families)))
    for place, columns in enumerate(told.families.values()):
        usual = matrix.copy()
        usual[:, columns] = told.values[columns]
        drops[:, place] = before - model.log_odds_of(usual)
    return drops


class _Teller:
    """Puts a row's strongest families into words."""

    def __init__(self, encoder: Encoder, typical: Typical, features: Sequence[Feature], decimals: int) -> None:
        by_name = {feature.name: feature for feature in features}
        self.encoder = encoder
        self.decimals = decimals
        self.features = [by_name[name] for name in encoder.columns]
        self.values = np.array([typical.values[name] for name in encoder.columns])
        self.spreads = np.array([typical.spreads[name] for name in encoder.columns])
        self.families: dict[str, list[int]] = {}
        for place, feature in enumerate(self.features):
            self.families.setdefault(tell(feature).family, []).append(place)

    def reasons(self, row: Floats, drops: Floats) -> tuple[Reason, ...]:
        names = list(self.families)
        enough = max(float(drops.max()) * _LEAST_SHARE, np.finfo(np.float64).tiny)
        strongest = [place for place in np.argsort(-drops, kind="stable")[:MOST_REASONS] if drops[place] >= enough]
        return tuple(Reason(_code(names[place]), self._text(row, self.families[names[place]])) for place in strongest)

    def _text(self, row: Floats, columns: list[int]) -> str:
        distance = np.abs(row[columns] - self.values[columns]) / self.spreads[columns]
        one_missing = np.isnan(row[columns]) != np.isnan(self.values[columns])
        place = columns[int(np.argmax(np.where(one_missing, 1.0, np.nan_to_num(distance))))]
        feature = self.features[place]
        told = tell(feature, decimals=self.decimals)
        if told.unit == "flag":
            return told.words if row[place] == 1 else f"{told.words}: no (typically yes)"
        value, usual = (self._value(feature, float(number)) for number in (row[place], self.values[place]))
        return f"{told.words}: {value} (typically {usual})"

    def _value(self, feature: Feature, number: float) -> str:
        if math.isnan(number):
            return "unknown"
        if feature.kind == "categorical":
            return self.encoder.categories[feature.name][int(number)]
        return value_in_words(number, tell(feature).unit, decimals=self.decimals)


def _code(group: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", group.upper()).strip("_")


def _usual(values: pl.Series, *, counted: bool) -> float:
    present = values.drop_nulls()
    if present.is_empty():
        return math.nan
    usual = present.mode().min() if counted else present.median()
    return float(usual)  # type: ignore[arg-type]


def _spread(values: pl.Series) -> float:
    present = values.drop_nulls()
    if present.is_empty():
        return 1.0
    quarters = float(present.quantile(0.75)) - float(present.quantile(0.25))  # type: ignore[arg-type]
    return quarters or float(present.std(ddof=0)) or 1.0  # type: ignore[arg-type]
