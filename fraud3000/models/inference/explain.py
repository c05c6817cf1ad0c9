"""Reason texts for a score: the feature families that raise it most, with the value and the usual value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from fraud3000.features.spec.base import Feature
from fraud3000.features.spec.describe import describe
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.inference.model import Model
from fraud3000.models.inference.usual_values import norms
from fraud3000.models.inference.value_text import format_value

MOST_REASONS = 3
_LEAST_SHARE = 0.1
"""A family is reported if it adds at least this share of what the strongest family adds."""
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Reason:
    """One reason for a score.

    Attributes
    ----------
    code
        The family of features, such as CARD_AMOUNTS.
    text
        The feature of the family that adds most to the score, its value, and the usual value for its key
        or, if that is unknown, the typical value of legitimate transactions.
    """

    code: str
    text: str


@dataclass(frozen=True)
class UsualValues:
    """Usual value of each column among legitimate transactions of the fit, encoded.

    Attributes
    ----------
    values
        The median of each column, or its most frequent code or flag; NaN if it is always missing.
    """

    values: dict[str, float]

    @classmethod
    def learn(cls, encoder: Encoder, legitimate: pl.DataFrame, features: Iterable[Feature]) -> UsualValues:
        """Learn from legitimate rows of the fit (FEATURED)."""
        discrete = {feature.name for feature in features if feature.kind != "numeric"}
        columns = encoder.frame(legitimate)
        return cls({name: _usual(columns[name], discrete=name in discrete) for name in encoder.columns})

    def to_dict(self) -> dict[str, Any]:
        return {"values": {name: None if math.isnan(value) else value for name, value in self.values.items()}}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> UsualValues:
        return cls({name: math.nan if value is None else value for name, value in content["values"].items()})


class Explainer:
    """Explain scores by the feature families that raise them most: at most three, the strongest first.

    Families are ranked by the sum of their features' contributions to the log-odds; a family that adds less than a tenth
    of what the strongest adds is left out.

    Parameters
    ----------
    features
        The catalogue's features.
    decimals
        Number of minor-unit digits of the currency.
    """

    def __init__(self, model: Model, typical: UsualValues, features: Iterable[Feature], *, decimals: int = 2) -> None:
        self._model = model
        self._writer = _ReasonWriter(model.encoder, typical, features, decimals)

    def explain(self, matrix: Floats) -> list[tuple[Reason, ...]]:
        """Return the reasons of each row of the model's input.

        Raises
        ------
        ScorerError
            The contributions do not add up to the score.
        """
        reasons: list[tuple[Reason, ...]] = []
        for first in range(0, len(matrix), _ROWS_AT_ONCE):
            part = matrix[first : first + _ROWS_AT_ONCE]
            values = self._model.contributions_of(part).values
            reasons.extend(self._writer.reasons(row, added) for row, added in zip(part, values, strict=True))
        return reasons


class _ReasonWriter:
    """Write the texts of a row's strongest families."""

    def __init__(self, encoder: Encoder, typical: UsualValues, features: Iterable[Feature], decimals: int) -> None:
        by_name = {feature.name: feature for feature in features}
        self.encoder = encoder
        self.features = [by_name[name] for name in encoder.columns]
        self.descriptions = [describe(feature, decimals=decimals) for feature in self.features]
        self.decimals = decimals
        self.typical = [typical.values[name] for name in encoder.columns]
        self.norms = norms(self.features)
        self.families: dict[str, list[int]] = {}
        for index, description in enumerate(self.descriptions):
            self.families.setdefault(description.family, []).append(index)

    def reasons(self, row: Floats, added: Floats) -> tuple[Reason, ...]:
        names = list(self.families)
        sums = np.array([added[indices].sum() for indices in self.families.values()])
        enough = max(float(sums.max()) * _LEAST_SHARE, np.finfo(np.float64).tiny)
        strongest = [index for index in np.argsort(-sums, kind="stable")[:MOST_REASONS] if sums[index] >= enough]
        return tuple(
            Reason(_code(names[index]), self._text(row, added, self.families[names[index]])) for index in strongest
        )

    def _text(self, row: Floats, added: Floats, family: list[int]) -> str:
        index = family[int(np.argmax(added[family]))]
        description = self.descriptions[index]
        if description.unit == "flag" and row[index] == 1:
            return description.words
        return f"{description.words}: {self._value(index, float(row[index]))}; {self._usual(index, row)}"

    def _usual(self, index: int, row: Floats) -> str:
        norm = self.norms[index]
        usual = math.nan if norm is None else norm.value_in(row)
        if norm is None or math.isnan(usual):
            return f"typically {self._value(index, self.typical[index])}"
        return f"usual {f'for {norm.owner} ' if norm.owner else ''}{self._value(index, usual)}"

    def _value(self, index: int, number: float) -> str:
        if math.isnan(number):
            return "unknown"
        name, unit = self.encoder.columns[index], self.descriptions[index].unit
        if unit == "flag":
            return "yes" if number == 1 else "no"
        if unit == "category":
            return self.encoder.categories[name][int(number)]
        return format_value(number, unit, decimals=self.decimals)


def _code(group: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", group.upper()).strip("_")


def _usual(values: pl.Series, *, discrete: bool) -> float:
    present = values.drop_nulls()
    if present.is_empty():
        return math.nan
    usual = present.mode().min() if discrete else present.median()
    return float(usual)  # type: ignore[arg-type]
