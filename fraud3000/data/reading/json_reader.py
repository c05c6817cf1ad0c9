"""JSON lines reader: every value as text; numbers keep their spelling, so a 20-digit id stays exact."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data.reading import compressed
from fraud3000.data.reading.raw_table import RawTable
from fraud3000.data.storage.spill import Spill, batched
from fraud3000.errors import DataError, EmptyDataError
from fraud3000.params import CsvFormat

_CHUNK = 50_000


class _RepeatedKeyError(ValueError):
    """A JSON object contains a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = next(key for index, (key, _) in enumerate(pairs) if any(key == other for other, _ in pairs[:index]))
        shown = repeated.encode(errors="replace").decode()  # a lone surrogate cannot be encoded
        raise _RepeatedKeyError(f"the key '{shown}' appears twice in an object")
    return content


_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_object)


def scan(path: Path, spool: Path, _form: CsvFormat | None = None) -> RawTable:
    """Open a file with one JSON object per line, plain or compressed; every value is text.

    Missing keys and nulls are null; nested values stay JSON. A line that is not a JSON object is
    rejected as ``unreadable_line``, an object with a repeated key as ``duplicate_key``.

    Parameters
    ----------
    spool
        Folder in which its rows are written as Parquet.

    Raises
    ------
    DataError
        The file is empty or not UTF-8.
    """
    spill = Spill(spool / "lines")
    row_numbers: list[int] = []
    refused: list[tuple[int, str, str, str]] = []
    for block in batched(enumerate(_lines(path), start=1), _CHUNK):
        objects: list[dict[str, Any]] = []
        for number, line in block:
            content = _parse(line)
            if isinstance(content, dict):
                objects.append(content)
                row_numbers.append(number)
            else:
                reason = "duplicate_key" if isinstance(content, _RepeatedKeyError) else "unreadable_line"
                refused.append((number, reason, str(content), json.dumps(line, ensure_ascii=False)))
        spill.add(_frame(objects))
    if not row_numbers and not refused:
        raise EmptyDataError(f"{path}: the file is empty", hint="Export the file again.")
    return RawTable.from_rows(path, _with_all_keys(spill, spool / "rows.parquet"), row_numbers, refused)


def _with_all_keys(spill: Spill, spooled: Path) -> pl.LazyFrame:
    """All pieces, with the keys of all of them as columns in order of first appearance."""
    if not spill.height:
        return pl.LazyFrame()
    pl.concat(spill.scans(), how="diagonal").sink_parquet(spooled, compression="lz4")
    return pl.scan_parquet(spooled, glob=False)


def _lines(path: Path) -> Iterator[str]:
    with compressed.open_bytes(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        try:
            yield from (line.strip() for line in text if line.strip())
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text", hint="Convert the file to UTF-8.") from error


def _parse(line: str) -> dict[str, Any] | str | _RepeatedKeyError:
    """Parse a line; returns the object, or why the line is rejected."""
    try:
        content = _DECODER.decode(line)
    except _RepeatedKeyError as error:
        return error
    except json.JSONDecodeError as error:
        return f"not JSON ({error})"
    except RecursionError:
        return "not JSON (nested too deeply)"
    if not isinstance(content, dict):
        return f"a {type(content).__name__}, not an object"
    if not content:
        return "an empty object"
    return "not valid Unicode (a lone surrogate)" if "\\ud" in line.lower() and _has_surrogate(content) else content


def _has_surrogate(content: dict[str, Any]) -> bool:
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _frame(objects: list[dict[str, Any]]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for content in objects for name in content))
    columns = {name: [content.get(name) for content in objects] for name in names}
    return pl.DataFrame({name: _as_text(values) for name, values in columns.items()})


def _as_text(values: list[Any]) -> pl.Series:
    """Convert to text: empty text becomes null, booleans and nested values become JSON."""
    if not all(value is None or isinstance(value, str) for value in values):
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    text = pl.Series(values, dtype=pl.String)
    return text.set((text == "").fill_null(value=False), None)
