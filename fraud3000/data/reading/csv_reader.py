"""CSV reader: every column as text, so that no id or amount passes through a float.

Polars reads a file in which each line is a row with all of its fields, and writes it as Parquet, from
which slices can be read. The csv module reads every other file: with line breaks in quotes, blank
lines, or rows with too few or too many fields, which are rejected.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO

import polars as pl

from fraud3000.data.reading.columns import normalised
from fraud3000.data.reading.raw_table import RawTable
from fraud3000.data.storage.spill import Spill, batched
from fraud3000.errors import DataError, EmptyDataError, SchemaError

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_EXPORT_AGAIN = "Export the file again."
_NOTE = re.compile(r"sep=[,;|\t ]?", re.IGNORECASE)
_LINES_ABOVE_HEADER = 30  # lines searched for a header below the first line
_CHUNK = 50_000  # lines held in memory at a time by the csv module
_BLOCK = 2**24  # bytes checked at a time


def scan(path: Path, spool: Path) -> RawTable:
    """Open a CSV file, plain or gzip; every column is text, empty fields are null.

    Parameters
    ----------
    spool
        Folder in which its rows are written as Parquet.

    Raises
    ------
    DataError
        The file is empty, is not UTF-8, is not separated by commas, or has an unbalanced quote.
    SchemaError
        Two columns have the same name.
    """
    try:
        names = _header(path)
        rows = _fast(path, names, spool / "fast.parquet")
        return _slow(path, names, Spill(spool / "slow")) if rows is None else RawTable.from_rows(path, rows)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error


def _header(path: Path) -> list[str]:
    with _text(path) as file:
        try:
            names = next((row for row in csv.reader(file) if row), None)
        except csv.Error as error:
            raise DataError(f"{path}: the header cannot be read ({error})", hint=_EXPORT_AGAIN) from error
    if names is None:
        raise EmptyDataError(f"{path}: the file is empty", hint=_EXPORT_AGAIN)
    _check_note(path, names)
    _check_delimiter(path, names)
    repeated = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if repeated:
        listed = ", ".join(f"'{name}'" for name in repeated)
        raise SchemaError(f"{path}: more than one column is named {listed}", hint="Give each column a different name.")
    first = names.index("") if "" in names else -1
    return [name or ("" if index == first else f"column_{index + 1}") for index, name in enumerate(names)]


def _check_note(path: Path, names: list[str]) -> None:
    """Refuse a first line such as sep=; in which spreadsheets state the delimiter."""
    line = ",".join(names)
    if _NOTE.fullmatch(line):
        raise SchemaError(
            f"{path}: line 1 is '{line}', a note for spreadsheets, and the header seems to be in line 2",
            hint="Remove line 1, and write the file with commas between the fields.",
        )


def header_below(path: Path, names: Collection[str]) -> int | None:
    """The number of the line that looks like the header, if the header is below the first line; otherwise None.

    Parameters
    ----------
    names
        Names of the expected columns, as in the file or normalised.
    """
    with _text(path) as file:
        reader = csv.reader(file)
        first = _count_names(next(reader, []), names)
        with suppress(csv.Error):
            for fields in islice(reader, _LINES_ABOVE_HEADER):
                count = _count_names(fields, names)
                if count > first and 2 * count >= len(names):
                    return reader.line_num
    return None


def _count_names(fields: list[str], names: Collection[str]) -> int:
    """How many of the expected column names a line contains."""
    present = {name.strip().lower() for name in fields} | {name.lower() for name in normalised(fields).values()}
    return sum(name.strip().lower() in present for name in names)


def _check_delimiter(path: Path, names: list[str]) -> None:
    if len(names) > 1:
        return
    for sign, word in _DELIMITERS.items():
        count = names[0].count(sign)
        if count:
            raise DataError(
                f"{path}: separated by {word}, not by commas (its header has {count} of them and no comma)",
                hint="Write the file with commas between the fields.",
            )


def _fast(path: Path, names: list[str], spooled: Path) -> pl.LazyFrame | None:
    """Read with polars; None if polars might read a line differently from the csv module."""
    lines = _plain_lines(path, len(names))
    if lines is None:
        return None
    spooled.parent.mkdir(parents=True, exist_ok=True)
    try:
        read = pl.scan_csv(path, infer_schema=False, glob=False)
        read.select(_empty_as_null()).sink_parquet(spooled, compression="lz4")
    except pl.exceptions.NoDataError:
        return pl.LazyFrame(schema=dict.fromkeys(names, pl.String()))
    except pl.exceptions.ComputeError as error:
        if "utf-8" in str(error):
            raise _not_utf8(path) from error
        return None
    rows = pl.scan_parquet(spooled, glob=False)
    columns = rows.collect_schema().names()
    if len(columns) != len(names) or rows.select(pl.len()).collect().item() != lines - 1:
        return None
    return rows.rename(dict(zip(columns, names, strict=True)))


def _plain_lines(path: Path, width: int) -> int | None:
    """The number of lines, if each line is one complete row that every reader reads alike; otherwise None."""
    count = 0
    with _bytes(path) as file:
        while block := file.read(_BLOCK):
            lines = _lines(block + file.readline())
            if lines is None or not _are_plain(lines, width):
                return None
            count += len(lines)
    return count


def _lines(block: bytes) -> pl.Series | None:
    try:
        return pl.read_lines(io.BytesIO(block)).to_series()
    except pl.exceptions.ComputeError:  # not UTF-8
        return None


def _are_plain(lines: pl.Series, width: int) -> bool:
    line = pl.col("line")
    rows = lines.alias("line").to_frame()
    odd = (line == "") | line.str.contains(r"[\r\x00]") | (line.str.len_bytes() > csv.field_size_limit())
    if rows.select(odd.any()).item():
        return False
    # each quoted part is replaced by NUL, which must then fill a whole field
    bare = line.str.replace_all(r'"(?:[^"]|"")*"', "\0")
    quoted = rows.filter(line.str.contains('"', literal=True)).select(bare)
    unquoted = rows.filter(~line.str.contains('"', literal=True))
    ragged = line.str.count_matches(",", literal=True) != width - 1
    if unquoted.select(ragged.any()).item():
        return False
    return not quoted.select((ragged | line.str.contains('"|[^,]\\x00|\\x00[^,]')).any()).item()


def _slow(path: Path, names: list[str], spill: Spill) -> RawTable:
    row_numbers: list[int] = []
    refused: list[tuple[int, str, str, str]] = []
    spill.add(_frame(names, []))
    for block in batched(_records(path), _CHUNK):
        rows = [(number, fields) for number, fields in block if len(fields) == len(names)]
        spill.add(_frame(names, [fields for _, fields in rows]))
        row_numbers += [number for number, _ in rows]
        for number, fields in block:
            if len(fields) != len(names):
                detail = f"{len(fields)} fields, the header has {len(names)}"
                refused.append((number, "ragged_row", detail, json.dumps(fields, ensure_ascii=False)))
    return RawTable.from_rows(path, spill.rows, row_numbers, refused)


def _frame(names: list[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [[]] * len(names)
    frame = pl.DataFrame({name: pl.Series(c, dtype=pl.String) for name, c in zip(names, columns, strict=True)})
    return frame.select(_empty_as_null())


def _empty_as_null() -> pl.Expr:
    return pl.when(pl.all() != "").then(pl.all())


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    with _text(path) as file:
        reader = csv.reader(file, strict=True)
        number = -1  # the header becomes 0, the first row 1
        try:
            for fields in reader:
                if fields:
                    number += 1
                    if number:
                        yield number, fields
        except csv.Error as error:
            raise DataError(
                f"{path}: line {reader.line_num} cannot be read ({error})", hint="Correct the quotes in that line."
            ) from error


def _not_utf8(path: Path) -> DataError:
    detail = ""
    with _bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                detail = f" (byte 0x{line[error.start]:02x} in line {number})"
                break
    return DataError(
        f"{path}: not UTF-8 text{detail}",
        hint=f"Convert it, for instance: iconv -f LATIN1 -t UTF-8 {path.name} > utf8.csv",
    )


@contextmanager
def _bytes(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
        yield file  # type: ignore[misc]


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOWrapper]:
    with _bytes(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        yield text
