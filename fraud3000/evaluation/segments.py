"""Parts of the rows in which a model could fail while it does well over all."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import polars as pl

from fraud3000.metrics.scored_arrays import counted

NEW_CARD_DAYS = 30
"""A card is new until this many days after its first transaction."""
NIGHT_UNTIL = 6
"""The last hour of the night, as the catalogue has it."""
MOST_VALUES = 20
"""A category with more values has no segments."""
_QUARTERS = ("smallest", "second", "third", "largest")


def segments(scored: pl.DataFrame, *, zone: str = "UTC", categories: Iterable[str] = ()) -> dict[str, pl.Series]:
    """Cut rows by amount, by time of day, by the age of the card and by category, as far as the data has these.

    Parameters
    ----------
    scored
        is_fraud Int8 and amount Int64 in minor units; ts, first_seen Datetime (when the card was seen first; null
        for no card), status and evaluated where there are such.
    zone
        In which hours are told.
    categories
        Columns of text, a segment for each value.

    Returns
    -------
    By name, which rows are of the segment: Boolean, in the order of the rows.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> hours = [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in (3, 12)]
    >>> found = segments(pl.DataFrame({"is_fraud": [0, 1], "amount": [100, 900], "ts": hours}))
    >>> found["night"].to_list(), found["smallest quarter of amounts"].to_list()
    ([True, False], [True, False])
    """
    named = {**_by_amount(scored), **_by_time(scored, zone)}
    for column in categories:
        values = scored[column].unique().sort().to_list() if column in scored.columns else []
        if len(values) <= MOST_VALUES:
            named |= {
                f"{column.replace('_', ' ')} {'none' if value is None else value}": pl.col(column).eq_missing(value)
                for value in values
            }
    return {name: scored.select(rule.alias(name)).to_series() for name, rule in named.items()}


def _by_amount(scored: pl.DataFrame) -> dict[str, pl.Expr]:
    """Quarters of the legitimate amounts that count."""
    honest = scored.filter(counted(scored) & (scored["is_fraud"] == 0))["amount"]
    if honest.is_empty():
        return {}
    bounds = [-np.inf, *np.quantile(honest.to_numpy(), [0.25, 0.5, 0.75]).tolist(), np.inf]
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
