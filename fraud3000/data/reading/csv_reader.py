"""CSV read as text, so that no id or amount passes through a float.

Polars reads a file in which each line is a row with all of its fields, and writes it as Parquet, from
which slices can be taken. The csv module reads every other file: with line breaks in quotes, blank
lines, or rows with too few or too many fields, which are set apart.
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
_AGAIN = "Export the file again."
_NOTE = re.compile(r"sep=[,;|\t ]?", re.IGNORECASE)
_LINES_ABOVE_HEADER = 30  # looked at
_CHUNK = 50_000  # lines held in memory at a time by the csv module
_BLOCK = 2**24  # bytes looked at together


def scan(path: Path, spool: Path) -> RawTable:
    """Open a CSV file, plain or gzip, every column as text and empty fields as null.

    Parameters
    ----------
    spool
        Where its rows are written as Parquet.

    Raises
    ------
    DataError
        The file is empty, not UTF-8, not separated by commas or broken by a quote.
    SchemaError
        Two columns have one name.
    """
    try:
        names = _header(path)
        rows = _fast(path, names, spool / "fast.parquet")
        return _slow(path, names, Spill(spool / "slow")) if rows is None else RawTable.of(path, rows)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error


def _header(path: Path) -> list[str]:
    with _text(path) as file:
        try:
            names = next((row for row in csv.reader(file) if row), None)
        except csv.Error as error:
            raise DataError(f"{path}: its header cannot be read ({error})", hint=_AGAIN) from error
    if names is None:
        raise EmptyDataError(f"{path}: an empty file", hint=_AGAIN)
    _check_note(path, names)
    _check_delimiter(path, names)
    repeated = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if repeated:
        listed = ", ".join(f"'{name}'" for name in repeated)
        raise SchemaError(f"{path}: more than one column is named {listed}", hint="Give each column its own name.")
    first = names.index("") if "" in names else -1
    return [name or ("" if place == first else f"column_{place + 1}") for place, name in enumerate(names)]


def _check_note(path: Path, names: list[str]) -> None:
    """Refuse a first line such as sep=; by which spreadsheets note the delimiter."""
    line = ",".join(names)
    if _NOTE.fullmatch(line):
        raise SchemaError(
            f"{path}: line 1 is '{line}', a note for spreadsheets, and the header seems to be in line 2",
            hint="Remove line 1, and write the file with commas between the fields.",
        )


def header_below(path: Path, wanted: Collection[str]) -> int | None:
    """The line below the first that holds most of the wanted columns, where a title stands above the header.

    Parameters
    ----------
    wanted
        Names of columns, as in the file or normalised.
    """
    with _text(path) as file:
        reader = csv.reader(file)
        first = _held(next(reader, []), wanted)
        with suppress(csv.Error):
            for fields in islice(reader, _LINES_ABOVE_HEADER):
                held = _held(fields, wanted)
                if held > first and 2 * held >= len(wanted):
                    return reader.line_num
    return None


def _held(fields: list[str], wanted: Collection[str]) -> int:
    """How many of the wanted columns a line names."""
    named = {name.strip().lower() for name in fields} | {name.lower() for name in normalised(fields).values()}
    return sum(name.strip().lower() in named for name in wanted)


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
    """Read with polars; None where it could read a line in another way than the csv module."""
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
    """How many lines there are, if each is one row with all of its fields, which any reader takes alike; else None."""
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
    # a quoted field becomes a NUL, which must then be a field of its own
    bare = line.str.replace_all(r'"(?:[^"]|"")*"', "\0")
    quoted = rows.filter(line.str.contains('"', literal=True)).select(bare)
    unquoted = rows.filter(~line.str.contains('"', literal=True))
    ragged = line.str.count_matches(",", literal=True) != width - 1
    if unquoted.select(ragged.any()).item():
        return False
    return not quoted.select((ragged | line.str.contains('"|[^,]\\x00|\\x00[^,]')).any()).item()


def _slow(path: Path, names: list[str], spill: Spill) -> RawTable:
    places: list[int] = []
    refused: list[tuple[int, str, str, str]] = []
    spill.add(_frame(names, []))
    for block in batched(_records(path), _CHUNK):
        rows = [(place, fields) for place, fields in block if len(fields) == len(names)]
        spill.add(_frame(names, [fields for _, fields in rows]))
        places += [place for place, _ in rows]
        for place, fields in block:
            if len(fields) != len(names):
                detail = f"{len(fields)} fields, the header has {len(names)}"
                refused.append((place, "ragged_row", detail, json.dumps(fields, ensure_ascii=False)))
    return RawTable.of(path, spill.rows, places, refused)


def _frame(names: list[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [[]] * len(names)
    frame = pl.DataFrame({name: pl.Series(c, dtype=pl.String) for name, c in zip(names, columns, strict=True)})
    return frame.select(_empty_as_null())


def _empty_as_null() -> pl.Expr:
    return pl.when(pl.all() != "").then(pl.all())


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    with _text(path) as file:
        reader = csv.reader(file, strict=True)
        place = -1
        try:
            for fields in reader:
                if fields:
                    place += 1
                    if place:
                        yield place, fields
        except csv.Error as error:
            raise DataError(
                f"{path}: line {reader.line_num} cannot be read ({error})", hint="Mend its quotes."
            ) from error


def _not_utf8(path: Path) -> DataError:
    found = ""
    with _bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                found = f" (byte 0x{line[error.start]:02x} in line {number})"
                break
    return DataError(
        f"{path}: not UTF-8 text{found}",
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
