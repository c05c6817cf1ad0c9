"""CSV reader: every column as text, so that no id or amount passes through a float.

Polars reads a file in which each line is a row with all of its fields, and writes it as Parquet, from
which slices can be read. The csv module reads every other file: with line breaks in quotes, blank
lines, or rows with too few or too many fields, which are rejected. A file in another encoding, or with
lines that are no rows, is copied first.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO

import polars as pl

from fraud3000.data.reading import compressed
from fraud3000.data.reading.columns import normalised
from fraud3000.data.reading.raw_table import RawTable
from fraud3000.data.storage.spill import Spill, batched
from fraud3000.errors import DataError, EmptyDataError, SchemaError
from fraud3000.params import CsvFormat

DEFAULT = CsvFormat()
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_EXPORT_AGAIN = "Export the file again."
_NOTE = re.compile(r"sep=[,;|\t ]?", re.IGNORECASE)
_LINES_ABOVE_HEADER = 30  # lines searched for a header below the first line
_CHUNK = 50_000  # lines held in memory at a time by the csv module
_BLOCK = 2**24  # bytes checked at a time


@dataclass(frozen=True)
class _Source:
    """A CSV file in UTF-8 whose first line that is not blank is the header.

    Attributes
    ----------
    path
        The file as the user knows it, for messages.
    content
        The file to read: `path`, or a copy in UTF-8 without the lines that are no rows.
    """

    path: Path
    content: Path
    form: CsvFormat

    @contextmanager
    def bytes(self) -> Iterator[IO[bytes]]:
        with compressed.open_bytes(self.content) as file:
            yield file

    @contextmanager
    def text(self) -> Iterator[io.TextIOWrapper]:
        with self.bytes() as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            yield text

    def reader(self, file: io.TextIOWrapper, *, strict: bool = False) -> Iterator[list[str]]:
        """Return the csv module's reader of this format; it has the attribute `line_num`."""
        form = self.form
        if not form.quote:
            return csv.reader(file, delimiter=form.separator, quoting=csv.QUOTE_NONE, strict=strict)
        return csv.reader(file, delimiter=form.separator, quotechar=form.quote, strict=strict)


def scan(path: Path, spool: Path, form: CsvFormat = DEFAULT) -> RawTable:
    """Open a CSV file, plain or compressed; every column is text, empty fields are null.

    Parameters
    ----------
    spool
        Folder in which its rows are written as Parquet.
    form
        Separator, encoding, quotes, and the lines that are no rows.

    Raises
    ------
    DataError
        The file is empty, has another encoding or separator, or an unbalanced quote.
    SchemaError
        Two columns have the same name.
    """
    source = _Source(path, path, form)
    try:
        source = replace(source, content=_plain_copy(path, form, spool) or path)
        names = _header(source)
        rows = _fast(source, names, spool / "fast.parquet")
        return _slow(source, names, Spill(spool / "slow")) if rows is None else RawTable.from_rows(path, rows)
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, form) from error
    except UnicodeError as error:  # UTF-16 without a byte order mark, or cut in the middle of a character
        raise DataError(
            f"{path}: not {form.encoding} text ({error})", hint="Set prepare.csv.encoding to the file's encoding."
        ) from error


def _plain_copy(path: Path, form: CsvFormat, spool: Path) -> Path | None:
    """Write a copy in UTF-8 that begins with the header and ends with the last row; None if the file is so already."""
    header_here = form.header and not form.skip and not form.comment and not form.footer
    if form.encoding == "utf-8" and header_here and not compressed.only_python_opens(path):
        return None
    spool.mkdir(parents=True, exist_ok=True)
    copy = spool / "plain.csv"
    encoding = "utf-8-sig" if form.encoding == "utf-8" else form.encoding
    with (
        compressed.open_bytes(path) as file,
        io.TextIOWrapper(file, encoding=encoding, newline="") as text,
        copy.open("w", encoding="utf-8", newline="") as output,
    ):
        output.writelines(_rows_only(text, form))
    return copy


