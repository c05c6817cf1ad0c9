"""Frames spilled to disk piece by piece, so that memory holds one piece at a time."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeVar

import polars as pl

SLICE = 500_000
"""Rows held in memory at a time."""

Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut items into lists of `size` items; the last list may be shorter.

    Examples
    --------
    >>> list(batched("abc", 2))
    [['a', 'b'], ['c']]
    """
    remaining = iter(items)
    while block := list(islice(remaining, size)):
        yield block


def read_slices(rows: pl.LazyFrame, size: int = SLICE) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file in order, `size` at a time.

    Examples
    --------
    >>> [piece["a"].to_list() for piece in read_slices(pl.LazyFrame({"a": [1, 2, 3]}), 2)]
    [[1, 2], [3]]
    """
    count = rows.select(pl.len()).collect().item()
    for start in range(0, count, size):
        yield rows.slice(start, size).collect()


class Spill:
    """Rows written to disk piece by piece and read back in the same order.

    Parameters
    ----------
    folder
        Where the pieces are written; created with the first piece.
    schema
        The columns; by default those of the first piece.
    """

    def __init__(self, folder: Path, schema: Mapping[str, pl.DataType] | None = None) -> None:
        self._folder = folder
        self._empty = None if schema is None else pl.DataFrame(schema=schema)
        self._pieces: list[Path] = []
        self.height = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Write another piece; all pieces have the same columns."""
        self._empty = rows.clear() if self._empty is None else self._empty
        if rows.is_empty():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{len(self._pieces)}.parquet"
        rows.write_parquet(path, compression="lz4", statistics=True)
        self._pieces.append(path)
        self.height += rows.height

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Yield each piece as it was written; empty pieces are left out."""
        for path in self._pieces:
            yield pl.read_parquet(path, glob=False)

    def scans(self) -> list[pl.LazyFrame]:
        """Each piece as a lazy frame."""
        return [pl.scan_parquet(path, glob=False) for path in self._pieces]

    @property
    def rows(self) -> pl.LazyFrame:
        """All pieces as one lazy frame."""
        if self._pieces:
            return pl.scan_parquet(list(self._pieces), glob=False)
        return (pl.DataFrame() if self._empty is None else self._empty).lazy()

    def clear(self) -> None:
        """Delete all pieces."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._pieces.clear()
        self.height = 0


class PartitionedSpill:
    """Rows partitioned by a number, on disk where memory is short; a partition is read back with its rows in input order.

    Parameters
    ----------
    folder
        Where rows are written once more than `size` are in memory.
    size
        Rows held in memory at a time.
    schema
        The columns; by default those of the first rows.

    Examples
    --------
    >>> partitions = PartitionedSpill(Path("nowhere"))
    >>> partitions.add(pl.DataFrame({"a": [5, 6, 7, 8]}), pl.Series([1, 0, 1, 0]))
    >>> partitions.take(1)["a"].to_list()
    [5, 7]
    """

    def __init__(self, folder: Path, size: int = SLICE, *, schema: Mapping[str, pl.DataType] | None = None) -> None:
        self._folder, self._size = folder, size
        self._written: dict[int, Spill] = {}
        self._in_memory: defaultdict[int, list[pl.DataFrame]] = defaultdict(list)
        self._empty, self._height = pl.DataFrame(schema=schema), 0

    def add(self, rows: pl.DataFrame, parts: pl.Series) -> None:
        """Add rows to their partitions; all rows have the same columns.

        Parameters
        ----------
        parts
            The partition of each row, a whole number.
        """
        self._empty = rows.clear() if not self._empty.width else self._empty
        partitions = rows.with_columns(parts.alias(_PART)).partition_by(_PART, as_dict=True, include_key=False)
        for (part,), members in partitions.items():
            self._in_memory[part].append(members)
        self._height += rows.height
        if self._height > self._size:
            self._write()

    def _write(self) -> None:
        for part, frames in self._in_memory.items():
            self._written.setdefault(part, Spill(self._folder / str(part))).add(pl.concat(frames))
        self._in_memory.clear()
        self._height = 0

    def take(self, part: int) -> pl.DataFrame:
        """Return the rows of a partition and remove them."""
        written = self._written.pop(part, None)
        rows: pl.DataFrame = pl.concat(
            [*(written.pieces() if written else ()), *self._in_memory.pop(part, ())] or [self._empty]
        )
        if written:
            written.clear()
        return rows


_PART = "\0part"
