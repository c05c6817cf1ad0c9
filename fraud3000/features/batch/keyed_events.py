"""Arrays that the window kernels read: `EventTable` in global order, `KeyedEvents` in the order of one key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import polars as pl

from fraud3000 import durations
from fraud3000.features import formulas
from fraud3000.features.batch import window_kernels
from fraud3000.features.batch.window_kernels import (
    Bools,
    EventColumns,
    Floats,
    Ints,
    KeyedRows,
    LabelSpans,
    WindowEdges,
)
from fraud3000.features.spec.base import Condition, Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import LabelWindow, Window
from fraud3000.labels import visibility
from fraud3000.schema import APPROVED, REFUND

BLOCK = 1 << 17
"""Least number of rows per unit of parallel work; a unit holds whole keys."""

FOREVER = np.iinfo(np.int64).max
SECOND = 1_000_000

Value = TypeVar("Value")


class EventTable:
    """Columns that the windows of all keys read, in global order of (ts, seq)."""

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
        # Submitted before any other work: tasks of the pool wait for these results, which must have a thread by then.
        self._codes = {column: pool.submit(_category_codes, ordered[column]) for column in _text_columns(catalogue)}
        self._label_spans = pool.submit(self._read_label_spans, ledger)

    @cached_property
    def arrivals(self) -> Ints:
        """Row numbers in order of arrival."""
        return np.argsort(self.seq)

    @cached_property
    def presumed(self) -> Bools:
        """True for rows that are presumed legitimate once they are mature, without a label record."""
        return visibility.presumed(self.frame).to_numpy()

    @property
    def label_spans(self) -> pl.DataFrame:
        """Spans in which a label record decides: row, is_fraud, since and until (both in microseconds)."""
        return self._label_spans.result()

    def _read_label_spans(self, ledger: pl.DataFrame) -> pl.DataFrame:
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
        """Codes of a text column, from 0 on; -1 if null."""
        return self._codes[column].result()

    def values(self, column: str) -> Ints:
        """Values of a column as integers: minor units for the amount, steps of 1/10,000 for others."""
        if column == "amount":
            return self.frame["amount"].to_numpy()
        return formulas.in_steps(to_floats(self.frame[column]))

    def matches(self, condition: Condition) -> Bools:
        """True for rows that satisfy a condition."""
        column = pl.col(condition.column)
        if condition.how == "is":
            matching = column.is_in(list(condition.values))
        else:
            compare = {"above": column.gt, "at_least": column.ge, "below": column.lt, "at_most": column.le}
            numbers = column.cast(pl.Float64).fill_nan(None)
            matching = numbers.is_not_null() & compare[condition.how](condition.values[0])
        return self.frame.select(matching.fill_null(value=False)).to_series().to_numpy()


class KeyedEvents:
    """Rows of one key in order of (key, ts, seq), without rows that lack the key or arrived too late for it."""

    def __init__(self, events: EventTable, key: tuple[str, ...], target: Ints, out: Floats) -> None:
        self._events = events
        codes, keys = _key_codes(events, key)
        if not events.in_order:
            codes = codes.copy()
            window_kernels.drop_late_keys(
                codes, keys, events.ts, events.arrivals, events.catalogue.late_horizon * SECOND
            )
        self.rows, starts = window_kernels.group_by_key(codes, keys)
        self.ts, seq = events.ts[self.rows], events.seq[self.rows]
        disordered = np.zeros(len(seq), dtype=np.bool_)
        if not events.in_order:
            disordered = window_kernels.find_disordered(starts, self.ts, seq)
        whole = KeyedRows(starts, self.ts, seq, disordered, target[self.rows], out)
        self.blocks = [whole._replace(starts=part) for part in _partition_starts(starts)]
        self._cache: dict[tuple[object, ...], Any] = {}

    def edges(self, feature: Stateful) -> WindowEdges:
        """Times at which events enter and leave the feature's window."""
        entry = self.ts
        if feature.bucket:
            bucket = durations.seconds(feature.bucket) * SECOND
            entry = entry - entry % bucket + (bucket - 1)
        return WindowEdges(entry, durations.seconds(feature.delay) * SECOND, durations.seconds(feature.length) * SECOND)

    def _cached(self, cache_key: tuple[object, ...], compute: Callable[[], Value]) -> Value:
        """Value that several windows share, computed for the first of them."""
        if cache_key not in self._cache:
            self._cache[cache_key] = compute()
        value: Value = self._cache[cache_key]
        return value

    def counted(self, condition: Condition | None) -> Bools:
        """True for events that counts include: approved and declined ones that satisfy the condition."""
        return self._cached(("counted", condition), lambda: self._selected(condition, self._events.counted))

    def _valued(self, condition: Condition | None) -> Bools:
        """True for events whose amounts aggregates include: approved ones that satisfy the condition."""
        return self._cached(("valued", condition), lambda: self._selected(condition, self._events.approved))

    def _share_base(self, condition: Condition | None) -> Bools:
        """True for events in the denominator of a share."""
        if condition is None or condition.column != "status":
            return self.counted(None)
        return np.ones(len(self.rows), dtype=np.bool_)

    def _selected(self, condition: Condition | None, default: Bools) -> Bools:
        """Events of `default` that satisfy the condition; a condition on the status replaces `default`."""
        if condition is None:
            return default[self.rows]
        matching = self._events.matches(condition)
        return (matching if condition.column == "status" else matching & default)[self.rows]

    def columns(self, condition: Condition | None, column: str) -> EventColumns:
        """Events that a window includes under a condition, with their values of a column."""
        value = self._cached(("value", column), lambda: self._events.values(column)[self.rows])
        valued = self._valued(condition)
        if column != "amount":
            valued = valued & (value != formulas.MISSING)
        return EventColumns(self.counted(condition), self._share_base(condition), valued, value)

    def codes(self, condition: Condition | None, column: str) -> Ints:
        """Codes of the texts that a distinct count counts; -1 for events that it does not include."""
        return self._cached(
            ("codes", condition, column),
            lambda: np.where(self.counted(condition), self._events.codes(column)[self.rows], -1),
        )

    def coordinates(self) -> tuple[Floats, Floats]:
        """Latitude and longitude of each event's terminal in degrees; empty if the data has no coordinates."""
        if "terminal_lat" not in self._events.frame.columns:
            return np.empty(0), np.empty(0)
        lat, long = (to_floats(self._events.frame[name])[self.rows] for name in ("terminal_lat", "terminal_long"))
        return lat, long

    def presumed(self, condition: Condition | None) -> Bools:
        """True for events that a label window includes and that are presumed legitimate without a record."""
        return self._cached(("presumed", condition), lambda: self.counted(condition) & self._events.presumed[self.rows])

    def label_spans(self, condition: Condition | None) -> LabelSpans:
        """Spans in which a label record decides about an event that a label window includes."""
        return self._cached(("label spans", condition), lambda: self._key_label_spans(condition))

    def _key_label_spans(self, condition: Condition | None) -> LabelSpans:
        position_of = np.full(self._events.frame.height, -1, dtype=np.int64)
        position_of[self.rows] = np.arange(len(self.rows))
        rows, label, since, until = (column.to_numpy() for column in self._events.label_spans.iter_columns())
        position = position_of[rows]
        selected = np.flatnonzero(position >= 0)
        selected = selected[self.counted(condition)[position[selected]]]
        selected = selected[np.argsort(position[selected], kind="stable")]
        adds = (~self._events.presumed[rows[selected]]).astype(np.int64)
        return LabelSpans(position[selected], since[selected], until[selected], label[selected], adds)


