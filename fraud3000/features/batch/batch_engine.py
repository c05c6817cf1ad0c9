"""The catalogue over many transactions at once, by the rules of time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import polars as pl

from fraud3000 import durations
from fraud3000.data.cleaning import passthrough
from fraud3000.errors import SchemaError
from fraud3000.features import formulas
from fraud3000.features.batch import window_kernels
from fraud3000.features.batch.window_kernels import (
    Bools,
    EventColumns,
    Floats,
    Ints,
    KeyedRows,
    LabelSpans,
    OutputSpec,
    WindowEdges,
)
from fraud3000.features.spec.base import Condition, Feature, Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import (
    Calendar,
    Column,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    Shift,
    SinceLast,
    Versus,
    Window,
)
from fraud3000.labels import visibility
from fraud3000.schema import APPROVED, REFUND

KEPT = ("transaction_id", "ts", "card_id", "terminal_id", "amount", "status", "labelled", "seq")
"""Columns of TRANSACTIONS that stay beside the features."""

BLOCK = 1 << 17
"""Rows that one worker takes at a time, at least: whole keys."""

FOREVER = np.iinfo(np.int64).max
SECOND = 1_000_000
SECONDS_A_DAY = 86_400

Made = TypeVar("Made")


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
    looked_back = _look_back(ordered, ledger, catalogue, among)
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
            number = pl.col(column).cast(pl.Float64).fill_nan(None)
            expression = pl.col(column).map_batches(_text, return_dtype=pl.String) if categorical else number
        case Calendar(part=part):
            expression = _calendar(pl.col("ts").dt.convert_time_zone(zone), part)
        case FromHome():
            expression = pl.map_batches(
                ["card_lat", "card_long", "terminal_lat", "terminal_long"],
                lambda columns: _series(window_kernels.distances(*map(_floats, columns)) / 1000),
                return_dtype=pl.Float64,
            )
        case _:
            raise TypeError(f"{type(feature).__name__} looks back")
    return expression.alias(feature.name)


def _text(values: pl.Series) -> pl.Series:
    """Texts as `prepare` wrote them, and the canonical text of values of any other type."""
    return values if values.dtype == pl.String else passthrough.canonical(values)


def _calendar(local: pl.Expr, part: str) -> pl.Expr:
    match part:
        case "hour":
            return local.dt.hour().cast(pl.Float64)
        case "weekday":
            return (local.dt.weekday() - 1).cast(pl.Float64)
        case "night":
            return local.dt.hour() <= 6
        case _:
            return local.dt.weekday() >= 6


def _look_back(
    ordered: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, among: pl.Series | None
) -> list[pl.Series]:
    """Compute the stateful features: keys, then blocks of a key's windows, side by side."""
    features = catalogue.looking_back
    if among is None:
        target, rows = np.arange(ordered.height), ordered.height
    else:
        chosen = among.to_numpy()
        target, rows = np.where(chosen, np.cumsum(chosen) - 1, -1), int(chosen.sum())
    out = np.full((len(features), rows), np.nan)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        events = _Events(ordered, ledger, catalogue, pool)
        by_key = {key: pool.submit(_Keyed, events, key, target, out) for key in {f.keys: None for f in features}}
        sweeping: list[Future[None]] = []
        for window, slots in _windows(features).items():
            keyed = by_key[features[slots[0]].keys].result()
            work = _SWEEPS[window[0]](keyed, [features[slot] for slot in slots], slots)
            sweeping += [pool.submit(work, line) for line in keyed.lines]
        deque((done.result() for done in sweeping), maxlen=0)
        _shifts(features, out)
        return list(pool.map(_column, features, out))


def _windows(features: Sequence[Stateful]) -> dict[tuple[object, ...], list[int]]:
    """Places of the features that one sweep serves."""
    served: dict[tuple[object, ...], list[int]] = {}
    for slot, f in enumerate(features):
        match f:
            case Shift():
                continue
            case Window(agg="max" | "min" | "distinct"):
                apart: tuple[object, ...] = ("distinct" if f.agg == "distinct" else "extreme", slot)
            case Window(agg="std") | Versus(how="zscore"):
                apart = ("spread", f.column)
            case Window() | Versus():
                valueless = isinstance(f, Window) and f.agg in {"count", "share"}
                apart = ("tally", None if valueless else f.column)
            case LabelWindow():
                apart = ("labels", None)
            case _:
                apart = ("recency", None)
        served.setdefault((*apart, f.keys, f.delay, f.length, f.bucket, f.where), []).append(slot)
    return _joined(served)


