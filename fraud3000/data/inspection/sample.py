"""A sample of a raw file: text from its head, middle and tail, so that a file of any size takes the same time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fraud3000.data.inspection import csv_guess
from fraud3000.data.reading import compressed, files, json_reader
from fraud3000.errors import DataError, EmptyDataError
from fraud3000.params import CsvFormat

CHUNK = 2**20
"""Bytes of text that are read at each place."""
ROWS = 20_000
"""Rows that are kept."""


@dataclass(frozen=True)
class Sample:
    """Rows of a raw file.

    Attributes
    ----------
    rows
        The raw columns; of text files, all as text with empty fields null.
    form
        Format of a CSV file, stated or guessed; None for other files.
    ragged
        Number of sampled lines with another number of fields than the header.
    whole
        True if the sample contains every row.
    """

    path: Path
    rows: pl.DataFrame
    form: CsvFormat | None
    ragged: int
    whole: bool


def take(path: Path, folder: Path, form: CsvFormat | None = None) -> Sample:
    """Read a sample of a raw file.

    Parameters
    ----------
    folder
        Where parts of the file are copied.
    form
        Format of a CSV file; guessed if not given.

    Raises
    ------
    DataError
        The file cannot be read, is not a data file, or is empty.
    """
    kind = files.kind(path)
    if kind in {"parquet", "pq"}:
        return _of_parquet(path, folder)
    files.require_known(path)
    try:
        chunks, whole = _chunks(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", hint="Check the file.") from error
    if not any(chunk.strip() for chunk in chunks):
        raise EmptyDataError(f"{path}: the file is empty", hint="Export the file again.")
    if kind in {"jsonl", "ndjson"}:
        return _of_json(path, chunks, folder, whole=whole)
    form = form or csv_guess.guess(chunks)
    rows, ragged = csv_guess.parse(chunks, form)
    return Sample(path, rows.head(ROWS), form, ragged, whole)


def _chunks(path: Path) -> tuple[list[bytes], bool]:
    """Return the bytes at the head, middle and tail, and whether they are the whole file."""
    size = path.stat().st_size
    if compressed.without_ending(path.name) != path.name:
        with compressed.open_bytes(path) as file:
            head = file.read(3 * CHUNK)
            return [head], not file.read(1)
    with path.open("rb") as file:
        if size <= 3 * CHUNK:
            return [file.read()], True
        parts = []
        for start in (0, size // 4 * 2, (size - CHUNK) // 2 * 2):  # even, for UTF-16
            file.seek(start)
            parts.append(file.read(CHUNK))
        return parts, False


def _of_parquet(path: Path, folder: Path) -> Sample:
    table = files.scan(path, folder)
    third = ROWS // 3
    if table.count <= ROWS:
        rows = table.whole().rows
    else:
        starts = (0, (table.count - third) // 2, table.count - third)
        rows = pl.concat([table.slice(start, third).rows for start in starts])
    if not rows.height:
        raise EmptyDataError(f"{path}: no rows, only a schema", hint="Export the file again.")
    return Sample(path, rows, None, 0, table.count <= ROWS)


def _of_json(path: Path, chunks: list[bytes], folder: Path, *, whole: bool) -> Sample:
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "sample.jsonl"
    lines = [
        line for place, chunk in enumerate(chunks) for line in csv_guess.whole_lines(chunk, place, len(chunks), whole)
    ]
    copy.write_bytes(b"\n".join(lines[:ROWS]))
    table = json_reader.scan(copy, folder / "read")
    return Sample(path, table.whole().rows, None, table.refused.height, whole)