def _key_codes(events: EventTable, key: tuple[str, ...]) -> tuple[Ints, int]:
    """Codes of each row's key, from 0 on, -1 if a part is null; and the number of keys."""
    codes = events.codes(key[0])
    for column in key[1:]:
        more = events.codes(column)
        missing = (codes < 0) | (more < 0)
        codes = np.where(missing, -1, codes * (int(more.max(initial=0)) + 1) + more)
        codes, _ = window_kernels.dense_codes(codes)
    keys = int(codes.max(initial=-1)) + 1
    return window_kernels.dense_codes(codes) if keys > 2 * len(codes) else (codes, keys)


def _partition_starts(starts: Ints) -> Iterator[Ints]:
    """Cut `starts` between keys into blocks of about `BLOCK` rows."""
    cuts = np.searchsorted(starts, np.arange(0, starts[-1], BLOCK))
    boundaries = np.unique(np.append(cuts, len(starts) - 1))
    for first, last in pairwise(boundaries):
        yield starts[first : last + 1]


def _text_columns(catalogue: Catalogue) -> dict[str, None]:
    """Text columns that are parts of keys or that distinct counts read."""
    stateful = catalogue.evaluation_order
    distinct = (f.column for f in stateful if isinstance(f, Window) and f.agg == "distinct")
    return dict.fromkeys([*(column for f in stateful for column in f.keys), *distinct])


def _category_codes(column: pl.Series) -> Ints:
    return column.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def to_floats(column: pl.Series) -> Floats:
    """Values of a column as floats; null becomes NaN."""
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