def _rows_only(lines: Iterable[str], form: CsvFormat) -> Iterator[str]:
    """Yield the header and the rows: without skipped lines, comments and footer; with a header if the file has none."""
    lines = islice(lines, form.skip, None)
    if form.comment:
        lines = (line for line in lines if not line.startswith(form.comment))
    if not form.header:
        lines = iter(lines)
        first = next(lines, "")
        width = len(next(csv.reader([first], delimiter=form.separator), []))
        names = form.names or tuple(f"column_{number}" for number in range(1, width + 1))
        yield form.separator.join(names) + "\n"
        lines = chain([first], lines) if first else iter(())
    last: deque[str] = deque()
    for line in lines:
        last.append(line)
        if len(last) > form.footer:
            yield last.popleft()


def header(path: Path, form: CsvFormat = DEFAULT) -> list[str]:
    """Read the column names of a CSV file that needs no copy to be read."""
    return _header(_Source(path, path, form))


def _header(source: _Source) -> list[str]:
    path = source.path
    with source.text() as file:
        try:
            names = next((row for row in source.reader(file) if row), None)
        except csv.Error as error:
            raise DataError(f"{path}: the header cannot be read ({error})", hint=_EXPORT_AGAIN) from error
    if names is None:
        raise EmptyDataError(f"{path}: the file is empty", hint=_EXPORT_AGAIN)
    _check_note(path, names, source.form.separator)
    _check_separator(path, names, source.form.separator)
    repeated = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if repeated:
        listed = ", ".join(f"'{name}'" for name in repeated)
        raise SchemaError(f"{path}: more than one column is named {listed}", hint="Give each column a different name.")
    first = names.index("") if "" in names else -1
    return [name or ("" if index == first else f"column_{index + 1}") for index, name in enumerate(names)]


def _check_note(path: Path, names: list[str], separator: str) -> None:
    """Refuse a first line such as sep=; in which spreadsheets state the separator."""
    line = separator.join(names)
    if _NOTE.fullmatch(line):
        raise SchemaError(
            f"{path}: line 1 is '{line}', a note for spreadsheets, and the header seems to be in line 2",
            hint=f"Set prepare.csv to {{skip: 1, separator: '{line[4:] or separator}'}}, or remove line 1.",
        )


def header_below(path: Path, names: Collection[str], form: CsvFormat = DEFAULT) -> int | None:
    """The number of the line that looks like the header, if the header is below the first line; otherwise None.

    Parameters
    ----------
    names
        Names of the expected columns, as in the file or normalised.
    """
    source = _Source(path, path, form)
    with suppress(UnicodeError), source.text() as file:
        reader = source.reader(file)
        first = _count_names(next(reader, []), names)
        with suppress(csv.Error):
            for fields in islice(reader, _LINES_ABOVE_HEADER):
                count = _count_names(fields, names)
                if count > first and 2 * count >= len(names):
                    return int(reader.line_num)  # type: ignore[attr-defined]
    return None


def _count_names(fields: list[str], names: Collection[str]) -> int:
    """How many of the expected column names a line contains."""
    present = {name.strip().lower() for name in fields} | {name.lower() for name in normalised(fields).values()}
    return sum(name.strip().lower() in present for name in names)


def _check_separator(path: Path, names: list[str], separator: str) -> None:
    if len(names) > 1:
        return
    for sign, word in _SEPARATORS.items():
        count = names[0].count(sign)
        if count and sign != separator:
            written = "\\t" if sign == "\t" else sign
            raise DataError(
                f"{path}: separated by {word}, not by {_SEPARATORS.get(separator, repr(separator))}"
                f" (its header has {count} of them, and it is one column)",
                hint=f'Set prepare.csv.separator to "{written}".',
            )


def _fast(source: _Source, names: list[str], spooled: Path) -> pl.LazyFrame | None:
    """Read with polars; None if polars might read a line differently from the csv module."""
    lines = _plain_lines(source, len(names))
    if lines is None:
        return None
    spooled.parent.mkdir(parents=True, exist_ok=True)
    form = source.form
    try:
        read = pl.scan_csv(
            source.content, infer_schema=False, glob=False, separator=form.separator, quote_char=form.quote or None
        )
        read.select(_empty_as_null()).sink_parquet(spooled, compression="lz4")
    except pl.exceptions.NoDataError:
        return pl.LazyFrame(schema=dict.fromkeys(names, pl.String()))
    except pl.exceptions.ComputeError as error:
        if "utf-8" in str(error):
            raise _wrong_encoding(source.path, form) from error
        return None
    rows = pl.scan_parquet(spooled, glob=False)
    columns = rows.collect_schema().names()
    if len(columns) != len(names) or rows.select(pl.len()).collect().item() != lines - 1:
        return None
    return rows.rename(dict(zip(columns, names, strict=True)))


