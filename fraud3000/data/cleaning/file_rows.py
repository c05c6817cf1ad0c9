"""The rows of several files on disk as one frame; each row's `row_index` leads back to its file and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import polars as pl

from fraud3000.data.cleaning import cards
from fraud3000.data.cleaning.roles import Cleaned, Cleaner
from fraud3000.data.cleaning.row_errors import as_json, large, quarantine
from fraud3000.data.reading.raw_table import RawFile, RawTable
from fraud3000.data.storage.spill import Spill
from fraud3000.errors import SchemaError
from fraud3000.schema import TRANSACTIONS

KEPT, DUPLICATE, QUARANTINED = "kept", "duplicate", "quarantined"
ERROR_COLUMNS: dict[str, pl.DataType] = {"row_index": pl.UInt32(), "reason": pl.String(), "detail": pl.String()}
"""The first error of each invalid row."""

_MAY_DIFFER = {"seq", "currency"}


@dataclass
class _File:
    """One file's cleaned rows, slice by slice."""

    table: RawTable
    start: int
    rows: Spill
    columns: dict[str, pl.DataType] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    nulled: Counter[str] = field(default_factory=Counter)


class Batch:
    """All rows of the input files, with the errors of the invalid rows.

    Parameters
    ----------
    tables
        The files, in input order.
    folder
        Where rows are stored; used for nothing else.
    size
        Rows held in memory at a time.

    Attributes
    ----------
    names
        Columns of TRANSACTIONS in schema order, then passthrough columns, of all files together.
    """

    def __init__(self, tables: Sequence[RawTable], folder: Path, size: int) -> None:
        self.tables, self._folder, self._size = tables, folder, size
        starts = accumulate((table.count for table in tables), initial=0)
        self._files = [
            _File(table, start, Spill(folder / f"file-{number}"))
            for number, (table, start) in enumerate(zip(tables, starts, strict=False))
        ]
        self.names: tuple[str, ...] = ()

    def clean(self, number: int, cleaner: Cleaner) -> None:
        """Clean a file and store its rows with their errors."""
        file = self._files[number]
        first = file.start
        for raw in file.table.slices(self._size):
            part = cleaner(raw)
            file.rows.add(_with_index(part, first))
            file.columns = dict(part.rows.schema)
            file.hidden, file.unused = part.hidden, part.unused
            file.nulled.update(part.nulled)
            first += raw.rows.height

    def close(self, *, one_arrival: bool) -> None:
        """Determine the common columns once all files are cleaned.

        seq is dropped unless all files have it and it is one order of arrival across them: files that
        were prepared separately each have their own order.

        Raises
        ------
        SchemaError
            A file lacks a column that another file has.
        """
        cleaned = [file for file in self._files if file.columns]
        _check_same_columns(cleaned)
        present = dict.fromkeys(name for file in cleaned for name in file.columns)
        names = [name for name in dict.fromkeys((*TRANSACTIONS, *present)) if name in present]
        numbered = all("seq" in file.columns for file in cleaned)
        if not numbered or (len(cleaned) > 1 and not one_arrival):
            names = [name for name in names if name != "seq"]
        self.names = tuple(names)

    @property
    def unused(self) -> tuple[str, ...]:
        """Raw columns that the mapping does not mention."""
        return tuple(dict.fromkeys(name for file in self._files for name in file.unused))

    @property
    def nulled(self) -> dict[str, int]:
        """Passthrough column to the number of its values that could not be read and became null."""
        nulled = Counter[str]()
        for file in self._files:
            nulled.update(file.nulled)
        return dict(nulled)

    @property
    def rows(self) -> pl.LazyFrame:
        """`row_index`, the columns of `names`, and the `reason` and `detail` of invalid rows; in input order."""
        columns = ["row_index", *self.names, "reason", "detail"]
        kinds = {name: kind for file in self._files for name, kind in file.columns.items()}
        parts = [
            file.rows.rows.with_columns(
                pl.lit(None, dtype=kinds[name]).alias(name) for name in self.names if name not in file.columns
            ).select(columns)
            for file in self._files
            if file.rows.height
        ]
        return (
            pl.concat(parts)
            if parts
            else pl.LazyFrame(schema=ERROR_COLUMNS | {name: kinds[name] for name in self.names})
        )

    def scans(self) -> list[pl.LazyFrame]:
        """`rows` without `currency`, in the slices in which the files were read."""
        columns = ["row_index", *(name for name in self.names if name != "currency"), "reason", "detail"]
        return [piece.select(columns) for file in self._files for piece in file.rows.scans()]

    def change(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Apply a function to every slice; it must keep the number and order of rows."""
        for number, file in enumerate(self._files):
            changed = Spill(self._folder / f"file-{number}-changed")
            for piece in file.rows.pieces():
                changed.add(change(piece))
            file.rows = changed if changed.height else file.rows

    def quarantine(self, late: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield QUARANTINE slice by slice: invalid rows and unreadable lines, in input order.

        Parameters
        ----------
        late
            ERROR_COLUMNS of rows that are invalid because of other rows.
        """
        for number, file in enumerate(self._files):
            bad = Spill(self._folder / f"bad-{number}")
            for rows, raw in self._with_raw(file, late):
                shown = [name for name in raw.rows.columns if name not in file.hidden]
                bad.add(pl.concat([rows, raw.rows.select(shown)], how="horizontal"))
            as_text = set[str]().union(*(large(piece.drop(*_ERROR_NAMES)) for piece in bad.pieces()))
            rejected = (_rejected(piece, as_text, file.table.name) for piece in bad.pieces())
            yield from (quarantine([part]) for part in _with_lines(rejected, self._lines(file)))

    def _with_raw(self, file: _File, late: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, RawFile]]:
        """Yield the invalid rows of each slice: source_row, reason and detail, and the raw rows."""
        for piece in file.rows.pieces():
            first = piece["row_index"][0]
            late_here = late.filter(pl.col("row_index").is_between(first, first + piece.height, closed="left"))
            bad = pl.concat([piece.filter(pl.col("reason").is_not_null()).select(*ERROR_COLUMNS), late_here]).sort(
                "row_index"
            )
            if bad.is_empty():
                continue
            raw = file.table.slice(first - file.start, piece.height)
            rows = bad["row_index"] - first
            described = bad.select(pl.Series(raw.row_numbers.gather(rows)).alias("source_row"), "reason", "detail")
            yield (
                described.rename(_HIDDEN_NAMES),
                RawFile(raw.path, raw.rows[rows], raw.row_numbers.gather(rows), raw.refused, raw.name),
            )

    def _lines(self, file: _File) -> pl.DataFrame:
        """The unreadable lines; their text is left out if any column of the file must not be written."""
        raw = file.table.refused
        text = pl.lit(None, dtype=pl.String) if file.hidden else cards.mask_series(raw["raw"])
        return raw.with_columns(source_file=pl.lit(file.table.name), raw=text).sort("source_row")

    def outcomes(self, duplicates: pl.Series, bad: pl.Series) -> Iterator[pl.DataFrame]:
        """Yield the outcome of each row, in input order and slice by slice.

        Yields
        ------
        polars.DataFrame
            source_file, source_row, transaction_id, outcome and row_index; transaction_id and row_index are null
            for an unreadable line.
        """
        for file in self._files:
            name = pl.lit(file.table.name)
            lines = file.table.refused.sort("source_row").select(
                pl.lit(None, pl.String).alias("transaction_id"),
                pl.lit(None, pl.UInt32).alias("row_index"),
                "source_row",
                outcome=pl.lit(QUARANTINED),
                source_file=name,
            )
            rows = (_outcomes(piece, file, duplicates, bad) for piece in file.rows.pieces())
            for part in _with_lines(rows, lines):
                yield part.select("source_file", "source_row", "transaction_id", "outcome", "row_index")


