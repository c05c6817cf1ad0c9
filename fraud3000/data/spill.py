"""Frames kept on disk piece by piece, so that memory holds one piece at a time."""

from __future__ import annotations

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
