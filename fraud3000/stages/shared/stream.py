"""Merge history and input into one stream of transactions, read one span of time at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000.data.storage.spill import read_slices
from fraud3000.features.spec.catalogue import Catalogue

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SECOND = 1_000_000
_FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class TimeOrderedRows:
    """Rows on disk in order of time, with a mask of the rows that count.

    Attributes
    ----------
    rows
        Columns of TRANSACTIONS, sorted by ts.
    counts
        Whether each row counts.
    """

    rows: pl.LazyFrame
    counts: Bools

    def at(self, row: int) -> int:
        """Return a row's event time in microseconds."""
        return int(_epoch(self.rows.slice(row, 1).select("ts").collect())[0])

    @property
    def first(self) -> int | None:
        """Time of the first row that counts, in microseconds."""
        return self.at(int(self.counts.argmax())) if self.counts.any() else None

    def every(self, size: int) -> list[int]:
        """Return the time of every `size`-th row, in microseconds."""
        return [self.at(row) for row in range(0, len(self.counts), size)]

    def before(self, times: Sequence[int]) -> Ints:
        """Return the number of rows before each of some times, in microseconds."""
        counts = np.zeros(len(times), dtype=np.int64)
        for piece in read_slices(self.rows.select("ts")):
            counts += np.searchsorted(_epoch(piece), times)
        return counts

    def column(self, name: str) -> Iterator[pl.DataFrame]:
        """Yield a column of the rows that count, in pieces."""
        start = 0
        for piece in read_slices(self.rows.select(name)):
            yield piece.filter(pl.Series(self.counts[start : start + piece.height]))
            start += piece.height

    def between(self, first: int, last: int) -> pl.DataFrame:
        """Return the rows that count among rows first to last (exclusive)."""
        rows = self.rows.slice(first, last - first).collect()
        return rows.filter(pl.Series(self.counts[first:last]))


@dataclass(frozen=True)
class Stream:
    """Earlier transactions and those to be scored, with the label records of both.

    Attributes
    ----------
    before
        Rows of the history; rows whose id is also in the input do not count.
    new
        Rows of the input, with `row_index` (index in the input); all of them count.
    unlabelled
        By index in the input: whether the row stays without a label, as in the history.
    ledger
        LEDGER of history and input.
    numbered
        Whether seq is the recorded order of arrival; otherwise it is derived from ts and id.
    """

    before: TimeOrderedRows | None
    new: TimeOrderedRows
    unlabelled: Bools
    ledger: pl.LazyFrame
    numbered: bool

    @property
    def timed(self) -> bool:
        """Whether the transactions have times."""
        return "ts" in self.new.rows.collect_schema()

    @cached_property
    def first(self) -> int:
        """Time of the first row of the input, in microseconds."""
        return self.new.at(0)

    @property
    def earliest(self) -> int:
        """Time of the first row of history and input, in microseconds."""
        first = self.before.first if self.before is not None else None
        return self.first if first is None else min(first, self.first)

    def slices(self, catalogue: Catalogue, size: int) -> Iterator[pl.DataFrame]:
        """Yield the rows of the input, and the history that their features depend on, in order of time.

        A window goes back no further than the catalogue's span. If arrival is recorded, lateness of a row
        also depends on events after it, so all later rows are included too.

        Yields
        ------
        polars.DataFrame
            TRANSACTIONS with `row_index`, which is null for rows of the history; about `size` rows of either.
        """
        if not self.timed:
            yield from (self._with_label_flags(rows) for rows in read_slices(self.new.rows, size))
            return
        parts = [part for part in (self.before, self.new) if part is not None]
        since, until = self._reach(catalogue)
        inside = {time for part in parts for time in part.every(size) if since < time < until}
        times = [since, *sorted(inside), until]
        spans = [pairwise(part.before(times).tolist()) for part in parts]
        number = 0
        for ends in zip(*spans, strict=True):
            read = [part.between(*end) for part, end in zip(parts, ends, strict=True)]
            rows = self._merge(read, number)
            number += rows.height
            yield rows

    def height(self, catalogue: Catalogue) -> int:
        """Return the number of rows that `slices` yields."""
        if not self.timed or self.before is None:
            return len(self.new.counts)
        first, last = self.before.before(self._reach(catalogue))
        return len(self.new.counts) + int(self.before.counts[first:last].sum())

    def _reach(self, catalogue: Catalogue) -> tuple[int, int]:
        ends = _FOREVER if self.numbered else self.new.at(len(self.new.counts) - 1) + 1
        return self.first - catalogue.retention * _SECOND, ends

    def _merge(self, read: Sequence[pl.DataFrame], number: int) -> pl.DataFrame:
        """Combine rows of history and input; number them by time and id if arrival is not recorded."""
        *before, new = read
        rows = self._with_label_flags(new)
        if not before:
            return rows
        shared = [name for name in rows.columns if name in before[0].columns]
        merged = pl.concat([before[0].select(shared), rows], how="diagonal")
        if self.numbered:
            return merged
        numbers = pl.int_range(number, number + merged.height, dtype=pl.Int64)
        return merged.sort("ts", "transaction_id").with_columns(seq=numbers)

    def _with_label_flags(self, rows: pl.DataFrame) -> pl.DataFrame:
        unlabelled = pl.Series(self.unlabelled[rows["row_index"].to_numpy()])
        return rows.with_columns(labelled=pl.col("labelled") & ~unlabelled)


def _epoch(rows: pl.DataFrame) -> Ints:
    return rows["ts"].dt.epoch("us").to_numpy()
