"""Batch engine: computes the features of a catalogue for many transactions at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import polars as pl

from fraud3000.data.cleaning import passthrough
from fraud3000.errors import SchemaError
from fraud3000.features.batch import window_kernels, window_sweeps
from fraud3000.features.batch.keyed_events import EventTable, KeyedEvents, to_floats
from fraud3000.features.batch.window_kernels import Floats
from fraud3000.features.spec.base import Feature, Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Calendar, Column, FromHome, Shift

TRANSACTION_COLUMNS = ("transaction_id", "ts", "card_id", "terminal_id", "amount", "status", "labelled", "seq")
"""Columns of TRANSACTIONS that FEATURED has beside the features."""

SECONDS_A_DAY = 86_400


def featurize(
    transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, *, output_mask: pl.Series | None = None
) -> pl.DataFrame:
    """Compute every feature of a catalogue for every transaction.

    A feature is null if it is undefined: the mean of an empty window, a missing key, a transaction that arrived
    later than the late horizon for its key.

    Parameters
    ----------
    transactions
        TRANSACTIONS, in any order.
    ledger
        LEDGER; records of other transactions are ignored.
    catalogue
        The features to compute.
    output_mask
        Boolean, one value per row of `transactions`: the rows to return. The others serve only as history.
        None returns all rows.

    Returns
    -------
    polars.DataFrame
        One row per transaction in `output_mask`, in their order: `history_days` (days since the first
        transaction of the frame, if the data has `ts`), then the features by name.

    Raises
    ------
    SchemaError
        A column that the catalogue needs is missing.
    """
    needed = frozenset[str]().union(*(feature.needs for feature in catalogue.features))
    missing = sorted(needed - set(transactions.columns))
    if missing:
        raise SchemaError.missing_columns("transactions", missing, transactions.columns)
    if "ts" not in transactions.columns:
        rows = transactions if output_mask is None else transactions.filter(output_mask)
        return rows.select(_row_expression(feature, catalogue.zone) for feature in catalogue.features)
    ordered = _sort_by_time(transactions.with_row_index("row"))
    mask = None if output_mask is None else output_mask.gather(ordered["row"])
    stateful = _compute_stateful(ordered, ledger, catalogue, mask)
    simple = [_row_expression(f, catalogue.zone) for f in catalogue.features if not isinstance(f, Stateful)]
    history = (pl.col("ts") - pl.col("ts").min()).dt.total_microseconds() / (SECONDS_A_DAY * 1e6)
    result = ordered.select("row", history.alias("history_days"), *simple)
    result = (result if mask is None else result.filter(mask)).with_columns(stateful)
    return (result if result["row"].is_sorted() else result.sort("row")).select("history_days", *catalogue.names)


def assemble(transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """Compute features and join them to their transactions; see `featurize`.

    Returns
    -------
    polars.DataFrame
        FEATURED: the columns of `TRANSACTION_COLUMNS` that the data has, then `history_days` and the features.
    """
    features = featurize(transactions, ledger, catalogue)
    columns = [name for name in TRANSACTION_COLUMNS if name in transactions.columns]
    return transactions.select(columns).hstack(features.drop("amount", strict=False))


def _sort_by_time(transactions: pl.DataFrame) -> pl.DataFrame:
    """Sort by (ts, seq), unless the rows are already in that order, as in most files."""
    later = pl.col("ts").diff() > pl.duration()
    same = (pl.col("ts").diff() == pl.duration()) & (pl.col("seq").diff() > 0)
    sorted_ = transactions.select((later | same).all()).item()
    return transactions if sorted_ else transactions.sort("ts", "seq")


def _row_expression(feature: Feature, zone: str) -> pl.Expr:
    """Expression of a feature that reads only the transaction's own row."""
    match feature:
        case Column(column=column, categorical=categorical):
            number = pl.col(column).cast(pl.Float64).fill_nan(None)
            expression = pl.col(column).map_batches(_canonical_text, return_dtype=pl.String) if categorical else number
        case Calendar(part=part):
            expression = _calendar_expression(pl.col("ts").dt.convert_time_zone(zone), part)
        case FromHome():
            expression = pl.map_batches(
                ["card_lat", "card_long", "terminal_lat", "terminal_long"],
                lambda columns: _nullable(window_kernels.compute_distances(*map(to_floats, columns)) / 1000),
                return_dtype=pl.Float64,
            )
        case _:
            raise TypeError(f"{type(feature).__name__} is not computed from the row alone")
    return expression.alias(feature.name)


def _canonical_text(values: pl.Series) -> pl.Series:
    """Return texts as they are (`prepare` wrote them), and the canonical text of values of any other type."""
    return values if values.dtype == pl.String else passthrough.canonical(values)


def _calendar_expression(local: pl.Expr, part: str) -> pl.Expr:
    match part:
        case "hour":
            return local.dt.hour().cast(pl.Float64)
        case "weekday":
            return (local.dt.weekday() - 1).cast(pl.Float64)
        case "night":
            return local.dt.hour() <= 6
        case _:
            return local.dt.weekday() >= 6


def _compute_stateful(
    ordered: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, mask: pl.Series | None
) -> list[pl.Series]:
    """Compute the stateful features in parallel: first the arrays of each key, then each window on blocks of keys."""
    features = catalogue.evaluation_order
    if mask is None:
        target, rows = np.arange(ordered.height), ordered.height
    else:
        returned = mask.to_numpy()
        target, rows = np.where(returned, np.cumsum(returned) - 1, -1), int(returned.sum())
    out = np.full((len(features), rows), np.nan)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        events = EventTable(ordered, ledger, catalogue, pool)
        by_key = {key: pool.submit(KeyedEvents, events, key, target, out) for key in {f.keys: None for f in features}}
        sweeps: list[Future[None]] = []
        for window, slots in window_sweeps.group_by_window(features).items():
            keyed = by_key[features[slots[0]].keys].result()
            sweep = window_sweeps.SWEEPS[window[0]](keyed, [features[slot] for slot in slots], slots)
            sweeps += [pool.submit(sweep, rows) for rows in keyed.blocks]
        deque((sweep.result() for sweep in sweeps), maxlen=0)
        _compute_shifts(features, out)
        return list(pool.map(_to_series, features, out))


def _compute_shifts(features: Sequence[Stateful], out: Floats) -> None:
    """Divide the recent window of each shift by its usual mean; both are already computed."""
    slot_of = {feature: slot for slot, feature in enumerate(features)}
    for shift, slot in slot_of.items():
        if isinstance(shift, Shift):
            window_kernels.compute_ratios(out[slot_of[shift.recent]], out[slot_of[shift.usual]], out[slot])


def _to_series(feature: Stateful, values: Floats) -> pl.Series:
    series = _nullable(values).alias(feature.name)
    return series.cast(pl.Boolean) if feature.kind == "boolean" else series


def _nullable(values: Floats) -> pl.Series:
    return pl.Series(values=values, dtype=pl.Float64, nan_to_null=True)
