"""Transactions laid out by key and time, so that a window is a range of places.

All rows stand in global order of (ts, seq); a row's place there is its position. For one key they
stand in order of (key, ts, seq). "Before t - d" then is "below a position", which one merge of two
sorted lists finds for all rows at once, and any exact aggregate over a window is a difference of
running totals.

Rows that arrived out of order are few. What a window over them may see is decided row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Places = NDArray[np.uint32]

BLOCK = 1 << 17
"""Rows worked on at a time, at least: the arrays of a block stay in cache."""


class Ascending:
    """Whole numbers in ascending order, asked how many of them lie below others."""

    def __init__(self, values: Ints) -> None:
        self._values = pl.DataFrame({"at": values}).with_row_index("below", offset=1).set_sorted("at")

    def below(self, queries: Ints) -> Places:
        """For each of the ascending queries, how many values lie strictly below it.

        Examples
        --------
        >>> Ascending(np.array([1, 2, 2, 5])).below(np.array([0, 2, 3, 9])).tolist()
        [0, 1, 3, 4]
        """
        asked = pl.DataFrame({"at": queries}).set_sorted("at")
        found = asked.join_asof(self._values, on="at", strategy="backward", allow_exact_matches=False)
        below: Places = found["below"].fill_null(0).to_numpy()
        return below


class Clock:
    """Event times in global order: how many rows lie before a moment."""

    def __init__(self, ts: Ints, seq: Ints) -> None:
        """Take `ts` in microseconds and the order of arrival, both in order of (ts, seq), shape (n,)."""
        self.ts, self.seq = ts, seq
        self.in_order = bool((np.diff(seq) > 0).all())
        self._times = Ascending(ts)
        self._before: dict[int, Places] = {}

    def before(self, seconds: int) -> Places:
        """For each row, the number of rows with ts < its own ts - seconds."""
        if seconds not in self._before:
            self._before[seconds] = self._times.below(self.ts - seconds * 1_000_000)
        return self._before[seconds]


@dataclass(frozen=True)
class Reach:
    """A window as a half-open range of places [low, high) for each row, in key order."""

    low: Ints
    high: Ints


@dataclass(frozen=True)
class Marks:
    """Spans of time in which something holds for an event: every t with `since < t <= until`.

    Attributes
    ----------
    rows
        Each event's row, in global order.
    since, until
        Microseconds since the epoch.
    """

    rows: Ints
    since: Ints
    until: Ints


class KeyOrder:
    """All rows in order of (key, ts, seq), to be worked on in blocks of whole keys.

    Parameters
    ----------
    clock
        Event times and arrivals in global order.
    codes
        Each row's key as a number, in global order; -1 where the row has no key.
    """

    def __init__(self, clock: Clock, codes: Ints) -> None:
        self.clock = clock
        self._bits = position_bits(len(codes))
        self.places: Ints = pl.Series(((codes + 1) << self._bits) + np.arange(len(codes))).sort().to_numpy()
        self.bases: Ints = (self.places >> self._bits) << self._bits
        self.rows: Ints = self.places - self.bases
        self._ascending = Ascending(self.places)
        self._bounds: dict[int, Places] = {}
        self.place_of = np.empty_like(self.rows)
        self.place_of[self.rows] = np.arange(len(codes))

    def bound(self, seconds: int) -> Places:
        """For each place, the first place of its key whose ts is not before its own ts - seconds."""
        if seconds not in self._bounds:
            self._bounds[seconds] = self._ascending.below(self.bases + self.clock.before(seconds)[self.rows])
        return self._bounds[seconds]

    def blocks(self, late_horizon: int) -> Iterator[Timeline]:
        """Cut between keys, into blocks small enough to stay in a processor's cache."""
        start, rows = 0, len(self.places)
        while start < rows:
            end = min(start + BLOCK, rows)
            end = int(np.searchsorted(self.places, self.bases[end - 1] + (1 << self._bits)))
            yield Timeline(self, slice(start, end), late_horizon)
            start = end


