"""What is usual for a row's own card or terminal: what its longer windows say of a shorter one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fraud3000 import durations
from fraud3000.features.spec.declarations import (
    Column,
    Feature,
    LabelWindow,
    Shift,
    SinceLast,
    Stateful,
    Versus,
    Window,
)
from fraud3000.models.inference.encoder import Floats

_GROWING = {"count", "sum", "frauds", "labelled"}
"""Aggregates that are about as many times larger as their window is longer."""
_LEVEL = {"mean", "std", "share", "rate", "smoothed"}
"""Those that are about the same in windows of any length."""


@dataclass(frozen=True)
class Norm:
    """How the usual value of a feature follows from another column of the same row.

    Attributes
    ----------
    source
        Place of that column; None where the norm is a number, as 1 is of a ratio.
    factor
        What it is multiplied by, or that number.
    inverse
        Whether the factor is divided by it instead: the time between events by how many there were.
    owner
        Whose norm it is, where the feature does not say so itself: this card.
    """

    source: int | None
    factor: float
    inverse: bool = False
    owner: str = ""

    def value_in(self, row: Floats) -> float:
        """The norm in an encoded row; NaN where unknown."""
        if self.source is None:
            return self.factor
        found = float(row[self.source])
        if self.inverse:
            return self.factor / found if found > 0 else math.nan
        return self.factor * found


def norms(features: Sequence[Feature]) -> list[Norm | None]:
    """Of each feature the norm that the others hold for its key, None where they hold none.

    Windows of other delays or conditions are not the same thing; buckets make no difference. The largest and smallest
    value and the number of different ones have no norm: they grow with a window, but not as it does.

    Parameters
    ----------
    features
        Those of the encoder's columns, in order.

    Examples
    --------
    >>> short, long = norms([Window("card_id", "1d", "count"), Window("card_id", "30d", "count")])
    >>> short.value_in([3.0, 15.0]), long
    (0.5, None)
    """
    return [_norm(feature, features) for feature in features]


def _norm(feature: Feature, features: Sequence[Feature]) -> Norm | None:
    match feature:
        case Versus(how=how):
            return Norm(None, 1.0 if how == "ratio" else 0.0)
        case Shift(agg="mean"):
            return Norm(None, 1.0)
        case Window() | LabelWindow():
            return _of_longer(feature, features)
        case SinceLast():
            return _of_gaps(feature, features)
        case Column(categorical=False):
            return _of_means(feature, features)
        case _:
            return None


def _of_longer(feature: Window | LabelWindow, features: Sequence[Feature]) -> Norm | None:
    length = durations.seconds(feature.length)
    longest = _longest(one for one in features if isinstance(one, Stateful) and _like(one, feature) == feature)
    if longest is None or durations.seconds(longest.length) <= length or feature.agg not in _GROWING | _LEVEL:
        return None
    factor = length / durations.seconds(longest.length) if feature.agg in _GROWING else 1.0
    return Norm(features.index(longest), factor)


def _of_gaps(feature: SinceLast, features: Sequence[Feature]) -> Norm | None:
    """By how many events the key has in a longer time."""
    counts = Window(feature.key, feature.length, "count", where=feature.where)
    longest = _longest(one for one in features if isinstance(one, Stateful) and _like(one, counts) == counts)
    if longest is None:
        return None
    return Norm(features.index(longest), float(durations.seconds(longest.length)), inverse=True)


def _of_means(feature: Column, features: Sequence[Feature]) -> Norm | None:
    """By the card's mean of the column where there is one, else by another key's."""
    for key in ("card_id", *(one.key for one in features if isinstance(one, Stateful))):
        means = Window(key, "1d", "mean", column=feature.column)
        longest = _longest(one for one in features if isinstance(one, Stateful) and _like(one, means) == means)
        if longest is not None:
            owner = " with this ".join(column.removesuffix("_id").replace("_", " ") for column in longest.keys)
            return Norm(features.index(longest), 1.0, owner=f"this {owner}")
    return None


def _like(one: Stateful, other: Stateful) -> Stateful:
    """The same as declared with another's length and bucket."""
    return replace(one, length=other.length, bucket=other.bucket)


def _longest(candidates: Iterable[Stateful]) -> Stateful | None:
    return max(candidates, key=lambda one: durations.seconds(one.length), default=None)
