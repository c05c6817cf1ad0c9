"""The rows of several files on disk as one frame, each with a place that leads back to its file and line."""

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
FAULTS: dict[str, pl.DataType] = {"place": pl.UInt32(), "reason": pl.String(), "detail": pl.String()}
"""The first fault of each faulty row."""

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
    lost: Counter[str] = field(default_factory=Counter)


class Batch:
    """All rows read, and what is wrong with some.

    Parameters
    ----------
    tables
        The files, in input order.
    folder
        Where rows are kept; a folder of their own.
    size
        Rows held in memory at a time.

    Attributes
    ----------
    names
        Columns of TRANSACTIONS in schema order, then passthrough, of all files together.
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
        """Clean a file and keep its rows with their faults."""
        file = self._files[number]
        place = file.start
        for raw in file.table.slices(self._size):
            part = cleaner(raw)
            file.rows.add(_placed(part, place))
            file.columns = dict(part.rows.schema)
            file.hidden, file.unused = part.hidden, part.unused
            file.lost.update(part.lost)
            place += raw.rows.height

    def close(self, *, one_arrival: bool) -> None:
        """Settle which columns there are, once all files are cleaned.

        seq is kept only where all of them have it, and where it is the place in one order of arrival:
        files that were prepared one by one have each its own.

        Raises
        ------
        SchemaError
            One file has a column that another lacks.
        """
        cleaned = [file for file in self._files if file.columns]
        _check_same_columns(cleaned)
        there = dict.fromkeys(name for file in cleaned for name in file.columns)
        names = [name for name in dict.fromkeys((*TRANSACTIONS, *there)) if name in there]
        numbered = all("seq" in file.columns for file in cleaned)
        if not numbered or (len(cleaned) > 1 and not one_arrival):
            names = [name for name in names if name != "seq"]
        self.names = tuple(names)

    @property
    def unused(self) -> tuple[str, ...]:
        """Raw columns that no mapping names."""
        return tuple(dict.fromkeys(name for file in self._files for name in file.unused))

    @property
    def lost(self) -> dict[str, int]:
        """Passthrough column to the number of its values that could not be read and became null."""
        lost = Counter[str]()
        for file in self._files:
            lost.update(file.lost)
        return dict(lost)

    @property
    def rows(self) -> pl.LazyFrame:
        """`place`, the columns of `names`, and `reason` and `detail` where a row is faulty; in input order."""
        columns = ["place", *self.names, "reason", "detail"]
        kinds = {name: kind for file in self._files for name, kind in file.columns.items()}
        parts = [
            file.rows.rows.with_columns(
                pl.lit(None, dtype=kinds[name]).alias(name) for name in self.names if name not in file.columns
            ).select(columns)
            for file in self._files
            if file.rows.height
        ]
        return pl.concat(parts) if parts else pl.LazyFrame(schema=FAULTS | {name: kinds[name] for name in self.names})

    def scans(self) -> list[pl.LazyFrame]:
        """`rows` in slices that are those of the files, without `currency`."""
        columns = ["place", *(name for name in self.names if name != "currency"), "reason", "detail"]
        return [piece.select(columns) for file in self._files for piece in file.rows.scans()]

    def change(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Change the rows of every slice, all of which stay in their places."""
        for number, file in enumerate(self._files):
            changed = Spill(self._folder / f"file-{number}-changed")
            for piece in file.rows.pieces():
                changed.add(change(piece))
            file.rows = changed if changed.height else file.rows

    def quarantine(self, late: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """QUARANTINE, slice by slice: faulty rows and lines that are no rows, in input order.

        Parameters
        ----------
        late
            FAULTS of rows that are faulty only beside others.
        """
        for number, file in enumerate(self._files):
            bad = Spill(self._folder / f"bad-{number}")
            for rows, raw in self._with_raw(file, late):
                shown = [name for name in raw.rows.columns if name not in file.hidden]
                bad.add(pl.concat([rows, raw.rows.select(shown)], how="horizontal"))
            as_text = set[str]().union(*(large(piece.drop(*_ACCOUNT)) for piece in bad.pieces()))
            told = (_told(piece, as_text, file.table.name) for piece in bad.pieces())
            yield from (quarantine([part]) for part in _with_lines(told, self._lines(file)))

    def _with_raw(self, file: _File, late: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, RawFile]]:
        """The faulty rows of each slice that has any: source_row, reason and detail beside the raw rows."""
        for piece in file.rows.pieces():
            first = piece["place"][0]
            mine = late.filter(pl.col("place").is_between(first, first + piece.height, closed="left"))
            bad = pl.concat([piece.filter(pl.col("reason").is_not_null()).select(*FAULTS), mine]).sort("place")
            if bad.is_empty():
                continue
            raw = file.table.slice(first - file.start, piece.height)
            rows = bad["place"] - first
            named = bad.select(pl.Series(raw.places.gather(rows)).alias("source_row"), "reason", "detail")
            yield (
                named.rename(_HIDDEN_NAMES),
                RawFile(raw.path, raw.rows[rows], raw.places.gather(rows), raw.refused, raw.name),
            )

    def _lines(self, file: _File) -> pl.DataFrame:
        """Lines that are no rows; their text is left out where any column of the file must not be seen."""
        raw = file.table.refused
        text = pl.lit(None, dtype=pl.String) if file.hidden else cards.mask_series(raw["raw"])
        return raw.with_columns(source_file=pl.lit(file.table.name), raw=text).sort("source_row")

    def outcomes(self, duplicates: pl.Series, bad: pl.Series) -> Iterator[pl.DataFrame]:
        """What became of each row, in input order and slice by slice.

        Yields
        ------
        polars.DataFrame
            source_file, source_row, transaction_id, outcome and place; the last two ids are null for
            a line that is no row.
        """
        for file in self._files:
            name = pl.lit(file.table.name)
            lines = file.table.refused.sort("source_row").select(
                pl.lit(None, pl.String).alias("transaction_id"),
                pl.lit(None, pl.UInt32).alias("place"),
                "source_row",
                outcome=pl.lit(QUARANTINED),
                source_file=name,
            )
            rows = (_outcomes(piece, file, duplicates, bad) for piece in file.rows.pieces())
            for part in _with_lines(rows, lines):
                yield part.select("source_file", "source_row", "transaction_id", "outcome", "place")


