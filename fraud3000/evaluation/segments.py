"""Segments of the rows (amount, time of day, new cards, categories) in which a model could be worse."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import polars as pl

from fraud3000.metrics.scored_arrays import counted

NEW_CARD_DAYS = 30
"""A card is new until this many days after its first transaction."""
NIGHT_UNTIL = 6
"""Last hour of the night, as in the feature catalogue."""
MOST_VALUES = 20
"""A categorical column with more values has no segments."""
_QUARTERS = ("smallest", "second", "third", "largest")


def segments(scored: pl.DataFrame, *, zone: str = "UTC", categories: Iterable[str] = ()) -> dict[str, pl.Series]:
    """Divide rows into segments by amount, time of day, age of the card and category, if the data has them.

    Parameters
    ----------
    scored
        is_fraud Int8 and amount Int64 in minor units; ts, first_seen Datetime (first transaction of the card; null
        without a card), status and evaluated if the data has them.
    zone
        Time zone of the hours.
    categories
        Text columns; each value is a segment.

    Returns
    -------
    By name, which rows belong to the segment: Boolean, in the order of the rows.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> hours = [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in (3, 12)]
    >>> parts = segments(pl.DataFrame({"is_fraud": [0, 1], "amount": [100, 900], "ts": hours}))
    >>> parts["night"].to_list(), parts["smallest quarter of amounts"].to_list()
    ([True, False], [True, False])
    """
    rules = {**_by_amount(scored), **_by_time(scored, zone)}
    for column in categories:
        values = scored[column].unique().sort().to_list() if column in scored.columns else []
        if len(values) <= MOST_VALUES:
            rules |= {
                f"{column.replace('_', ' ')} {'none' if value is None else value}": pl.col(column).eq_missing(value)
                for value in values
            }
    return {name: scored.select(rule.alias(name)).to_series() for name, rule in rules.items()}


def _by_amount(scored: pl.DataFrame) -> dict[str, pl.Expr]:
    """Divide rows by the quartiles of the measured legitimate amounts."""
    legitimate = scored.filter(counted(scored) & (scored["is_fraud"] == 0))["amount"]
    if legitimate.is_empty():
        return {}
    bounds = [-np.inf, *np.quantile(legitimate.to_numpy(), [0.25, 0.5, 0.75]).tolist(), np.inf]
    return {
        f"{name} quarter of amounts": pl.col("amount").is_between(low, high, closed="right")
        for name, (low, high) in zip(_QUARTERS, pairwise(bounds), strict=True)
    }


def _by_time(scored: pl.DataFrame, zone: str) -> dict[str, pl.Expr]:
    if "ts" not in scored.columns:
        return {}
    night = pl.col("ts").dt.convert_time_zone(zone).dt.hour() <= NIGHT_UNTIL
    if "first_seen" not in scored.columns:
        return {"night": night, "day": ~night}
    new = (pl.col("ts") - pl.col("first_seen") < pl.duration(days=NEW_CARD_DAYS)).fill_null(value=False)
    return {"night": night, "day": ~night, "new cards": new}
