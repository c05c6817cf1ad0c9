"""The catalogue over many transactions at once, by the rules of time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import numpy as np
import polars as pl

from fraud3000 import durations, labels
from fraud3000.errors import SchemaError
from fraud3000.features import formulas
from fraud3000.features.formulas import Floats
from fraud3000.features.spec import (
    Calendar,
    Catalogue,
    Column,
    Feature,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    SinceLast,
    Stateful,
    Versus,
    Window,
)
from fraud3000.features.timeline import Bools, Clock, Ints, KeyOrder, Marks, Timeline, position_bits
from fraud3000.schema import APPROVED, REFUND

KEPT = ("transaction_id", "ts", "card_id", "terminal_id", "amount", "status", "labelled", "seq")
"""Columns of TRANSACTIONS that stay beside the features."""

FOREVER = np.iinfo(np.int64).max
SECONDS_A_DAY = 86_400


def featurize(
    transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, *, wanted: pl.Series | None = None
) -> pl.DataFrame:
    """Compute every feature of a catalogue for every transaction.

    A feature is null where it is undefined: an empty window's mean, a key that is missing, a
    transaction that came later than the late horizon for its key.

    Parameters
    ----------
    transactions
        TRANSACTIONS, in any order.
    ledger
        LEDGER; records of transactions that are not there are ignored.
    catalogue
        What to compute.
    wanted
        Boolean, one for each of `transactions`: whose features to give back, where all others are there
        only to be looked back at.

    Returns
    -------
    polars.DataFrame
        One row for each of `transactions` that is wanted, in their order: `history_days` (days since the first
        transaction of all, where there is time), then the features by name.

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
        rows = transactions if wanted is None else transactions.filter(wanted)
        return rows.select(_stateless(feature, catalogue.zone) for feature in catalogue.features)
    ordered = _in_order(transactions.with_row_index("row"))
    among = None if wanted is None else wanted.gather(ordered["row"])
    kept = slice(None) if among is None else among.to_numpy()
    stateful = [feature for feature in catalogue.features if isinstance(feature, Stateful)]
    looked_back = _look_back(_Events(ordered, ledger, catalogue), stateful, kept)
    simple = [_stateless(f, catalogue.zone) for f in catalogue.features if not isinstance(f, Stateful)]
    history = (pl.col("ts") - pl.col("ts").min()).dt.total_microseconds() / (SECONDS_A_DAY * 1e6)
    result = ordered.select("row", history.alias("history_days"), *simple)
    result = (result if among is None else result.filter(among)).with_columns(looked_back)
    return (result if result["row"].is_sorted() else result.sort("row")).select("history_days", *catalogue.names)


