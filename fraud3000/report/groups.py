"""Tables of results by week, by amount and by category, computed from SCORED rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import cast

import numpy as np
import polars as pl

from fraud3000.metrics.ranking import average_precision
from fraud3000.metrics.report import alerts_a_day
from fraud3000.metrics.scored_arrays import FloatArray, counted
from fraud3000.report.formatting import money
from fraud3000.report.tables import wilson

MOST_PERIODS = 26
"""With more weeks than this, periods are several weeks long."""
MOST_VALUES = 20
"""A column with more values is not broken down."""
_STEPS = (1.0, 2.0, 5.0, 10.0)
_EDGES = (0.2, 0.4, 0.6, 0.8, 0.95)
_MEASURES = ("average_precision", "recall", "value_detection_rate", "alerts_a_day")


def by_week(scored: pl.DataFrame) -> pl.DataFrame:
    """Compute metrics of each week, counted from the first day.

    Returns
    -------
    polars.DataFrame
        first, last Date; days (of the period that the rows span), rows, frauds Int64;
        average_precision, recall, value_detection_rate, alerts_a_day Float64, null if the week
        does not determine them. With more than `MOST_PERIODS` weeks, periods are several weeks long.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> times = [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC)]
    >>> scored = pl.DataFrame({"ts": times, "score": [0.9, 0.8], "alert": [True, False],
    ...                        "is_fraud": [1, 0], "amount": [100, 100]})
    >>> by_week(scored).select("days", "rows", "frauds", "recall").rows()
    [(7, 1, 1, 1.0), (2, 1, 0, None)]
    """
    day = scored["ts"].dt.date()
    first, last = cast(date, day.min()), cast(date, day.max())
    length = 7 * max(1, math.ceil(((last - first).days + 1) / (7 * MOST_PERIODS)))
    period = (day - first).dt.total_days() // length
    periods = []
    for number, rows in _periods(scored, period):
        begin = first + timedelta(days=number * length)
        end = min(begin + timedelta(days=length - 1), last)
        periods.append({"first": begin, "last": end, "days": (end - begin).days + 1, **_measured(rows)})
    return pl.DataFrame(periods, schema_overrides=dict.fromkeys(_MEASURES, pl.Float64), infer_schema_length=None)


def _periods(scored: pl.DataFrame, period: pl.Series) -> Iterator[tuple[int, pl.DataFrame]]:
    for number in period.unique().sort().to_list():
        yield int(number), scored.filter(period == number)


def _measured(rows: pl.DataFrame) -> dict[str, float | int | None]:
    measured = rows.filter(counted(rows))
    fraud = measured["is_fraud"].cast(pl.Float64).to_numpy()
    totals = measured.select(**_SUMS).row(0, named=True)
    average = average_precision(measured["score"].to_numpy(), fraud)
    return {
        "rows": measured.height,
        "frauds": int(fraud.sum()),
        "average_precision": average if fraud.any() else None,
        "recall": _ratio(totals["caught"], totals["frauds"]),
        "value_detection_rate": _ratio(totals["money_caught"], totals["money"]),
        "alerts_a_day": alerts_a_day(rows).mean,
    }


_FRAUD = pl.col("is_fraud") == 1
_MONEY = pl.col("amount").clip(lower_bound=0) * _FRAUD
_SUMS = {
    "frauds": _FRAUD.sum().cast(pl.Int64),
    "alerts": pl.col("alert").sum().cast(pl.Int64),
    "caught": (_FRAUD & pl.col("alert")).sum().cast(pl.Int64),
    "money": _MONEY.sum(),
    "money_caught": (_MONEY * pl.col("alert")).sum(),
}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def spread(weeks: pl.DataFrame) -> pl.DataFrame:
    """Return the mean and the standard deviation of each metric over the full weeks.

    Parameters
    ----------
    weeks
        From `by_week`; periods shorter than the longest do not count.

    Returns
    -------
    polars.DataFrame
        measure String; mean, sd Float64 (null for fewer than two weeks); weeks Int64.

    Examples
    --------
    >>> weeks = pl.DataFrame({"days": [7, 7, 2], "average_precision": [0.4, 0.6, 0.0], "recall": 0.5,
    ...                       "value_detection_rate": None, "alerts_a_day": 9.0})
    >>> spread(weeks).row(0)
    ('average_precision', 0.5, 0.141..., 2)
    """
    whole = weeks.filter(pl.col("days") == pl.col("days").max())
    values = {name: whole[name].cast(pl.Float64).drop_nulls() for name in _MEASURES}
    return pl.DataFrame(
        {
            "measure": list(values),
            "mean": pl.Series([value.mean() for value in values.values()], dtype=pl.Float64),
            "sd": pl.Series([value.std() for value in values.values()], dtype=pl.Float64),
            "weeks": [len(value) for value in values.values()],
        }
    )


def by_amount(scored: pl.DataFrame, *, decimals: int = 2) -> pl.DataFrame:
    """Compute metrics of ranges of amounts, with round edges near the quantiles of the data.

    Parameters
    ----------
    decimals
        Minor digits of the currency.

    Returns
    -------
    polars.DataFrame
        group String, smallest amounts first, and the columns of `by_category`.

    Examples
    --------
    >>> scored = pl.DataFrame({"score": 0.5, "alert": True, "is_fraud": 0, "amount": range(100, 10_000, 100)})
    >>> by_amount(scored)["group"].to_list()
    ['under 20', '20 – 50', '50 and more']
    """
    measured = scored.filter(counted(scored))
    edges = _round_edges(measured["amount"], decimals)
    names = [money(edge, decimals) for edge in edges]
    inner = [f"{low} – {high}" for low, high in pairwise(names)]
    labels = [f"under {names[0]}", *inner, f"{names[-1]} and more"] if names else ["all amounts"]
    band = pl.Series("band", np.searchsorted(edges, measured["amount"].to_numpy(), side="right"), dtype=pl.UInt32)
    return _grouped(measured.with_columns(band)).with_columns(
        group=pl.col("group").replace_strict(dict(enumerate(labels)), return_dtype=pl.String)
    )


def _round_edges(amounts: pl.Series, decimals: int) -> FloatArray:
    """Return the numbers 1, 2, 5, 10, … (major units) nearest to the quantiles, in minor units."""
    positive = amounts.filter(amounts > 0).to_numpy() / 10**decimals
    if not len(positive):
        return np.empty(0)
    quantiles = np.quantile(positive, _EDGES)
    powers = 10.0 ** np.floor(np.log10(quantiles))
    choices = powers[:, None] * np.array(_STEPS)
    nearest = np.abs(np.log(choices / quantiles[:, None])).argmin(axis=1)
    edges = np.unique(choices[np.arange(len(quantiles)), nearest].round(8))
    inside: FloatArray = edges[(edges > positive.min()) & (edges <= positive.max())] * 10.0**decimals
    return inside


def by_category(scored: pl.DataFrame, column: str) -> pl.DataFrame:
    """Compute metrics of each value of a column, most frequent first.

    Returns
    -------
    polars.DataFrame
        group String ("none" for null); rows, frauds, alerts Int64; fraud_rate, precision, recall,
        recall_low, recall_high Float64 (Wilson's interval, assuming independent rows); money Int64,
        of the frauds in minor units; value_detection_rate Float64. A share is null if its denominator is 0.

    Examples
    --------
    >>> scored = pl.DataFrame({"score": 0.5, "alert": [True, False], "is_fraud": 1, "amount": 100, "trade": ["food", "fuel"]})
    >>> by_category(scored, "trade").select("group", "recall").rows()
    [('food', 1.0), ('fuel', 0.0)]
    """
    measured = scored.filter(counted(scored)).rename({column: "band"})
    table = _grouped(measured.with_columns(pl.col("band").fill_null("none")))
    return table.sort("rows", "group", descending=[True, False])


def values_of(scored: pl.DataFrame, columns: list[str]) -> dict[str, int]:
    """Return the number of values of each categorical column, including null."""
    measured = scored.filter(counted(scored))
    return {name: measured[name].n_unique() for name in columns if name in measured.columns}


def _grouped(measured: pl.DataFrame) -> pl.DataFrame:
    table = measured.group_by("band").agg(rows=pl.len().cast(pl.Int64), **_SUMS).sort("band")
    low, high = wilson(table["caught"].to_numpy().astype(float), table["frauds"].to_numpy().astype(float))
    shares = {
        "fraud_rate": ("frauds", "rows"),
        "precision": ("caught", "alerts"),
        "recall": ("caught", "frauds"),
        "value_detection_rate": ("money_caught", "money"),
    }
    return table.with_columns(
        *(
            pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole)).alias(name)
            for name, (part, whole) in shares.items()
        ),
        recall_low=low,
        recall_high=high,
    ).select(
        pl.col("band").alias("group"), "rows", "frauds", "fraud_rate", "alerts", "precision", "recall", "recall_low",
        "recall_high", "money", "value_detection_rate",
    )  # fmt: skip
