"""JSON lines read as text: a number is kept as it is written, so a 20-digit id stays exact."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.data.raw import RawFile
from fraud3000.errors import DataError, EmptyDataError

_CHUNK = 50_000
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def read(path: Path) -> RawFile:
    """Read a file of one JSON object per line, plain or gzip, every value as text.

    Missing keys and nulls are null; nested values stay JSON. A line that is no JSON object is
    set apart as ``unreadable_line``.

    Raises
    ------
    DataError
        The file is empty or not UTF-8.
    """
    chunks: list[pl.DataFrame] = []
    places: list[int] = []
    refused: list[tuple[int, str, str, str]] = []
    objects: list[dict[str, Any]] = []
    for place, line in enumerate(_lines(path), start=1):
        content = _parse(line)
        if isinstance(content, str):
            refused.append((place, "unreadable_line", content, json.dumps(line, ensure_ascii=False)))
            continue
        objects.append(content)
        places.append(place)
        if len(objects) == _CHUNK:
            chunks.append(_frame(objects))
            objects = []
    if not places and not refused:
        raise EmptyDataError(f"{path}: an empty file", hint="Export the file again.")
    chunks.append(_frame(objects))
    return RawFile.of(path, pl.concat(chunks, how="diagonal"), places, refused)


def _lines(path: Path) -> Iterator[str]:
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rt", encoding="utf-8-sig") if compressed else path.open(encoding="utf-8-sig") as file:
        try:
            yield from (line.strip() for line in file if line.strip())
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text", hint="Convert the file to UTF-8.") from error


def _parse(line: str) -> dict[str, Any] | str:
    try:
        content = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        return f"not JSON ({error})"
    except RecursionError:
        return "not JSON (nested too deep)"
    if not isinstance(content, dict):
        return f"a {type(content).__name__}, not an object"
    if not content:
        return "an object without any value"
    return "half a character (a lone surrogate)" if "\\ud" in line.lower() and _is_halved(content) else content


def _is_halved(content: dict[str, Any]) -> bool:
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
    """Empty text as null, and what is neither text nor a number as JSON."""
    if not all(value is None or isinstance(value, str) for value in values):
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    text = pl.Series(values, dtype=pl.String)
    return text.set((text == "").fill_null(value=False), None)