_HIDDEN_NAMES = {"source_row": "\0source_row", "reason": "\0reason", "detail": "\0detail"}
_ERROR_NAMES = tuple(_HIDDEN_NAMES.values())


def _with_index(part: Cleaned, first: int) -> pl.DataFrame:
    """Add `row_index` and the first error of each row to cleaned rows."""
    rows = part.rows.with_row_index("row_index", offset=first)
    errors = part.errors.select(row_index=(pl.col("row") + first).cast(pl.UInt32), reason="reason", detail="detail")
    return rows.join(errors, on="row_index", how="left", maintain_order="left")


def _rejected(piece: pl.DataFrame, as_text: set[str], name: str) -> pl.DataFrame:
    described = piece.select(*_ERROR_NAMES).rename({hidden: name for name, hidden in _HIDDEN_NAMES.items()})
    return described.with_columns(source_file=pl.lit(name), raw=as_json(piece.drop(*_ERROR_NAMES), as_text))


def _outcomes(piece: pl.DataFrame, file: _File, duplicates: pl.Series, bad: pl.Series) -> pl.DataFrame:
    numbers = file.table.numbers
    row = pl.col("row_index").cast(pl.Int64) - file.start
    source_row = row + 1 if numbers is None else pl.lit(numbers.gather(piece["row_index"] - file.start))
    invalid = pl.col("reason").is_not_null() | pl.col("row_index").is_in(bad.implode())
    outcome = (
        pl.when(invalid)
        .then(pl.lit(QUARANTINED))
        .when(pl.col("row_index").is_in(duplicates.implode()))
        .then(pl.lit(DUPLICATE))
        .otherwise(pl.lit(KEPT))
    )
    return piece.select(
        "transaction_id", "row_index", source_row=source_row, outcome=outcome, source_file=pl.lit(file.table.name)
    )


def _with_lines(pieces: Iterator[pl.DataFrame], lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Merge slices of rows with the lines between them, in order of source_row."""
    for piece in pieces:
        last = piece["source_row"][-1]
        before, lines = lines.filter(pl.col("source_row") < last), lines.filter(pl.col("source_row") > last)
        yield pl.concat([piece, before], how="diagonal").sort("source_row") if before.height else piece
    if lines.height:
        yield lines


def _check_same_columns(cleaned: Sequence[_File]) -> None:
    everything = {name for file in cleaned for name in file.columns} - _MAY_DIFFER
    for file in cleaned:
        lacking = sorted(everything - set(file.columns))
        if lacking:
            raise SchemaError(
                f"{file.table.name}: lacks {', '.join(lacking)}, which other files of the same input have",
                hint="Prepare files with different columns separately, each with its own params.",
            )
