"""Detect target leakage: columns that are filled in after the fact or copy the label.

A column is tested by the groups into which it divides the rows, whatever its type: by its values (missing is a value), and,
if it is numeric, by ranges of values. A flag gives the same result as 0 and 1, as a boolean, as text, or as empty and set.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

_FEWEST = 10  # frauds, legitimate transactions, and rows of a group, below which nothing is reported
_RANKING, _SURELY = 0.98, 0.965  # AUC from which a column of few groups is reported, and its lower limit minus 2 SD
_RANKING_OF_MANY, _MANY = 0.995, 20  # AUC for columns of more groups: amounts and places may rank well without leakage
_PURE, _COVERED = 0.99, 0.2  # share of frauds in the groups that are nearly all fraud; share of all frauds in these
_COMMON_FRAUD = 0.5  # if fraud is this common, purity is not evidence
_SEED = 7
_QUANTILES = np.unique(np.concatenate([np.linspace(0, 1, 101), 0.5 ** np.arange(7, 21), 1 - 0.5 ** np.arange(7, 21)]))
"""Limits of the ranges of numbers: each percent, and finer towards both ends, because fraud is rare."""


def leak_reason(values: pl.Series, label: pl.Series) -> str | None:
    """Describe how a column reveals the label; None if it does not.

    The share of frauds of each group is estimated on one half of the rows and tested on the other, so that columns of many
    values are not reported because of overfitting.

    Parameters
    ----------
    values
        A numeric, boolean or text column.
    label
        1, 0 or null, row by row.

    Examples
    --------
    >>> label = pl.Series([1] * 20 + [0] * 980)
    >>> leak_reason(pl.Series([f"case {row}" if row < 20 else None for row in range(1000)]), label)
    'some of its values are in 20 rows, of which 100.0% are frauds, and cover 100.0% of all frauds'
    >>> leak_reason(pl.Series([f"shop {row % 7}" for row in range(1000)]), label) is None
    True
    """
    known = label.is_not_null()
    label = label.filter(known).cast(pl.Int64)
    frauds = int(label.sum())
    if min(frauds, len(label) - frauds) < _FEWEST or frauds >= _COMMON_FRAUD * len(label):
        return None
    values = values.filter(known)
    return _by_value(values, label, frauds) or _by_range(values, label, frauds)


def _by_value(values: pl.Series, label: pl.Series, frauds: int) -> str | None:
    """Test a column by its values including null; a column whose values are mostly unique is not tested."""
    values = values.fill_nan(None) if values.dtype.is_float() else values
    if values.n_unique() > len(values) / 2:
        return None
    halves = _halves(values, label)
    return _purity(halves, frauds) or _ranking(halves, frauds)


def _by_range(values: pl.Series, label: pl.Series, frauds: int) -> str | None:
    """Test numbers by ranges, only by ranking: that the largest amounts are all frauds may be no leakage."""
    numbers = _numbers(values)
    if numbers is None or not numbers.count():
        return None
    cuts = np.unique(np.quantile(numbers.drop_nulls().to_numpy(), _QUANTILES, method="lower"))
    ranges = pl.Series(np.searchsorted(cuts, numbers.fill_null(0).to_numpy(), side="right"))
    return _ranking(_halves(ranges.set(numbers.is_null(), None), label), frauds)


def _numbers(values: pl.Series) -> pl.Series | None:
    """The values as floats, NaN as null; None unless all of them are numbers."""
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return values.cast(pl.Float64).fill_nan(None)
    floats = values.cast(pl.String).cast(pl.Float64, strict=False)
    return floats.fill_nan(None) if floats.null_count() == values.null_count() else None


def _halves(groups: pl.Series, label: pl.Series) -> pl.DataFrame:
    """Count rows and frauds of each group in both halves of the data; values with few rows form one group."""
    second = pl.Series(np.random.default_rng(_SEED).random(len(label)) < 0.5)
    rows = pl.DataFrame({"group": groups, "label": label, "second": second})
    counts = rows.group_by("group").agg(
        rows_0=(~pl.col("second")).sum().cast(pl.Int64),
        rows_1=pl.col("second").sum().cast(pl.Int64),
        frauds_0=pl.col("label").filter(~pl.col("second")).sum(),
        frauds_1=pl.col("label").filter(pl.col("second")).sum(),
    )
    rare = (pl.col("rows_0") + pl.col("rows_1") < _FEWEST) & pl.col("group").is_not_null()
    few, many = counts.filter(rare).drop("group"), counts.filter(~rare).drop("group")
    return pl.concat([many, few.sum()]) if few.height else many


def _purity(halves: pl.DataFrame, frauds: int) -> str | None:
    tests = _both_ways(halves)
    rows, pure = sum(test.pure_rows for test in tests), sum(test.pure_frauds for test in tests)
    if rows < _FEWEST or pure < _PURE * rows or pure < _COVERED * frauds:
        return None
    share, of_all = pure / rows, pure / frauds
    return f"some of its values are in {rows:,} rows, of which {share:.1%} are frauds, and cover {of_all:.1%} of all frauds"


def _ranking(halves: pl.DataFrame, frauds: int) -> str | None:
    area = sum(test.area for test in _both_ways(halves)) / 2
    least = _RANKING if halves.height <= _MANY else _RANKING_OF_MANY
    if area < least or area - 2 * math.sqrt(area * (1 - area) / frauds) < _SURELY:
        return None
    return f"by itself it separates frauds from legitimate transactions with an AUC of {area:.4f}"


def _both_ways(halves: pl.DataFrame) -> list[_HalfTest]:
    """Estimate on each half, test on the other."""
    return [_HalfTest(halves, learn, test) for learn, test in ((0, 1), (1, 0))]


class _HalfTest:
    """How well each group's share of frauds in one half predicts the frauds of the other half.

    Attributes
    ----------
    pure_rows, pure_frauds
        Rows and frauds in groups that are nearly all fraud in the first half.
    area
        Probability that a fraud's group has a larger share than a legitimate transaction's, ties counted half.
    """

    def __init__(self, halves: pl.DataFrame, learn: int, test: int) -> None:
        rows, frauds = halves[f"rows_{learn}"].to_numpy(), halves[f"frauds_{learn}"].to_numpy()
        overall = frauds.sum() / max(1, rows.sum())
        share = np.where(rows > 0, frauds / np.maximum(rows, 1), overall)
        rows, frauds = halves[f"rows_{test}"].to_numpy(), halves[f"frauds_{test}"].to_numpy()
        pure = share >= _PURE
        self.pure_rows, self.pure_frauds = int(rows[pure].sum()), int(frauds[pure].sum())
        _, rank = np.unique(share, return_inverse=True)
        fraud, legitimate = np.bincount(rank, frauds), np.bincount(rank, rows - frauds)
        below = np.cumsum(legitimate) - legitimate / 2
        pairs = fraud.sum() * legitimate.sum()
        self.area = float((fraud * below).sum() / pairs) if pairs else 0.5