def _plain_lines(source: _Source, width: int) -> int | None:
    """The number of lines, if each line is one complete row that every reader reads alike; otherwise None."""
    count = 0
    with source.bytes() as file:
        while block := file.read(_BLOCK):
            lines = _lines(block + file.readline())
            if lines is None or not _are_plain(lines, width, source.form):
                return None
            count += len(lines)
    return count


def _lines(block: bytes) -> pl.Series | None:
    try:
        return pl.read_lines(io.BytesIO(block)).to_series()
    except pl.exceptions.ComputeError:  # not UTF-8
        return None


def _are_plain(lines: pl.Series, width: int, form: CsvFormat) -> bool:
    line = pl.col("line")
    rows = lines.alias("line").to_frame()
    odd = (line == "") | line.str.contains(r"[\r\x00]") | (line.str.len_bytes() > csv.field_size_limit())
    if rows.select(odd.any()).item():
        return False
    ragged = line.str.count_matches(form.separator, literal=True) != width - 1
    if not form.quote:
        return not rows.select(ragged.any()).item()
    quote, separator = re.escape(form.quote), re.escape(form.separator)
    # each quoted part is replaced by NUL, which must then fill a whole field
    bare = line.str.replace_all(rf"{quote}(?:[^{quote}]|{quote}{quote})*{quote}", "\0")
    quoted = rows.filter(line.str.contains(form.quote, literal=True)).select(bare)
    unquoted = rows.filter(~line.str.contains(form.quote, literal=True))
    if unquoted.select(ragged.any()).item():
        return False
    beside = rf"{quote}|[^{separator}]\x00|\x00[^{separator}]"
    return not quoted.select((ragged | line.str.contains(beside)).any()).item()


def _slow(source: _Source, names: list[str], spill: Spill) -> RawTable:
    row_numbers: list[int] = []
    refused: list[tuple[int, str, str, str]] = []
    spill.add(_frame(names, []))
    for block in batched(_records(source), _CHUNK):
        rows = [(number, fields) for number, fields in block if len(fields) == len(names)]
        spill.add(_frame(names, [fields for _, fields in rows]))
        row_numbers += [number for number, _ in rows]
        for number, fields in block:
            if len(fields) != len(names):
                detail = f"{len(fields)} fields, the header has {len(names)}"
                refused.append((number, "ragged_row", detail, json.dumps(fields, ensure_ascii=False)))
    return RawTable.from_rows(source.path, spill.rows, row_numbers, refused)


def _frame(names: list[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [[]] * len(names)
    frame = pl.DataFrame({name: pl.Series(c, dtype=pl.String) for name, c in zip(names, columns, strict=True)})
    return frame.select(_empty_as_null())


def _empty_as_null() -> pl.Expr:
    return pl.when(pl.all() != "").then(pl.all())


def _records(source: _Source) -> Iterator[tuple[int, list[str]]]:
    with source.text() as file:
        reader = source.reader(file, strict=True)
        number = -1  # the header becomes 0, the first row 1
        try:
            for fields in reader:
                if fields:
                    number += 1
                    if number:
                        yield number, fields
        except csv.Error as error:
            line = int(reader.line_num) + source.form.skip  # type: ignore[attr-defined]
            raise DataError(
                f"{source.path}: line {line} cannot be read ({error})",
                hint="Correct the quotes in that line, or set prepare.csv.quote.",
            ) from error


def _wrong_encoding(path: Path, form: CsvFormat) -> DataError:
    detail = ""
    with suppress(LookupError), compressed.open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(form.encoding)
            except UnicodeDecodeError as error:
                detail = f" (byte 0x{line[error.start]:02x} in line {number})"
                break
    return DataError(
        f"{path}: not {form.encoding.upper()} text{detail}",
        hint="Set prepare.csv.encoding to the file's encoding: cp1252 (Windows), latin-1 or utf-16.",
    )
