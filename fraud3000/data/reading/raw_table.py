"""A raw file as read: its rows, their places, and the lines that are no rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from fraud3000.errors import DataError

REFUSED: dict[str, pl.DataType] = {
    "source_row": pl.Int64(),
    "reason": pl.String(),
    "detail": pl.String(),
    "raw": pl.String(),
}
"""Lines that could not be read as rows."""


@dataclass(frozen=True)
class DataFile:
    """A data file to read: where its bytes lie on this machine, and the name that the user knows it by."""

    path: Path
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class RawFile:
    """What a file holds, or a slice of it, before any meaning is given to it.

    Attributes
    ----------
    rows
        The raw columns.
    places
        Int64: each row's place in the file, from 1, header not counted.
    refused
        REFUSED: lines that are no rows.
    name
        What the file is called in messages and in quarantine.
    """

    path: Path
    rows: pl.DataFrame
    places: pl.Series
    refused: pl.DataFrame
    name: str

    @property
    def height(self) -> int:
        """How many rows the file holds, those that could not be read included."""
        return self.rows.height + self.refused.height


@dataclass(frozen=True)
class RawTable:
    """A raw file of any length, opened to be read slice by slice.

    Attributes
    ----------
    rows
        The raw columns, unread.
    count
        How many rows there are.
    refused
        REFUSED: lines that are no rows.
    numbers
        Int64: each row's place in the file; None where the rows stand at 1, 2, 3 and so on.
    name
        What the file is called in messages and in quarantine.
    """

    path: Path
    rows: pl.LazyFrame
    count: int
    refused: pl.DataFrame
    numbers: pl.Series | None
    name: str

    @classmethod
    def of(
        cls,
        path: Path,
        rows: pl.LazyFrame,
        places: Iterable[int] | None = None,
        refused: Iterable[tuple[int, str, str, str]] = (),
    ) -> RawTable:
        count = rows.select(pl.len()).collect().item() if rows.collect_schema() else 0
        lines = pl.DataFrame(list(refused), schema=REFUSED, orient="row")
        numbers = None if places is None else pl.Series("source_row", list(places), dtype=pl.Int64)
        return cls(path, rows, count, lines, numbers, str(path))

    @cached_property
    def schema(self) -> pl.Schema:
        return self.rows.collect_schema()

    @property
    def height(self) -> int:
        """How many rows the file holds, those that could not be read included."""
        return self.count + self.refused.height

    def select(self, *names: str) -> RawTable:
        """The same file with some of its columns."""
        return replace(self, rows=self.rows.select(names))

    def slices(self, size: int) -> Iterator[RawFile]:
        """The rows in order, so many at a time; one empty slice of a file without rows."""
        for start in range(0, max(self.count, 1), size):
            yield self.slice(start, size)

    def slice(self, start: int, size: int) -> RawFile:
        """So many rows from `start` on."""
        with self.reading():
            rows = self.rows.slice(start, size).collect()
        if self.numbers is None:
            places = pl.int_range(start + 1, start + rows.height + 1, eager=True).alias("source_row")
        else:
            places = self.numbers.slice(start, size)
        return RawFile(self.path, rows, places, self.refused.clear(), self.name)

    def whole(self) -> RawFile:
        """All of it at once."""
        read = self.slice(0, max(self.count, 1))
        return RawFile(self.path, read.rows, read.places, self.refused, self.name)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Tell a file whose content breaks off only when it is read.

        Raises
        ------
        DataError
            Naming the file.
        """
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{self.name}: not a whole file ({reason})", hint="Copy or export the file again."
            ) from error