_HIDDEN_NAMES = {"source_row": "\0source_row", "reason": "\0reason", "detail": "\0detail"}
_ACCOUNT = tuple(_HIDDEN_NAMES.values())


def _placed(part: Cleaned, first: int) -> pl.DataFrame:
    """Cleaned rows with their places and, beside each, its first fault."""
    rows = part.rows.with_row_index("place", offset=first)
    faults = part.faults.select(place=(pl.col("row") + first).cast(pl.UInt32), reason="reason", detail="detail")
    return rows.join(faults, on="place", how="left", maintain_order="left")


def _told(piece: pl.DataFrame, as_text: set[str], name: str) -> pl.DataFrame:
    named = piece.select(*_ACCOUNT).rename({hidden: name for name, hidden in _HIDDEN_NAMES.items()})
    return named.with_columns(source_file=pl.lit(name), raw=as_json(piece.drop(*_ACCOUNT), as_text))


def _outcomes(piece: pl.DataFrame, file: _File, duplicates: pl.Series, bad: pl.Series) -> pl.DataFrame:
    numbers = file.table.numbers
    row = pl.col("place").cast(pl.Int64) - file.start
    source_row = row + 1 if numbers is None else pl.lit(numbers.gather(piece["place"] - file.start))
    faulty = pl.col("reason").is_not_null() | pl.col("place").is_in(bad.implode())
    outcome = (
        pl.when(faulty)
        .then(pl.lit(QUARANTINED))
        .when(pl.col("place").is_in(duplicates.implode()))
        .then(pl.lit(DUPLICATE))
        .otherwise(pl.lit(KEPT))
    )
    return piece.select(
        "transaction_id", "place", source_row=source_row, outcome=outcome, source_file=pl.lit(file.table.name)
    )


def _with_lines(pieces: Iterator[pl.DataFrame], lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Slices of rows with the lines that stand between them, in order of source_row."""
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
                f"{file.table.name}: has no {', '.join(lacking)}, which other files of the same input have",
                hint="Prepare files of different kinds apart, each with its own params.",
            )
