"""Raw files found and opened: CSV and JSON lines wholly as text, Parquet in its own types."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

import polars as pl
import polars.selectors as cs

from fraud3000.data.reading import csv_reader, json_reader
from fraud3000.data.reading.raw_table import DataFile, RawFile, RawTable
from fraud3000.errors import DataError, FraudError, SchemaError

_READERS: dict[str, Callable[[Path, Path], RawTable]] = {}
_KINDS = "CSV (.csv, .csv.gz), Parquet (.parquet) or JSON lines (.jsonl, .ndjson, also .gz)"
GLOB = "*?["
_MOST_DIGITS = 38  # of a decimal, as polars holds it


def discover(location: str) -> list[Path]:
    """Find the data files that a file name, glob or folder stands for, in the order of their names.

    A folder is searched with its subfolders; hidden files and names beginning with ``_`` are left out.

    Raises
    ------
    DataError
        There is no such file, or no data file in the folder.

    Examples
    --------
    >>> discover("nowhere/*.csv")
    Traceback (most recent call last):
    fraud3000.errors.DataError: nowhere/*.csv: no file matches
    Hint: Check the path; it may name a file, a glob or a folder.
    """
    place = Path(location)
    if place.is_dir():
        found = sorted(path for path in place.rglob("*") if path.is_file() and is_data(path.relative_to(place)))
        if not found:
            raise DataError(f"{location}: a folder without data files", hint=f"Put {_KINDS} into it.")
        return found
    if place.is_file():
        return [place]
    if any(sign in location for sign in GLOB):
        found = sorted(path for path in _matches(place) if path.is_file())
        if found:
            return found
        raise DataError(f"{location}: no file matches", hint="Check the path; it may name a file, a glob or a folder.")
    raise DataError(f"{location}: no such file", hint="Check the path; it may name a file, a glob or a folder.")


def read(file: DataFile | Path) -> RawFile:
    """Read a raw file at once, as `scan` opens it."""
    with tempfile.TemporaryDirectory() as place:
        return scan(file, Path(place)).whole()


def scan(file: DataFile | Path, spool: Path) -> RawTable:
    """Open a raw file; messages and rows name it as the user does.

    Parameters
    ----------
    spool
        A new folder's place: text is written there once, as Parquet, to be read in slices.

    Raises
    ------
    DataError
        It cannot be read, is no data file, or has no content at all.
    """
    path = file if isinstance(file, Path) else file.path
    with named(path, str(file)):
        return replace(_scan(path, spool), name=str(file))


@contextmanager
def named(path: Path, name: str) -> Iterator[None]:
    """Let errors speak of a file by the name that the user knows it by."""
    try:
        yield
    except FraudError as error:
        error.message = error.message.replace(str(path), name)
        raise


def _scan(path: Path, spool: Path) -> RawTable:
    reader = _READERS.get(kind(path))
    if reader is None:
        raise DataError(f"{path}: '{path.suffix}' is no format that is read here", hint=f"Give {_KINDS}.")
    try:
        return reader(path, spool)
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})", hint="Copy or export the file again.") from error
    except OSError as error:
        if error.errno is None:  # not the system's: polars found that the content breaks off
            raise DataError(f"{path}: not a whole file ({error})", hint="Copy or export the file again.") from error
        reason = error.strerror or str(error)
        raise DataError(f"{path}: cannot be read ({reason})", hint="Check the file and its permissions.") from error


def kind(path: PurePath) -> str:
    """The format that a file's name tells, without compression: ``csv``, ``parquet``, ``jsonl`` or other.

    Examples
    --------
    >>> kind(Path("a/B.CSV.gz")), kind(Path("part-0.parquet"))
    ('csv', 'parquet')
    """
    name = path.name.lower().removesuffix(".gz") if not path.name.lower().endswith(".parquet.gz") else path.name.lower()
    return name.rpartition(".")[2]


def stem(path: PurePath) -> str:
    """A data file's name without what tells its format and compression.

    Examples
    --------
    >>> stem(Path("a/march.2024.csv.gz")), stem(Path("b.parquet"))
    ('march.2024', 'b')
    """
    ends = [f".{kind}{compressed}" for kind in _READERS for compressed in (".gz", "")]
    end = next((end for end in ends if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(end)] or path.name


def is_data(inside: PurePath) -> bool:
    """Whether a file is taken from a folder that is searched, by its path inside the folder.

    Examples
    --------
    >>> is_data(PurePath("2026/march.csv")), is_data(PurePath(".old/march.csv")), is_data(PurePath("notes.md"))
    (True, False, False)
    """
    hidden = any(part.startswith((".", "_")) for part in inside.parts)
    return not hidden and kind(inside) in _READERS


def check_header(table: RawTable | RawFile, missing: Sequence[str]) -> None:
    """Refuse a CSV file whose header is not its first line, by the columns that its first line lacks.

    Raises
    ------
    SchemaError
        Naming the line that the header seems to be in.
    """
    line = csv_reader.header_below(table.path, missing) if missing and kind(table.path) == "csv" else None
    if line is not None:
        raise SchemaError(
            f"{table.name}: the header seems to be in line {line}, not in the first",
            hint="Remove the lines above it.",
        )


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes as they lie, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan_parquet(path: Path, _spool: Path) -> RawTable:
    """Open a Parquet file with the types it declares, categories as text, extension types as what they store."""
    try:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = rows.collect_schema()
        _check_decimals(path, schema)
        extended = [name for name, kind in schema.items() if isinstance(kind, pl.BaseExtension)]
        rows = rows.with_columns(pl.col(extended).ext.storage()) if extended else rows
        return RawTable.of(path, rows.with_columns(cs.categorical().cast(pl.String), cs.enum().cast(pl.String)))
    except pl.exceptions.PanicException as error:  # polars aborts at a time zone that it does not know
        raise SchemaError(
            f"{path}: a column has a type that cannot be read ({str(error).splitlines()[0]})",
            hint="Leave the column out of the file, or export it in another type.",
        ) from error
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}: not a whole Parquet file ({str(error).splitlines()[0]})", hint="Copy or export the file again."
        ) from error


def _check_decimals(path: Path, schema: pl.Schema) -> None:
    wide = [name for name, kind in schema.items() if isinstance(kind, pl.Decimal) and kind.precision > _MOST_DIGITS]
    if wide:
        told = ", ".join(f"column '{name}' is {schema[name]}" for name in wide)
        raise SchemaError(
            f"{path}: {told}, and decimals are read up to {_MOST_DIGITS} digits",
            hint="Export it with fewer digits or as text, or leave the column out of the file.",
        )


def _matches(pattern: Path) -> list[Path]:
    root = Path(pattern.anchor) if pattern.is_absolute() else Path()
    return list(root.glob(str(pattern.relative_to(pattern.anchor))))


_READERS.update(
    csv=csv_reader.scan,
    parquet=scan_parquet,
    pq=scan_parquet,
    jsonl=json_reader.scan,
    ndjson=json_reader.scan,
)