def assemble(transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """Put the features beside the transactions they belong to; see `featurize`.

    Returns
    -------
    polars.DataFrame
        FEATURED: the columns of `KEPT` that the data has, then `history_days` and the features.
    """
    features = featurize(transactions, ledger, catalogue)
    kept = [name for name in KEPT if name in transactions.columns]
    return transactions.select(kept).hstack(features.drop("amount", strict=False))


def _in_order(transactions: pl.DataFrame) -> pl.DataFrame:
    """Sort by (ts, seq), which most files already are."""
    later = pl.col("ts").diff() > pl.duration()
    same = (pl.col("ts").diff() == pl.duration()) & (pl.col("seq").diff() > 0)
    sorted_ = transactions.select((later | same).all()).item()
    return transactions if sorted_ else transactions.sort("ts", "seq")


def _stateless(feature: Feature, zone: str) -> pl.Expr:
    match feature:
        case Column(column=column, categorical=categorical):
            expression = pl.col(column).cast(pl.String if categorical else pl.Float64)
        case Calendar(part=part):
            local = pl.col("ts").dt.convert_time_zone(zone)
            expression = local.dt.hour() if part == "hour" else local.dt.weekday() - 1
            expression = expression.cast(pl.Float64)
        case FromHome():
            expression = pl.map_batches(
                ["card_lat", "card_long", "terminal_lat", "terminal_long"],
                lambda columns: _series(formulas.metres(*(c.to_numpy() for c in columns)) / 1000),
                return_dtype=pl.Float64,
            )
        case _:
            raise TypeError(f"{type(feature).__name__} looks back")
    return expression.alias(feature.name)


def _look_back(events: _Events, features: Sequence[Stateful], kept: Bools | slice) -> list[pl.Series]:
    """Compute the stateful features key by key, edges and then blocks of a key side by side."""
    by_key: dict[tuple[str, ...], list[Stateful]] = {}
    for feature in features:
        by_key.setdefault(feature.keys, []).append(feature)
    columns: list[pl.Series] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Keys are numbered one after the other: side by side they would wait for each other's lock.
        orders = [pool.submit(KeyOrder, events.clock, events.codes(key)) for key in by_key]
        deque(pool.map(events.clock.before, _edges(features)), maxlen=0)
        for of_key, made in zip(by_key.values(), orders, strict=True):
            order = made.result()
            deque(pool.map(order.bound, _edges(of_key)), maxlen=0)
            values = {feature: np.empty(events.frame.height) for feature in of_key}
            deque(pool.map(partial(_fill, events, values), order.blocks(events.catalogue.late_horizon)), maxlen=0)
            columns += pool.map(lambda of: _column(of[0], of[1][kept]), values.items())
    return columns


def _edges(features: Sequence[Stateful]) -> set[int]:
    """How many seconds back the windows begin and end."""
    return {edge for f in features for edge in (f.span, f.span - durations.seconds(f.length))}


def _fill(events: _Events, columns: dict[Stateful, Floats], line: Timeline) -> None:
    """Compute a block's features, each row's at its own place; NaN for rows that the keys do not keep."""
    block = _Block(events, line)
    for feature, column in columns.items():
        values = block.values(feature)
        column[line.rows] = values if line.known.all() else np.where(line.known, values, np.nan)


def _column(feature: Stateful, values: Floats) -> pl.Series:
    series = _series(values).alias(feature.name)
    return series.cast(pl.Boolean) if feature.kind == "boolean" else series


class _Events:
    """What the windows of every key read, in global order of (ts, seq)."""

    def __init__(self, ordered: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> None:
        self.frame = ordered
        self.catalogue = catalogue
        self.clock = Clock(ordered["ts"].dt.epoch("us").to_numpy(), ordered["seq"].to_numpy())
        self.amount = ordered["amount"].to_numpy()
        self.approved: Bools = (ordered["status"] == APPROVED).to_numpy()
        self.counted: Bools = (ordered["status"] != REFUND).to_numpy()
        self._ledger = ledger

    @cached_property
    def presumed(self) -> Bools:
        """Rows that are labelled as soon as they are mature, without any record."""
        return labels.presumed(self.frame).to_numpy() & self.counted

    @cached_property
    def _spoken(self) -> pl.DataFrame:
        spoken = labels.changes(self._ledger, self.catalogue.precedence)
        rows = self.frame.lazy().select("transaction_id").with_row_index("position").collect()
        known = spoken.join(rows, on="transaction_id", how="inner")
        epoch = pl.col("since", "until").dt.epoch("us")
        return known.select(pl.col("position").cast(pl.Int64), "is_fraud", epoch).with_columns(
            pl.col("until").fill_null(FOREVER)
        )

    @cached_property
    def frauds(self) -> Marks:
        """When each event was known as fraud."""
        return self._marks(self._spoken.filter(pl.col("is_fraud") == 1))

    @cached_property
    def confirmed(self) -> Marks:
        """When events that are not presumed legitimate had a label at all."""
        return self._marks(self._spoken, ~self.presumed)

    def _marks(self, spoken: pl.DataFrame, among: Bools | None = None) -> Marks:
        rows, since, until = (spoken[name].to_numpy() for name in ("position", "since", "until"))
        kept = self.counted[rows] if among is None else self.counted[rows] & among[rows]
        return Marks(rows[kept], since[kept], until[kept])

    def codes(self, key: tuple[str, ...]) -> Ints:
        """Each row's key as a number small enough to stand before a place; -1 where a part is missing."""
        rows = self.frame.height
        code, missing = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.bool_)
        for column in key:
            part = self.frame[column].cast(pl.Categorical).to_physical()
            if part.has_nulls():
                missing |= part.is_null().to_numpy()
            values = part.fill_null(0).to_numpy()
            code = code * (int(values.max(initial=0)) + 1) + values
            if int(code.max(initial=0)) + 1 >= FOREVER >> position_bits(rows):
                code = np.unique(code, return_inverse=True)[1]
        return np.where(missing, -1, code)


class _Block:
    """The events of a block of keys, and the features made of them."""

    def __init__(self, events: _Events, line: Timeline) -> None:
        self._events = events
        self._line = line
        self._amount = events.amount[line.rows]
        self._counted: Bools = events.counted[line.rows] & line.known
        self._approved: Bools = events.approved[line.rows] & line.known
        self._totals: dict[tuple[str, int, int], Ints] = {}
        self._summed: dict[str, Ints] = {
            "counted": self._counted.astype(np.int64),
            "approved": self._approved.astype(np.int64),
            "spent": np.where(self._approved, self._amount, 0),
        }

    def values(self, feature: Stateful) -> Floats:
        """The feature for each row, in the block's order."""
        length = durations.seconds(feature.length)
        match feature:
            case Window(agg=agg, delay=delay):
                values = self._window(agg, durations.seconds(delay), length)
            case LabelWindow(agg=agg, delay=delay):
                values = self._labels(agg, durations.seconds(delay), length)
            case Versus(how="ratio"):
                values = formulas.ratio(self._amount, self._window("mean", 0, length))
            case Versus(how="zscore"):
                mean, deviation = self._window("mean", 0, length), self._window("std", 0, length)
                values = formulas.zscore(self._amount, mean, deviation)
            case NotSeen():
                values = (self._last(length) < 0).astype(np.float64)
            case SinceLast():
                values = self._since_last(length)
            case FromLast(how="distance"):
                values = self._metres_from_last(length) / 1000
            case FromLast(how="speed"):
                values = formulas.speed(self._metres_from_last(length), self._since_last(length))
            case _:
                raise TypeError(f"{type(feature).__name__}: unknown to the batch engine")
        return values

    def _window(self, agg: str, delay: int, length: int) -> Floats:
        reach = self._line.reach(delay, length)
        if agg == "max":
            largest = self._line.largest(np.where(self._approved, self._amount, -1), reach)
            return np.where(largest < 0, np.nan, largest)
        if agg == "count":
            return self._total("counted", delay, length).astype(np.float64)
        spent, count = self._total("spent", delay, length), self._total("approved", delay, length)
        if agg == "std":
            return formulas.deviation(count, spent, self._line.total_squares(self._summed["spent"], reach))
        return formulas.mean(spent, count) if agg == "mean" else spent.astype(np.float64)

    def _labels(self, agg: str, delay: int, length: int) -> Floats:
        if agg == "frauds":
            return self._alive("frauds", delay, length).astype(np.float64)
        if "presumed" not in self._summed:
            self._summed["presumed"] = (self._events.presumed[self._line.rows] & self._line.known).astype(np.int64)
        labelled = self._total("presumed", delay, length) + self._alive("confirmed", delay, length)
        if agg == "labelled":
            return labelled.astype(np.float64)
        return formulas.rate(self._alive("frauds", delay, length), labelled)

    def _total(self, what: str, delay: int, length: int) -> Ints:
        asked = (what, delay, length)
        if asked not in self._totals:
            self._totals[asked] = self._line.total(self._summed[what], self._line.reach(delay, length))
        return self._totals[asked]

    def _alive(self, what: str, delay: int, length: int) -> Ints:
        asked = (what, delay, length)
        if asked not in self._totals:
            marks = self._events.frauds if what == "frauds" else self._events.confirmed
            self._totals[asked] = self._line.alive(marks, delay, length)
        return self._totals[asked]

    def _last(self, length: int) -> Ints:
        asked = ("last", 0, length)
        if asked not in self._totals:
            self._totals[asked] = self._line.last(self._counted, self._line.reach(0, length))
        return self._totals[asked]

    def _since_last(self, length: int) -> Floats:
        last = self._last(length)
        return np.where(last < 0, np.nan, (self._line.ts - self._line.ts[last]) / 1e6)

    def _metres_from_last(self, length: int) -> Floats:
        last = self._last(length)
        places = self._events.frame.select("terminal_lat", "terminal_long")
        lat, long = (places[name].to_numpy()[self._line.rows] for name in places.columns)
        return np.where(last < 0, np.nan, formulas.metres(lat[last], long[last], lat, long))


def _series(values: Floats) -> pl.Series:
    return pl.Series(values=values, dtype=pl.Float64, nan_to_null=True)
