"""Why a transaction scores high, in words: what adds most to its score, and what would be usual."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from fraud3000.features.spec.declarations import Feature
from fraud3000.features.spec.describe import tell
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.inference.usual_values import norms
from fraud3000.models.inference.value_text import value_in_words
from fraud3000.models.training.fit import Model

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
        The feature of the family that adds most to the score, its value, and what is usual for its key
        or, where that is not known, typical of legitimate transactions.
    """

    code: str
    text: str


@dataclass(frozen=True)
class UsualValues:
    """What is usual among legitimate transactions of the fit, in the encoder's numbers.

    Attributes
    ----------
    values
        Of each column the median, or the most frequent code or flag; NaN where it is always missing.
    """

    values: dict[str, float]

    @classmethod
    def learn(cls, encoder: Encoder, legitimate: pl.DataFrame, features: Iterable[Feature]) -> UsualValues:
        """Learn from FEATURED, legitimate rows of the fit."""
        counted = {feature.name for feature in features if feature.kind != "numeric"}
        columns = encoder.frame(legitimate)
        return cls({name: _usual(columns[name], counted=name in counted) for name in encoder.columns})

    def to_dict(self) -> dict[str, Any]:
        return {"values": {name: None if math.isnan(value) else value for name, value in self.values.items()}}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> UsualValues:
        return cls({name: math.nan if value is None else value for name, value in content["values"].items()})


class Explainer:
    """Tells the families of features that raise a row's score most, at most three, the strongest first.

    A family counts by the sum of its features' contributions to the log-odds; one that adds less than a tenth of what
    the strongest adds is not told.

    Parameters
    ----------
    features
        The catalogue's features.
    decimals
        Of the currency: how many digits of an amount are minor units.
    """

    def __init__(self, model: Model, typical: UsualValues, features: Iterable[Feature], *, decimals: int = 2) -> None:
        self._model = model
        self._teller = _Teller(model.encoder, typical, features, decimals)

    def explain(self, matrix: Floats) -> list[tuple[Reason, ...]]:
        """The reasons of each row of the model's input.

        Raises
        ------
        ScorerError
            The contributions do not add up to the score.
        """
        found: list[tuple[Reason, ...]] = []
        for first in range(0, len(matrix), _ROWS_AT_ONCE):
            part = matrix[first : first + _ROWS_AT_ONCE]
            values = self._model.contributions_of(part).values
            found.extend(self._teller.reasons(row, added) for row, added in zip(part, values, strict=True))
        return found


class _Teller:
    """Puts a row's strongest families into words."""

    def __init__(self, encoder: Encoder, typical: UsualValues, features: Iterable[Feature], decimals: int) -> None:
        by_name = {feature.name: feature for feature in features}
        self.encoder = encoder
        self.features = [by_name[name] for name in encoder.columns]
        self.told = [tell(feature, decimals=decimals) for feature in self.features]
        self.decimals = decimals
        self.typical = [typical.values[name] for name in encoder.columns]
        self.norms = norms(self.features)
        self.families: dict[str, list[int]] = {}
        for place, told in enumerate(self.told):
            self.families.setdefault(told.family, []).append(place)

    def reasons(self, row: Floats, added: Floats) -> tuple[Reason, ...]:
        names = list(self.families)
        sums = np.array([added[places].sum() for places in self.families.values()])
        enough = max(float(sums.max()) * _LEAST_SHARE, np.finfo(np.float64).tiny)
        strongest = [place for place in np.argsort(-sums, kind="stable")[:MOST_REASONS] if sums[place] >= enough]
        return tuple(
            Reason(_code(names[place]), self._text(row, added, self.families[names[place]])) for place in strongest
        )

    def _text(self, row: Floats, added: Floats, family: list[int]) -> str:
        place = family[int(np.argmax(added[family]))]
        told = self.told[place]
        if told.unit == "flag" and row[place] == 1:
            return told.words
        return f"{told.words}: {self._value(place, float(row[place]))}; {self._usual(place, row)}"

    def _usual(self, place: int, row: Floats) -> str:
        norm = self.norms[place]
        usual = math.nan if norm is None else norm.value_in(row)
        if norm is None or math.isnan(usual):
            return f"typically {self._value(place, self.typical[place])}"
        return f"usual {f'for {norm.owner} ' if norm.owner else ''}{self._value(place, usual)}"

    def _value(self, place: int, number: float) -> str:
        if math.isnan(number):
            return "unknown"
        name, unit = self.encoder.columns[place], self.told[place].unit
        if unit == "flag":
            return "yes" if number == 1 else "no"
        if unit == "category":
            return self.encoder.categories[name][int(number)]
        return value_in_words(number, unit, decimals=self.decimals)


def _code(group: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", group.upper()).strip("_")


def _usual(values: pl.Series, *, counted: bool) -> float:
    present = values.drop_nulls()
    if present.is_empty():
        return math.nan
    usual = present.mode().min() if counted else present.median()
    return float(usual)  # type: ignore[arg-type]