class Timeline:
    """Some keys' rows in order of (key, ts, seq); places are counted within the block.

    Parameters
    ----------
    order
        All rows.
    span
        The block's places among them, whole keys.
    late_horizon
        In seconds: a row later than this for its key is not stored there.

    Attributes
    ----------
    rows
        Each place's row in global order.
    known
        False for rows without a key and for rows that came too late for theirs.
    """

    def __init__(self, order: KeyOrder, span: slice, late_horizon: int) -> None:
        self.clock, self.span = order.clock, span
        self._order = order
        self._places = order.places[span]
        self._base = order.bases[span]
        self.rows = order.rows[span]
        keyed: Bools = self._base > 0
        self.known: Bools = keyed if self.clock.in_order else keyed & ~self._too_late(late_horizon)

    @cached_property
    def ts(self) -> Ints:
        """Each place's event time, in microseconds."""
        return self.clock.ts[self.rows]

    @cached_property
    def _seq(self) -> Ints:
        return self.clock.seq[self.rows]

    def reach(self, delay: int, length: int) -> Reach:
        """Each row's window [t - delay - length, t - delay), in seconds."""
        return Reach(low=self._bound(delay + length), high=self._bound(delay))

    def total(self, values: Ints, reach: Reach) -> Ints:
        """The sum over each row's window; `values` is 0 for rows that do not count."""
        running = _running(values)
        result = running[reach.high] - running[reach.low]
        return self._correct(result, reach, lambda seen: int(values[seen].sum()))

    def total_squares(self, values: Ints, reach: Reach) -> pl.Series:
        """The sum of squares over each row's window, Int128."""
        exact = pl.Series(values).cast(pl.Int128)
        running = pl.concat([pl.Series([0], dtype=pl.Int128), (exact * exact).cum_sum()])
        result = running.gather(reach.high) - running.gather(reach.low)
        rows = self.disordered
        if not len(rows):
            return result
        right = [sum(int(v) ** 2 for v in values[self.visible(row, reach)]) for row in rows]
        return result.scatter(rows, pl.Series(right, dtype=pl.Int128))

    def largest(self, values: Ints, reach: Reach) -> Ints:
        """The maximum over each row's window, -1 for none; `values` is -1 for rows that do not count."""
        size = reach.high - reach.low
        level = np.frexp(size.astype(np.float64))[1] - 1
        table, result = values.copy(), np.full(len(values), -1, dtype=np.int64)
        for power in range(int(level.max(initial=-1)) + 1):
            at = np.flatnonzero((level == power) & (size > 0))
            result[at] = np.maximum(table[reach.low[at]], table[reach.high[at] - (1 << power)])
            half = 1 << power
            table[:-half] = np.maximum(table[:-half], table[half:])
        return self._correct(result, reach, lambda seen: int(values[seen].max(initial=-1)))

    def last(self, counts: Bools, reach: Reach) -> Ints:
        """The place of the last row of each window that counts, -1 for none."""
        places = np.where(counts, np.arange(len(counts)), -1)
        newest = np.concatenate([[-1], np.maximum.accumulate(places)])[reach.high]
        result = np.where(newest >= reach.low, newest, -1)
        return self._correct(result, reach, lambda seen: int(places[seen].max(initial=-1)))

    def alive(self, marks: Marks, delay: int, length: int) -> Ints:
        """How many marked events of each row's window are within their marked time at the row's t.

        Each mark is a step up when both its time and its window have begun, and a step down when
        either ends; the running total of steps in key order is the answer at each row.
        """
        marks = self._own(marks)
        opens = self.ts[marks.rows] + delay * 1_000_000
        start = np.maximum(marks.since, opens)
        end = np.minimum(marks.until, opens + length * 1_000_000)
        counted = start < end
        steps = np.zeros(len(self.rows) + 1, dtype=np.int64)
        np.add.at(steps, self._first_after(marks.rows[counted], start[counted]), 1)
        np.add.at(steps, self._first_after(marks.rows[counted], end[counted]), -1)
        result = np.cumsum(steps[:-1])
        for row in self.disordered:
            now = (marks.since < self.ts[row]) & (self.ts[row] <= marks.until)
            result[row] = np.isin(marks.rows[now], self.visible(row, self.reach(delay, length))).sum()
        return result

    @cached_property
    def disordered(self) -> Ints:
        """Rows, in key order, with an earlier event of their key that arrived after them."""
        if self.clock.in_order:
            return np.empty(0, dtype=np.int64)
        arrived = np.where(self.known, self._seq, -1)
        key = self._base
        newest = (
            pl.DataFrame({"key": key, "arrived": arrived})
            .select(pl.col("arrived").cum_max().over("key"))
            .to_series()
            .to_numpy()
        )
        first = self._bound(0)
        seen = np.where(first > 0, newest[np.maximum(first, 1) - 1], -1)
        same_key = (first > 0) & (key[np.maximum(first, 1) - 1] == key)
        rows: Ints = np.flatnonzero(same_key & (seen > self._seq) & self.known)
        return rows

    def visible(self, row: int, reach: Reach) -> Ints:
        """The places in a row's window that arrived before it."""
        places = np.arange(reach.low[row], reach.high[row])
        arrived: Ints = places[self._seq[places] < self._seq[row]]
        return arrived

    def _correct(self, result: Ints, reach: Reach, exact: Callable[[Ints], int]) -> Ints:
        for row in self.disordered:
            result[row] = exact(self.visible(row, reach))
        return result

    def _own(self, marks: Marks) -> Marks:
        """The marks of events that this block keeps, told by place."""
        places = self._order.place_of[marks.rows]
        here = np.flatnonzero((places >= self.span.start) & (places < self.span.stop))
        here = here[self.known[places[here] - self.span.start]]
        return Marks(places[here] - self.span.start, marks.since[here], marks.until[here])

    def _first_after(self, places: Ints, moments: Ints) -> Ints:
        """The first place of each event's key with ts above a moment, or where the key ends."""
        position = np.searchsorted(self.clock.ts, moments, side="right")
        first: Ints = np.searchsorted(self._places, self._base[places] + position)
        return first

    def _bound(self, seconds: int) -> Ints:
        bound: Ints = self._order.bound(seconds)[self.span].astype(np.int64) - self.span.start
        return bound

    def _too_late(self, late_horizon: int) -> Bools:
        """Rows further behind the newest event that their key had seen than the horizon allows."""
        frame = (
            pl.DataFrame({"key": self._base, "ts": self.ts, "seq": self._seq})
            .with_row_index("place")
            .sort("key", "seq")
        )
        lateness = (pl.col("ts").cum_max().shift(1) - pl.col("ts")).over("key")
        late = frame.select("place", late=(lateness > late_horizon * 1_000_000).fill_null(value=False)).sort("place")
        return late["late"].to_numpy()


def position_bits(rows: int) -> int:
    """Bits that hold every position and the number of rows itself."""
    return rows.bit_length()


def _running(values: Ints) -> Ints:
    running = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=running[1:])
    return running
