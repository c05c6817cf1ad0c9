"""A raw file as read: its rows, their places, and the lines that are no rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

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
    """What a file holds, before any meaning is given to it.

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

    @classmethod
    def of(
        cls,
        path: Path,
        rows: pl.DataFrame,
        places: Iterable[int] | None = None,
        refused: Iterable[tuple[int, str, str, str]] = (),
    ) -> RawFile:
        numbers = pl.int_range(1, rows.height + 1, eager=True) if places is None else pl.Series(list(places))
        lines = pl.DataFrame(list(refused), schema=REFUSED, orient="row")
        return cls(path, rows, numbers.cast(pl.Int64).alias("source_row"), lines, str(path))

    @property
    def height(self) -> int:
        """How many rows the file holds, those that could not be read included."""
        return self.rows.height + self.refused.height
