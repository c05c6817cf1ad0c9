"""A raw file as read: its rows with their row numbers, and the lines that could not be read as rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

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
    """A data file: its path on this machine, and the name that the user knows it by."""

    path: Path
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class RawFile:
    """The content of a file, or of a slice of it, before columns are given a meaning.

    Attributes
    ----------
    rows
        The raw columns.
    row_numbers
        Int64: each row's number in the file, from 1, header not counted.
    refused
        REFUSED: lines that could not be read as rows.
    name
        The file's name in messages and in quarantine.
    """

    path: Path
    rows: pl.DataFrame
    row_numbers: pl.Series
    refused: pl.DataFrame
    name: str

    @property
    def height(self) -> int:
        """Number of rows in the file, including those that could not be read."""
        return self.rows.height + self.refused.height


@dataclass(frozen=True)
class RawTable:
    """A raw file of any length, open for reading slice by slice.

    Attributes
    ----------
    rows
        The raw columns, not yet read.
    count
        Number of rows.
    refused
        REFUSED: lines that could not be read as rows.
    numbers
        Int64: each row's number in the file; None if they are 1, 2, 3 and so on.
    name
        The file's name in messages and in quarantine.
    """

    path: Path
    rows: pl.LazyFrame
    count: int
    refused: pl.DataFrame
    numbers: pl.Series | None
    name: str

    @classmethod
    def from_rows(
        cls,
        path: Path,
        rows: pl.LazyFrame,
        row_numbers: Iterable[int] | None = None,
        refused: Iterable[tuple[int, str, str, str]] = (),
    ) -> Self:
        """Build from rows, their numbers and the rejected lines (source_row, reason, detail, raw)."""
        count = rows.select(pl.len()).collect().item() if rows.collect_schema() else 0
        lines = pl.DataFrame(list(refused), schema=REFUSED, orient="row")
        numbers = None if row_numbers is None else pl.Series("source_row", list(row_numbers), dtype=pl.Int64)
        return cls(path, rows, count, lines, numbers, str(path))

    @cached_property
    def schema(self) -> pl.Schema:
        return self.rows.collect_schema()

    @property
    def height(self) -> int:
        """Number of rows in the file, including those that could not be read."""
        return self.count + self.refused.height

    def digest(self) -> str:
        """SHA-256 of the file's bytes, in hex."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def select(self, *names: str) -> RawTable:
        """The same file with some of its columns."""
        return replace(self, rows=self.rows.select(names))

    def slices(self, size: int) -> Iterator[RawFile]:
        """Yield the rows in order, `size` at a time; a file without rows yields one empty slice."""
        for start in range(0, max(self.count, 1), size):
            yield self.slice(start, size)

    def slice(self, start: int, size: int) -> RawFile:
        """Read `size` rows from `start` on."""
        with self.reading():
            rows = self.rows.slice(start, size).collect()
        if self.numbers is None:
            row_numbers = pl.int_range(start + 1, start + rows.height + 1, eager=True).alias("source_row")
        else:
            row_numbers = self.numbers.slice(start, size)
        return RawFile(self.path, rows, row_numbers, self.refused.clear(), self.name)

    def whole(self) -> RawFile:
        """Read the whole file."""
        read = self.slice(0, max(self.count, 1))
        return RawFile(self.path, read.rows, read.row_numbers, self.refused, self.name)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Report a file whose content turns out to be truncated when it is read.

        Raises
        ------
        DataError
            Names the file.
        """
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{self.name}: incomplete file ({reason})", hint="Copy or export the file again."
            ) from error
