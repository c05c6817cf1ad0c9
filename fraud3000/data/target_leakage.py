"""Columns that know the answer: filled in after the fact, or a copy of the label.

A column is judged by the groups into which it divides the rows, whatever its type: by its values, missing among them, and,
where it holds numbers, by ranges of them. So a flag is judged alike as 0 and 1, as a boolean, as text, or as empty and set.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

_FEWEST = 10  # frauds, legitimate transactions, and rows of a group, below which nothing is reported
_RANKING, _SURELY = 0.98, 0.965  # area under the curve of a column of few groups, and two standard deviations below it
_RANKING_OF_MANY, _MANY = 0.995, 20  # area for one of more groups: amounts and places may rank well and be honest
_PURE, _COVERED = 0.99, 0.2  # share of frauds in the groups that are nearly all fraud; share of all frauds in these
_COMMON_FRAUD = 0.5  # where fraud is this common, purity says nothing
_SEED = 7
_QUANTILES = np.unique(np.concatenate([np.linspace(0, 1, 101), 0.5 ** np.arange(7, 21), 1 - 0.5 ** np.arange(7, 21)]))
"""Where ranges of numbers are cut: each percent, and ever finer at both ends, since fraud is rare."""


def reason(values: pl.Series, label: pl.Series) -> str | None:
    """Say why a column gives the label away, or None where it does not.

    Each group's share of frauds is learnt on one half of the rows and judged on the other, so that columns of many values
    do not seem to know more than they do.

    Parameters
    ----------
    values
        A numeric, boolean or text column.
    label
        1, 0 or null, row by row.

    Examples
    --------
    >>> label = pl.Series([1] * 20 + [0] * 980)
    >>> reason(pl.Series([f"case {row}" if row < 20 else None for row in range(1000)]), label)
    'some of its values are in 20 rows, of which 100.0% are frauds, and hold 100.0% of all frauds'
    >>> reason(pl.Series([f"shop {row % 7}" for row in range(1000)]), label) is None
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
    """Judge a column by its values, null among them; one that differs in most rows has none to speak of."""
    values = values.fill_nan(None) if values.dtype.is_float() else values
    if values.n_unique() > len(values) / 2:
        return None
    halves = _halves(values, label)
    return _purity(halves, frauds) or _ranking(halves, frauds)


def _by_range(values: pl.Series, label: pl.Series, frauds: int) -> str | None:
    """Judge numbers by ranges, by the ranking alone: that the largest amounts are all frauds may be honest."""
    numbers = _numbers(values)
    if numbers is None or not numbers.count():
        return None
    cuts = np.unique(np.quantile(numbers.drop_nulls().to_numpy(), _QUANTILES, method="lower"))
    ranges = pl.Series(np.searchsorted(cuts, numbers.fill_null(0).to_numpy(), side="right"))
    return _ranking(_halves(ranges.set(numbers.is_null(), None), label), frauds)


def _numbers(values: pl.Series) -> pl.Series | None:
    """Return the values as floats, NaN as null; None unless all of them are numbers."""
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return values.cast(pl.Float64).fill_nan(None)
    floats = values.cast(pl.String).cast(pl.Float64, strict=False)
    return floats.fill_nan(None) if floats.null_count() == values.null_count() else None


def _halves(groups: pl.Series, label: pl.Series) -> pl.DataFrame:
    """Count rows and frauds of each group in both halves of the data, values of few rows taken together."""
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
    judged = _both_ways(halves)
    rows, pure = sum(one.pure_rows for one in judged), sum(one.pure_frauds for one in judged)
    if rows < _FEWEST or pure < _PURE * rows or pure < _COVERED * frauds:
        return None
    share, of_all = pure / rows, pure / frauds
    return (
        f"some of its values are in {rows:,} rows, of which {share:.1%} are frauds, and hold {of_all:.1%} of all frauds"
    )


def _ranking(halves: pl.DataFrame, frauds: int) -> str | None:
    area = sum(one.area for one in _both_ways(halves)) / 2
    least = _RANKING if halves.height <= _MANY else _RANKING_OF_MANY
    if area < least or area - 2 * math.sqrt(area * (1 - area) / frauds) < _SURELY:
        return None
    return f"alone it tells frauds from legitimate transactions with an AUC of {area:.4f}"


def _both_ways(halves: pl.DataFrame) -> list[_Judged]:
    """Learn on each half, judge on the other."""
    return [_Judged(halves, learn, judge) for learn, judge in ((0, 1), (1, 0))]


class _Judged:
    """What each group's share of frauds in one half says of the other half.

    Attributes
    ----------
    pure_rows, pure_frauds
        Rows and frauds in groups that are nearly all fraud in the half that was learnt from.
    area
        The chance that a fraud's group has a larger share than a legitimate transaction's, ties counted half.
    """

    def __init__(self, halves: pl.DataFrame, learn: int, judge: int) -> None:
        rows, frauds = halves[f"rows_{learn}"].to_numpy(), halves[f"frauds_{learn}"].to_numpy()
        overall = frauds.sum() / max(1, rows.sum())
        share = np.where(rows > 0, frauds / np.maximum(rows, 1), overall)
        rows, frauds = halves[f"rows_{judge}"].to_numpy(), halves[f"frauds_{judge}"].to_numpy()
        pure = share >= _PURE
        self.pure_rows, self.pure_frauds = int(rows[pure].sum()), int(frauds[pure].sum())
        _, place = np.unique(share, return_inverse=True)
        fraud, honest = np.bincount(place, frauds), np.bincount(place, rows - frauds)
        below = np.cumsum(honest) - honest / 2
        pairs = fraud.sum() * honest.sum()
        self.area = float((fraud * below).sum() / pairs) if pairs else 0.5
