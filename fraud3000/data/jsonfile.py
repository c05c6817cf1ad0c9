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
    objects: list[dict[str, str | None]] = []
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


def _parse(line: str) -> dict[str, str | None] | str:
    try:
        content = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"not JSON ({error})" if isinstance(error, json.JSONDecodeError) else "not JSON (nested too deep)"
    if not isinstance(content, dict):
        return f"a {type(content).__name__}, not an object"
    values = {key: _text(value) for key, value in content.items()}
    return "half a character (a lone surrogate)" if "\\ud" in line.lower() and _is_halved(values) else values


def _is_halved(values: dict[str, str | None]) -> bool:
    try:
        "".join([*values, *filter(None, values.values())]).encode()
    except UnicodeEncodeError:
        return True
    return False


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value)


def _frame(objects: list[dict[str, str | None]]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for content in objects for name in content))
    return pl.DataFrame({name: pl.Series([row.get(name) for row in objects], dtype=pl.String) for name in names})