def _joined(served: dict[tuple[object, ...], list[int]]) -> dict[tuple[object, ...], list[int]]:
    """Counts go along with a sweep over amounts that has the same window."""
    joined = dict(served)
    for window, slots in served.items():
        with_amounts = ("tally", "amount", *window[2:])
        if window[:2] == ("tally", None) and with_amounts in joined:
            joined[with_amounts] = joined[with_amounts] + slots
            del joined[window]
    return joined


def _shifts(features: Sequence[Stateful], out: Floats) -> None:
    """What is a multiple of two windows, which have been made."""
    place = {feature: slot for slot, feature in enumerate(features)}
    for shift, slot in place.items():
        if isinstance(shift, Shift):
            window_kernels.ratios(out[place[shift.recent]], out[place[shift.usual]], out[slot])


def _column(feature: Stateful, values: Floats) -> pl.Series:
    series = _series(values).alias(feature.name)
    return series.cast(pl.Boolean) if feature.kind == "boolean" else series


class _Events:
    """What the windows of every key read, in global order of (ts, seq)."""

    def __init__(
        self, ordered: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, pool: ThreadPoolExecutor
    ) -> None:
        self.frame = ordered
        self.catalogue = catalogue
        self.ts: Ints = ordered["ts"].dt.epoch("us").to_numpy()
        self.seq: Ints = ordered["seq"].to_numpy()
        self.in_order = bool((np.diff(self.seq) > 0).all())
        self.approved: Bools = (ordered["status"] == APPROVED).to_numpy()
        self.counted: Bools = (ordered["status"] != REFUND).to_numpy()
        # These come first into the pool, so that whoever waits for them there waits for work that has begun.
        self._codes = {column: pool.submit(_numbers, ordered[column]) for column in _coded(catalogue)}
        self._spoken = pool.submit(self._read, ledger)

    @cached_property
    def arrivals(self) -> Ints:
        """Rows in order of arrival."""
        return np.argsort(self.seq)

    @cached_property
    def presumed(self) -> Bools:
        """Rows that are labelled as soon as they are mature, without any record."""
        return visibility.presumed(self.frame).to_numpy()

    @property
    def spoken(self) -> pl.DataFrame:
        """Row, label, since and until in microseconds, for each span in which a record speaks."""
        return self._spoken.result()

    def _read(self, ledger: pl.DataFrame) -> pl.DataFrame:
        if not any(isinstance(feature, LabelWindow) for feature in self.catalogue.features):
            ledger = ledger.clear()
        rows = self.frame.lazy().select("transaction_id").with_row_index("row").collect()
        known = rows.join(visibility.changes(ledger, self.catalogue.precedence), on="transaction_id", how="inner")
        return known.select(
            pl.col("row").cast(pl.Int64),
            pl.col("is_fraud").cast(pl.Int64),
            pl.col("since").dt.epoch("us"),
            pl.col("until").dt.epoch("us").fill_null(FOREVER),
        )

    def codes(self, column: str) -> Ints:
        """A text column as numbers from 0 on; -1 for none."""
        return self._codes[column].result()

    def values(self, column: str) -> Ints:
        """A column's values as whole numbers: minor units, or steps."""
        if column == "amount":
            return self.frame["amount"].to_numpy()
        return formulas.in_steps(_floats(self.frame[column]))

    def meets(self, condition: Condition) -> Bools:
        """Which rows a condition takes."""
        column = pl.col(condition.column)
        if condition.how == "is":
            met = column.is_in(list(condition.values))
        else:
            compare = {"above": column.gt, "at_least": column.ge, "below": column.lt, "at_most": column.le}
            known = column.cast(pl.Float64).fill_nan(None)
            met = known.is_not_null() & compare[condition.how](condition.values[0])
        return self.frame.select(met.fill_null(value=False)).to_series().to_numpy()


