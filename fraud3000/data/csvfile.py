"""CSV read as text, so that no id or amount passes through a float.

Polars reads the file and writes it as Parquet, from which slices can be taken; where it cannot
tell rows with too few or too many fields from good ones, the csv module reads it again and those
rows are set apart.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl

from fraud3000.data.raw import RawTable
from fraud3000.data.spill import Spill, batched
from fraud3000.errors import DataError, EmptyDataError, SchemaError

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_AGAIN = "Export the file again."
_CHUNK = 50_000  # lines held in memory at a time


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
    _check_delimiter(path, names)
    repeated = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if repeated:
        listed = ", ".join(f"'{name}'" for name in repeated)
        raise SchemaError(f"{path}: more than one column is named {listed}", hint="Give each column its own name.")
    first = names.index("") if "" in names else -1
    return [name or ("" if place == first else f"column_{place + 1}") for place, name in enumerate(names)]


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
    """Read with polars; None where rows may have too few or too many fields."""
    spooled.parent.mkdir(parents=True, exist_ok=True)
    try:
        pl.scan_csv(path, infer_schema=False, glob=False).sink_parquet(spooled, compression="lz4")
    except pl.exceptions.NoDataError:
        return pl.LazyFrame(schema=dict.fromkeys(names, pl.String()))
    except pl.exceptions.ComputeError as error:
        if "utf-8" in str(error):
            raise _not_utf8(path) from error
        return None
    rows = pl.scan_parquet(spooled, glob=False)
    columns = rows.collect_schema().names()
    if len(columns) != len(names):
        return None
    height, nulls = rows.select(pl.len(), nulls=pl.col(columns[-1]).null_count()).collect().row(0)
    if nulls and _has_short_lines(path, len(names), height):
        return None
    return rows.rename(dict(zip(columns, names, strict=True)))


def _has_short_lines(path: Path, width: int, height: int) -> bool:
    """Whether a line may have too few fields; with quotes only a slow look can tell."""
    count = 0
    with _bytes(path) as file:
        for block in batched(file, _CHUNK):
            lines = pl.read_lines(io.BytesIO(b"".join(block))).to_series()
            count += len(lines)
            short = (lines.str.count_matches(",", literal=True) < width - 1) | lines.str.contains('"', literal=True)
            if short.any():
                return True
    return count != height + 1


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
    frame = pl.DataFrame([pl.Series(name, c, dtype=pl.String) for name, c in zip(names, columns, strict=True)])
    empty_as_null = pl.when(pl.all() != "").then(pl.all())
    return frame.select(empty_as_null)


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
