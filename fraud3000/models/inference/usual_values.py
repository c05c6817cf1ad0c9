"""Usual value of a feature for the row's own card or terminal, derived from its longer windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fraud3000 import durations
from fraud3000.features.spec.base import Feature, Stateful
from fraud3000.features.spec.kinds import Column, LabelWindow, Shift, SinceLast, Versus, Window
from fraud3000.models.inference.encoder import Floats

_GROWING = {"count", "sum", "frauds", "labelled"}
"""Aggregates that grow in proportion to the length of their window."""
_LEVEL = {"mean", "std", "share", "rate", "smoothed"}
"""Aggregates that are about the same in windows of any length."""


@dataclass(frozen=True)
class Norm:
    """Rule that derives the usual value of a feature from another column of the same row.

    Attributes
    ----------
    source
        Index of that column; None if the usual value is a constant, such as 1 for a ratio.
    factor
        Factor that the column is multiplied by, or the constant.
    inverse
        Whether the factor is divided by the column instead: time between events from their number.
    owner
        Owner of the usual value if the feature does not name it, such as "this card".
    """

    source: int | None
    factor: float
    inverse: bool = False
    owner: str = ""

    def value_in(self, row: Floats) -> float:
        """Return the usual value in an encoded row; NaN if unknown."""
        if self.source is None:
            return self.factor
        value = float(row[self.source])
        if self.inverse:
            return self.factor / value if value > 0 else math.nan
        return self.factor * value


def norms(features: Sequence[Feature]) -> list[Norm | None]:
    """Return for each feature the rule that derives its usual value from the other features, None if there is none.

    Windows with other delays or conditions are not comparable; buckets make no difference. Minimum, maximum and the
    number of distinct values have no rule: they grow with the window, but not in proportion.

    Parameters
    ----------
    features
        The features of the encoder's columns, in order.

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
            return _from_longer_window(feature, features)
        case SinceLast():
            return _from_event_count(feature, features)
        case Column(categorical=False):
            return _from_means(feature, features)
        case _:
            return None


def _from_longer_window(feature: Window | LabelWindow, features: Sequence[Feature]) -> Norm | None:
    length = durations.seconds(feature.length)
    longest = _longest(other for other in features if isinstance(other, Stateful) and _like(other, feature) == feature)
    if longest is None or durations.seconds(longest.length) <= length or feature.agg not in _GROWING | _LEVEL:
        return None
    factor = length / durations.seconds(longest.length) if feature.agg in _GROWING else 1.0
    return Norm(features.index(longest), factor)


def _from_event_count(feature: SinceLast, features: Sequence[Feature]) -> Norm | None:
    """Derive the time between events from the number of events in a longer window."""
    counts = Window(feature.key, feature.length, "count", where=feature.where)
    longest = _longest(other for other in features if isinstance(other, Stateful) and _like(other, counts) == counts)
    if longest is None:
        return None
    return Norm(features.index(longest), float(durations.seconds(longest.length)), inverse=True)


def _from_means(feature: Column, features: Sequence[Feature]) -> Norm | None:
    """Use the card's mean of the column if there is one, else another key's."""
    for key in ("card_id", *(other.key for other in features if isinstance(other, Stateful))):
        means = Window(key, "1d", "mean", column=feature.column)
        longest = _longest(other for other in features if isinstance(other, Stateful) and _like(other, means) == means)
        if longest is not None:
            owner = " with this ".join(column.removesuffix("_id").replace("_", " ") for column in longest.keys)
            return Norm(features.index(longest), 1.0, owner=f"this {owner}")
    return None


def _like(feature: Stateful, other: Stateful) -> Stateful:
    """Return the feature with the length and bucket of another."""
    return replace(feature, length=other.length, bucket=other.bucket)


def _longest(candidates: Iterable[Stateful]) -> Stateful | None:
    return max(candidates, key=lambda feature: durations.seconds(feature.length), default=None)