class _Keyed:
    """The rows of one key in order of (key, ts, seq), without those that have none or came too late for it."""

    def __init__(self, events: _Events, key: tuple[str, ...], target: Ints, out: Floats) -> None:
        self._events = events
        codes, keys = _key_codes(events, key)
        if not events.in_order:
            codes = codes.copy()
            window_kernels.leave_late(codes, keys, events.ts, events.arrivals, events.catalogue.late_horizon * SECOND)
        self.rows, starts = window_kernels.by_key(codes, keys)
        self.ts, seq = events.ts[self.rows], events.seq[self.rows]
        disordered = np.zeros(len(seq), dtype=np.bool_)
        if not events.in_order:
            disordered = window_kernels.out_of_order(starts, self.ts, seq)
        whole = KeyedRows(starts, self.ts, seq, disordered, target[self.rows], out)
        self.lines = [whole._replace(starts=part) for part in _parts(starts)]
        self._made: dict[tuple[object, ...], Any] = {}

    def hands(self, feature: Stateful) -> WindowEdges:
        """When events enter the feature's window and leave it."""
        entry = self.ts
        if feature.bucket:
            bucket = durations.seconds(feature.bucket) * SECOND
            entry = entry - entry % bucket + (bucket - 1)
        return WindowEdges(entry, durations.seconds(feature.delay) * SECOND, durations.seconds(feature.length) * SECOND)

    def _once(self, asked: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """What several windows share, made for the first of them."""
        if asked not in self._made:
            self._made[asked] = make()
        made: Made = self._made[asked]
        return made

    def counted(self, condition: Condition | None) -> Bools:
        """Approved and declined events, or what the condition says."""
        return self._once(("counted", condition), lambda: self._under(condition, self._events.counted))

    def _valued(self, condition: Condition | None) -> Bools:
        """Approved events, or what the condition says."""
        return self._once(("valued", condition), lambda: self._under(condition, self._events.approved))

    def _among(self, condition: Condition | None) -> Bools:
        """What a share is a share of."""
        if condition is None or condition.column != "status":
            return self.counted(None)
        return np.ones(len(self.rows), dtype=np.bool_)

    def _under(self, condition: Condition | None, otherwise: Bools) -> Bools:
        if condition is None:
            return otherwise[self.rows]
        met = self._events.meets(condition)
        return (met if condition.column == "status" else met & otherwise)[self.rows]

    def taken(self, condition: Condition | None, column: str) -> EventColumns:
        """What a window takes under a condition, with the values of a column."""
        value = self._once(("value", column), lambda: self._events.values(column)[self.rows])
        valued = self._valued(condition)
        if column != "amount":
            valued = valued & (value != formulas.MISSING)
        return EventColumns(self.counted(condition), self._among(condition), valued, value)

    def codes(self, condition: Condition | None, column: str) -> Ints:
        """Numbers for the texts that are counted once each; -1 for events that are not taken."""
        return self._once(
            ("codes", condition, column),
            lambda: np.where(self.counted(condition), self._events.codes(column)[self.rows], -1),
        )

    def places(self) -> tuple[Floats, Floats]:
        """Where each event was, in degrees; empty without coordinates."""
        if "terminal_lat" not in self._events.frame.columns:
            return np.empty(0), np.empty(0)
        lat, long = (_floats(self._events.frame[name])[self.rows] for name in ("terminal_lat", "terminal_long"))
        return lat, long

    def presumed(self, condition: Condition | None) -> Bools:
        """Events that a window takes and that need no record to be labelled."""
        return self._once(("presumed", condition), lambda: self.counted(condition) & self._events.presumed[self.rows])

    def spoken(self, condition: Condition | None) -> LabelSpans:
        """When a record speaks about an event that a window takes."""
        return self._once(("spoken", condition), lambda: self._read_spoken(condition))

    def _read_spoken(self, condition: Condition | None) -> LabelSpans:
        place_of = np.full(self._events.frame.height, -1, dtype=np.int64)
        place_of[self.rows] = np.arange(len(self.rows))
        row, label, since, until = (column.to_numpy() for column in self._events.spoken.iter_columns())
        place = place_of[row]
        kept = np.flatnonzero(place >= 0)
        kept = kept[self.counted(condition)[place[kept]]]
        kept = kept[np.argsort(place[kept], kind="stable")]
        adds = (~self._events.presumed[row[kept]]).astype(np.int64)
        return LabelSpans(place[kept], since[kept], until[kept], label[kept], adds)


Sweep = Callable[[KeyedRows], None]


def _tally(keyed: _Keyed, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    ops = [_OPS[f.how if isinstance(f, Versus) else f.agg] for f in features if isinstance(f, Window | Versus)]
    valued = (f for f, op in zip(features, ops, strict=True) if op > window_kernels.SHARE)
    column = next((f.column for f in valued if isinstance(f, Window | Versus)), "amount")
    hands, taken, wanted = keyed.hands(features[0]), keyed.taken(features[0].where, column), _wanted(ops, slots)
    return lambda line: window_kernels.tallies(line, hands, taken, wanted, _unit(column))


def _spread(keyed: _Keyed, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    feature = features[0]
    assert isinstance(feature, Window | Versus)
    wanted = _wanted([window_kernels.STD if isinstance(f, Window) else window_kernels.ZSCORE for f in features], slots)
    hands, taken = keyed.hands(feature), keyed.taken(feature.where, feature.column)
    return lambda line: window_kernels.spreads(line, hands, taken, wanted, _unit(feature.column))


_OPS = {
    "count": window_kernels.COUNT,
    "share": window_kernels.SHARE,
    "sum": window_kernels.SUM,
    "mean": window_kernels.MEAN,
    "ratio": window_kernels.RATIO,
}


def _wanted(ops: Sequence[int], slots: Sequence[int]) -> OutputSpec:
    return OutputSpec(np.array(ops), np.array(slots))


def _extreme(keyed: _Keyed, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    feature = features[0]
    assert isinstance(feature, Window)
    hands, taken, sign = (
        keyed.hands(feature),
        keyed.taken(feature.where, feature.column),
        1 if feature.agg == "max" else -1,
    )
    return lambda line: window_kernels.extremes(line, hands, taken, sign, slots[0], _unit(feature.column))


def _distinct(keyed: _Keyed, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    feature = features[0]
    assert isinstance(feature, Window)
    hands, codes = keyed.hands(feature), keyed.codes(feature.where, feature.column)
    values = int(codes.max(initial=-1)) + 1
    return lambda line: window_kernels.distincts(line, hands, codes, values, feature.cap, slots[0])


def _recency(keyed: _Keyed, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    hands, counted, (lat, long) = keyed.hands(features[0]), keyed.counted(features[0].where), keyed.places()
    wanted = _wanted([_recency_op(f) for f in features], slots)
    return lambda line: window_kernels.recencies(line, hands, counted, lat, long, wanted)


def _recency_op(feature: Stateful) -> int:
    match feature:
        case SinceLast():
            return window_kernels.SINCE
        case NotSeen():
            return window_kernels.NOT_SEEN
        case FromLast(how="distance"):
            return window_kernels.DISTANCE
        case _:
            return window_kernels.SPEED


def _labels(keyed: _Keyed, features: Sequence[Stateful], slots: Sequence[int]) -> Sweep:
    asked = [f for f in features if isinstance(f, LabelWindow)]
    hands, where = keyed.hands(asked[0]), asked[0].where
    presumed, spoken = keyed.presumed(where), keyed.spoken(where)
    named = {
        "frauds": window_kernels.FRAUDS,
        "labelled": window_kernels.LABELLED,
        "rate": window_kernels.RATE,
        "smoothed": window_kernels.SMOOTHED,
    }
    wanted = _wanted([named[f.agg] for f in asked], slots)
    priors, strengths = np.array([f.prior for f in asked]), np.array([f.strength for f in asked])
    return lambda line: window_kernels.label_counts(line, hands, presumed, spoken, wanted, priors, strengths)


_SWEEPS: dict[object, Callable[[_Keyed, Sequence[Stateful], Sequence[int]], Sweep]] = {
    "tally": _tally,
    "spread": _spread,
    "extreme": _extreme,
    "distinct": _distinct,
    "recency": _recency,
    "labels": _labels,
}


def _unit(column: str) -> float:
    return 1.0 if column == "amount" else float(formulas.STEPS)


def _key_codes(events: _Events, key: tuple[str, ...]) -> tuple[Ints, int]:
    """Each row's key as a number from 0 on, -1 where a part is missing; and how many keys there are."""
    codes = events.codes(key[0])
    for column in key[1:]:
        part = events.codes(column)
        missing = (codes < 0) | (part < 0)
        codes = np.where(missing, -1, codes * (int(part.max(initial=0)) + 1) + part)
        codes, _ = window_kernels.numbered(codes)
    keys = int(codes.max(initial=-1)) + 1
    return window_kernels.numbered(codes) if keys > 2 * len(codes) else (codes, keys)


def _parts(starts: Ints) -> Iterator[Ints]:
    """Cut between keys, so that every part has some rows to work on."""
    cuts = np.searchsorted(starts, np.arange(0, starts[-1], BLOCK))
    edges = np.unique(np.append(cuts, len(starts) - 1))
    for first, last in pairwise(edges):
        yield starts[first : last + 1]


def _coded(catalogue: Catalogue) -> dict[str, None]:
    """Text columns that are keys, or whose values are told apart."""
    stateful = catalogue.looking_back
    apart = (f.column for f in stateful if isinstance(f, Window) and f.agg == "distinct")
    return dict.fromkeys([*(column for f in stateful for column in f.keys), *apart])


def _numbers(column: pl.Series) -> Ints:
    return column.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _series(values: Floats) -> pl.Series:
    return pl.Series(values=values, dtype=pl.Float64, nan_to_null=True)
