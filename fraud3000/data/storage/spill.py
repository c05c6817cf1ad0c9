"""Frames kept on disk piece by piece, so that memory holds one piece at a time."""

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
    """Cut into lists of so many items, the last one perhaps shorter.

    Examples
    --------
    >>> list(batched("abc", 2))
    [['a', 'b'], ['c']]
    """
    left = iter(items)
    while block := list(islice(left, size)):
        yield block


def in_pieces(rows: pl.LazyFrame, size: int = SLICE) -> Iterator[pl.DataFrame]:
    """The rows of a file in order, so many at a time.

    Examples
    --------
    >>> [piece["a"].to_list() for piece in in_pieces(pl.LazyFrame({"a": [1, 2, 3]}), 2)]
    [[1, 2], [3]]
    """
    count = rows.select(pl.len()).collect().item()
    for start in range(0, count, size):
        yield rows.slice(start, size).collect()


class Spill:
    """Rows written piece after piece and read back in that order.

    Parameters
    ----------
    folder
        Where the pieces go; made with the first of them.
    schema
        The columns; by default those of the first piece.
    """

    def __init__(self, folder: Path, schema: Mapping[str, pl.DataType] | None = None) -> None:
        self._folder = folder
        self._empty = None if schema is None else pl.DataFrame(schema=schema)
        self._pieces: list[Path] = []
        self.height = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Write one more piece; all pieces have the same columns."""
        self._empty = rows.clear() if self._empty is None else self._empty
        if rows.is_empty():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{len(self._pieces)}.parquet"
        rows.write_parquet(path, compression="lz4", statistics=True)
        self._pieces.append(path)
        self.height += rows.height

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Each piece as it was written; none that is empty."""
        for path in self._pieces:
            yield pl.read_parquet(path, glob=False)

    def scans(self) -> list[pl.LazyFrame]:
        """Each piece, unread."""
        return [pl.scan_parquet(path, glob=False) for path in self._pieces]

    @property
    def rows(self) -> pl.LazyFrame:
        """All pieces as one frame."""
        if self._pieces:
            return pl.scan_parquet(list(self._pieces), glob=False)
        return (pl.DataFrame() if self._empty is None else self._empty).lazy()

    def clear(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._pieces.clear()
        self.height = 0


class PartitionedSpill:
    """Rows dealt out to parts, each of which is read back whole, with its rows in the order they came in.

    Parameters
    ----------
    folder
        Where rows go that are more than memory should hold.
    size
        Rows held in memory at a time.
    schema
        The columns; by default those of the first rows.

    Examples
    --------
    >>> spread = Spread(Path("nowhere"))
    >>> spread.add(pl.DataFrame({"a": [5, 6, 7, 8]}), pl.Series([1, 0, 1, 0]))
    >>> spread.take(1)["a"].to_list()
    [5, 7]
    """

    def __init__(self, folder: Path, size: int = SLICE, *, schema: Mapping[str, pl.DataType] | None = None) -> None:
        self._folder, self._size = folder, size
        self._written: dict[int, Spill] = {}
        self._held: defaultdict[int, list[pl.DataFrame]] = defaultdict(list)
        self._empty, self._height = pl.DataFrame(schema=schema), 0

    def add(self, rows: pl.DataFrame, parts: pl.Series) -> None:
        """Deal out rows; all have the same columns.

        Parameters
        ----------
        parts
            The part that each row goes to, a whole number.
        """
        self._empty = rows.clear() if not self._empty.width else self._empty
        dealt = rows.with_columns(parts.alias(_PART)).partition_by(_PART, as_dict=True, include_key=False)
        for (part,), those in dealt.items():
            self._held[part].append(those)
        self._height += rows.height
        if self._height > self._size:
            self._write()

    def _write(self) -> None:
        for part, held in self._held.items():
            self._written.setdefault(part, Spill(self._folder / str(part))).add(pl.concat(held))
        self._held.clear()
        self._height = 0

    def take(self, part: int) -> pl.DataFrame:
        """Give out a part's rows, once."""
        written = self._written.pop(part, None)
        rows: pl.DataFrame = pl.concat(
            [*(written.pieces() if written else ()), *self._held.pop(part, ())] or [self._empty]
        )
        if written:
            written.clear()
        return rows


_PART = "\0part"
