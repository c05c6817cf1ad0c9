"""Count the known, unknown and missing category values of a model's columns.

The model treats an unknown value as missing, so it still scores (badly) if the categories of a column change. These counts
reveal that in training, in files and in the service.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from fraud3000.data.cleaning import passthrough
from fraud3000.features.spec.base import Feature
from fraud3000.models.inference.encoder import Encoder

_FEWEST = 3
_LARGER, _MORE_OFTEN, _DEVIATIONS = 0.05, 2.0, 4.0
"""A share has jumped if it grew by this difference, this factor and this many standard deviations."""


@dataclass(frozen=True)
class CategoryCounts:
    """Counts of the values of one categorical column.

    Attributes
    ----------
    rows
        All values.
    missing
        Values that are null.
    unknown
        Values that are neither null nor among the model's categories.
    """

    rows: int
    missing: int
    unknown: int

    def __add__(self, other: CategoryCounts) -> CategoryCounts:
        return CategoryCounts(self.rows + other.rows, self.missing + other.missing, self.unknown + other.unknown)

    def share(self, what: str) -> float:
        """Return the share of the rows whose value is ``missing`` or ``unknown``."""
        return float(getattr(self, what)) / self.rows if self.rows else 0.0


NONE = CategoryCounts(0, 0, 0)


@dataclass(frozen=True)
class TrainedColumn:
    """Counts of one categorical column in training.

    Attributes
    ----------
    values
        Different values in the rows of the fit.
    kept
        Values that became categories; all others are treated as missing.
    train, valid
        Counts in the rows of the fit (unknown: too rare for a category), and in the rows of validation.
    """

    values: int
    kept: int
    train: CategoryCounts
    valid: CategoryCounts

    @property
    def expected(self) -> CategoryCounts:
        """Counts to compare later data with: those of validation, or of training if validation has no rows."""
        return self.valid if self.valid.rows else self.train

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainedColumn:
        train, valid = (CategoryCounts(**content[split]) for split in ("train", "valid"))
        return cls(content["values"], content["kept"], train, valid)


def count(encoder: Encoder, featured: pl.DataFrame) -> dict[str, CategoryCounts]:
    """Count the values of the model's categorical columns.

    Examples
    --------
    >>> encoder = Encoder(("trade",), {"trade": ("food", "fuel")}, {})
    >>> count(encoder, pl.DataFrame({"trade": ["food", "7995", None, "fuel"]}))
    {'trade': CategoryCounts(rows=4, missing=1, unknown=1)}
    """
    if not encoder.categories:
        return {}
    codes = Encoder(tuple(encoder.categories), encoder.categories, {}).frame(featured)
    missing = {name: passthrough.canonical(featured[name]).null_count() for name in encoder.categories}
    return {
        name: CategoryCounts(featured.height, nulls, codes[name].null_count() - nulls)
        for name, nulls in missing.items()
    }


def count_training(
    encoder: Encoder, features: Iterable[Feature], train: pl.DataFrame, valid: pl.DataFrame
) -> dict[str, TrainedColumn]:
    """Count the categorical columns of training, including columns dropped for want of a frequent value.

    Parameters
    ----------
    train, valid
        FEATURED: the rows of the fit, and those of validation.
    """
    names = [feature.name for feature in features if feature.kind == "categorical"]
    every = Encoder(tuple(names), {name: encoder.categories.get(name, ()) for name in names}, {})
    in_train, in_valid = count(every, train), count(every, valid)
    return {
        name: TrainedColumn(
            values=passthrough.canonical(train[name]).drop_nulls().n_unique(),
            kept=len(every.categories[name]),
            train=in_train[name],
            valid=in_valid[name],
        )
        for name in names
    }


def has_jumped(counts: CategoryCounts, expected: CategoryCounts, what: str) -> bool:
    """Return whether values are ``missing`` or ``unknown`` far more often than expected and than chance explains.

    Examples
    --------
    >>> expected = CategoryCounts(rows=1000, missing=0, unknown=10)
    >>> [has_jumped(CategoryCounts(10, 0, unknown), expected, "unknown") for unknown in (0, 2, 10)]
    [False, False, True]
    """
    share = counts.share(what)
    number = share * counts.rows
    before = (expected.share(what) * expected.rows + 1) / (expected.rows + 2)
    if number < _FEWEST - 0.5 or share < before + _LARGER:
        return False
    far = share >= _MORE_OFTEN * before or (1 - before) >= _MORE_OFTEN * (1 - share)
    return far and number - counts.rows * before >= _DEVIATIONS * math.sqrt(counts.rows * before * (1 - before))


def jump_warning(name: str, counts: CategoryCounts, expected: CategoryCounts, what: str) -> str:
    """Return the warning text for a share that has jumped."""
    problem = "are not known to the model" if what == "unknown" else "are missing"
    return (
        f"column {name}: {getattr(counts, what):,} of {counts.rows:,} values ({counts.share(what):.1%}) {problem},"
        f" {expected.share(what):.1%} in training; the model reads both as missing. Compare the column with the"
        " training data."
    )
