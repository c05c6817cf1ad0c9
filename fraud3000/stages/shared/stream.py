"""History and input as one stream of transactions, read one span of time after the other."""

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
    """Rows on disk in order of time, of which some may not count.

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
        """A row's event time in microseconds."""
        return int(_epoch(self.rows.slice(row, 1).select("ts").collect())[0])

    @property
    def first(self) -> int | None:
        """The time of the first row that counts, in microseconds."""
        return self.at(int(self.counts.argmax())) if self.counts.any() else None

    def every(self, size: int) -> list[int]:
        """The times of so many rows, evenly spread."""
        return [self.at(row) for row in range(0, len(self.counts), size)]

    def before(self, moments: Sequence[int]) -> Ints:
        """How many rows lie before each of some moments, in microseconds."""
        found = np.zeros(len(moments), dtype=np.int64)
        for piece in read_slices(self.rows.select("ts")):
            found += np.searchsorted(_epoch(piece), moments)
        return found

    def column(self, name: str) -> Iterator[pl.DataFrame]:
        """A column of the rows that count, piece by piece."""
        start = 0
        for piece in read_slices(self.rows.select(name)):
            yield piece.filter(pl.Series(self.counts[start : start + piece.height]))
            start += piece.height

    def between(self, first: int, last: int) -> pl.DataFrame:
        """The rows that count, of those that stand at [first, last)."""
        rows = self.rows.slice(first, last - first).collect()
        return rows.filter(pl.Series(self.counts[first:last]))


@dataclass(frozen=True)
class Stream:
    """Transactions before those to be scored, and these, with what was recorded about both.

    Attributes
    ----------
    before
        The history's rows; those whose id the input has too do not count.
    new
        The input's rows, with `place`; all of them count.
    unlabelled
        By place: the row stays without a label, as it came before.
    ledger
        LEDGER of both.
    numbered
        Whether seq is the recorded order of arrival; else it follows from ts and id.
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
        """When the input begins, in microseconds."""
        return self.new.at(0)

    @property
    def earliest(self) -> int:
        """When history or input begins, in microseconds."""
        first = self.before.first if self.before is not None else None
        return self.first if first is None else min(first, self.first)

    def slices(self, catalogue: Catalogue, size: int) -> Iterator[pl.DataFrame]:
        """The input's rows, and as much of the history as their features depend on, in order of time.

        A window looks no further back than the catalogue's span. Where arrival is recorded, a row is
        also too late by events that lie after it, so that all later ones are there too.

        Yields
        ------
        polars.DataFrame
            TRANSACTIONS with `place`, which is null for rows of the history; about `size` rows of either.
        """
        if not self.timed:
            yield from (self._labelled(rows) for rows in read_slices(self.new.rows, size))
            return
        parts = [part for part in (self.before, self.new) if part is not None]
        since, until = self._reach(catalogue)
        inside = {moment for part in parts for moment in part.every(size) if since < moment < until}
        moments = [since, *sorted(inside), until]
        spans = [pairwise(part.before(moments).tolist()) for part in parts]
        number = 0
        for ends in zip(*spans, strict=True):
            read = [part.between(*end) for part, end in zip(parts, ends, strict=True)]
            rows = self._together(read, number)
            number += rows.height
            yield rows

    def height(self, catalogue: Catalogue) -> int:
        """How many rows `slices` gives."""
        if not self.timed or self.before is None:
            return len(self.new.counts)
        first, last = self.before.before(self._reach(catalogue))
        return len(self.new.counts) + int(self.before.counts[first:last].sum())

    def _reach(self, catalogue: Catalogue) -> tuple[int, int]:
        ends = _FOREVER if self.numbered else self.new.at(len(self.new.counts) - 1) + 1
        return self.first - catalogue.retention * _SECOND, ends

    def _together(self, read: Sequence[pl.DataFrame], number: int) -> pl.DataFrame:
        """Rows of history and input, numbered on by time and id where arrival is not recorded."""
        *before, new = read
        rows = self._labelled(new)
        if not before:
            return rows
        shared = [name for name in rows.columns if name in before[0].columns]
        together = pl.concat([before[0].select(shared), rows], how="diagonal")
        if self.numbered:
            return together
        place = pl.int_range(number, number + together.height, dtype=pl.Int64)
        return together.sort("ts", "transaction_id").with_columns(seq=place)

    def _labelled(self, rows: pl.DataFrame) -> pl.DataFrame:
        stay = pl.Series(self.unlabelled[rows["place"].to_numpy()])
        return rows.with_columns(labelled=pl.col("labelled") & ~stay)


def _epoch(rows: pl.DataFrame) -> Ints:
    return rows["ts"].dt.epoch("us").to_numpy()
