"""Find and open raw files: CSV and JSON lines as text, Parquet with its own types."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

import polars as pl
import polars.selectors as cs

from fraud3000.data.reading import compressed, csv_reader, json_reader
from fraud3000.data.reading.raw_table import DataFile, RawFile, RawTable
from fraud3000.errors import DataError, FraudError, SchemaError
from fraud3000.params import CsvFormat

_READERS: dict[str, Callable[[Path, Path, CsvFormat], RawTable]] = {}
_KINDS = (
    "CSV (.csv, .tsv, .txt), Parquet (.parquet) or JSON lines (.jsonl, .ndjson), text also as .gz, .bz2, .zst or .zip"
)
GLOB = "*?["
_MOST_DIGITS = 38  # of a decimal in polars


def discover(location: str) -> list[Path]:
    """Find the data files of a file name, glob or folder, in the order of their names.

    A folder is searched with its subfolders; hidden files and names that begin with ``_`` are left out.

    Raises
    ------
    DataError
        No file matches, or the folder contains no data file.

    Examples
    --------
    >>> discover("nowhere/*.csv")
    Traceback (most recent call last):
    fraud3000.errors.DataError: nowhere/*.csv: no file matches
    Hint: Check the path; it may name a file, a glob or a folder.
    """
    root = Path(location)
    if root.is_dir():
        paths = sorted(path for path in root.rglob("*") if path.is_file() and is_data(path.relative_to(root)))
        if not paths:
            raise DataError(f"{location}: a folder without data files", hint=f"Put {_KINDS} into it.")
        return paths
    if root.is_file():
        return [root]
    if any(wildcard in location for wildcard in GLOB):
        paths = sorted(path for path in _matches(root) if path.is_file())
        if paths:
            return paths
        raise DataError(f"{location}: no file matches", hint="Check the path; it may name a file, a glob or a folder.")
    raise DataError(f"{location}: no such file", hint="Check the path; it may name a file, a glob or a folder.")


def read(file: DataFile | Path, form: CsvFormat = csv_reader.DEFAULT) -> RawFile:
    """Read a whole raw file into memory, as `scan` opens it."""
    with tempfile.TemporaryDirectory() as folder:
        return scan(file, Path(folder), form).whole()


def scan(file: DataFile | Path, spool: Path, form: CsvFormat = csv_reader.DEFAULT) -> RawTable:
    """Open a raw file; messages and rows use the name that the user knows it by.

    Parameters
    ----------
    spool
        Path of a new folder, in which text files are written as Parquet to be read in slices.
    form
        Format of a CSV file; other files ignore it.

    Raises
    ------
    DataError
        The file cannot be read, is not a data file, or is empty.
    """
    path = file if isinstance(file, Path) else file.path
    with _rename_in_errors(path, str(file)):
        return replace(_scan(path, spool, form), name=str(file))


@contextmanager
def _rename_in_errors(path: Path, name: str) -> Iterator[None]:
    """Replace the path in error messages by the name that the user knows the file by."""
    try:
        yield
    except FraudError as error:
        error.message = error.message.replace(str(path), name)
        raise


def require_known(path: Path) -> None:
    """Raise an error if files of this type are not read.

    Raises
    ------
    DataError
        Names the types that are.
    """
    if kind(path) not in _READERS:
        raise DataError(f"{path}: files of type '{path.suffix}' are not supported", hint=f"Provide {_KINDS}.")


def _scan(path: Path, spool: Path, form: CsvFormat) -> RawTable:
    require_known(path)
    reader = _READERS[kind(path)]
    try:
        return reader(path, spool, form)
    except compressed.ERRORS as error:
        raise DataError(
            f"{path}: incomplete {compressed.NAMES.get(path.suffix.lower(), '')} file ({error})",
            hint="Copy or export the file again.",
        ) from error
    except OSError as error:
        if error.errno is None:  # raised by polars, not by the system: the content is truncated
            raise DataError(f"{path}: incomplete file ({error})", hint="Copy or export the file again.") from error
        reason = error.strerror or str(error)
        raise DataError(f"{path}: cannot be read ({reason})", hint="Check the file and its permissions.") from error


def kind(path: PurePath) -> str:
    """The format by a file's name, without compression: ``csv``, ``parquet``, ``jsonl`` or another ending.

    Examples
    --------
    >>> kind(Path("a/B.CSV.gz")), kind(Path("part-0.parquet")), kind(Path("export.zip"))
    ('csv', 'parquet', 'csv')
    """
    name = path.name.lower()
    bare = compressed.without_ending(name)
    if bare.endswith((".parquet", ".pq")) and bare != name:
        return name.rpartition(".")[2]  # Parquet is compressed inside
    ending = bare.rpartition(".")[2]
    return "csv" if bare != name and ending not in _READERS else ending


def stem(path: PurePath) -> str:
    """A data file's name without the endings for format and compression.

    Examples
    --------
    >>> stem(Path("a/march.2024.csv.gz")), stem(Path("b.parquet"))
    ('march.2024', 'b')
    """
    bare = compressed.without_ending(path.name)
    before, _, ending = bare.rpartition(".")
    return (before if ending.lower() in _READERS else bare) or path.name


def is_data(inside: PurePath) -> bool:
    """Whether a search of a folder includes a file, by its path inside the folder; notes in .txt are not data.

    Examples
    --------
    >>> is_data(PurePath("2026/march.csv")), is_data(PurePath(".old/march.csv")), is_data(PurePath("notes.md"))
    (True, False, False)
    """
    hidden = any(part.startswith((".", "_")) for part in inside.parts)
    return not hidden and kind(inside) in _READERS.keys() - {"txt"}


def check_header(table: RawTable | RawFile, missing: Sequence[str], form: CsvFormat = csv_reader.DEFAULT) -> None:
    """Refuse a CSV file whose header is below its first line; looks for the columns that the first line lacks.

    Raises
    ------
    SchemaError
        Names the line that looks like the header.
    """
    line = (
        csv_reader.header_below(table.path, missing, form)
        if missing and _READERS.get(kind(table.path)) is csv_reader.scan
        else None
    )
    if line is not None:
        raise SchemaError(
            f"{table.name}: the header seems to be in line {line}, not in line 1",
            hint=f"Set prepare.csv.skip to {line - 1}, the number of lines above the header.",
        )


def scan_parquet(path: Path, _spool: Path, _form: CsvFormat = csv_reader.DEFAULT) -> RawTable:
    """Open a Parquet file with its declared types, categories as text, extension types as their storage types."""
    try:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = rows.collect_schema()
        _check_decimals(path, schema)
        extended = [name for name, kind in schema.items() if isinstance(kind, pl.BaseExtension)]
        rows = rows.with_columns(pl.col(extended).ext.storage()) if extended else rows
        return RawTable.from_rows(path, rows.with_columns(cs.categorical().cast(pl.String), cs.enum().cast(pl.String)))
    except pl.exceptions.PanicException as error:  # polars panics at an unknown time zone
        raise SchemaError(
            f"{path}: a column has a type that cannot be read ({str(error).splitlines()[0]})",
            hint="Leave the column out of the file, or export it in another type.",
        ) from error
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}: incomplete Parquet file ({str(error).splitlines()[0]})", hint="Copy or export the file again."
        ) from error


def _check_decimals(path: Path, schema: pl.Schema) -> None:
    wide = [name for name, kind in schema.items() if isinstance(kind, pl.Decimal) and kind.precision > _MOST_DIGITS]
    if wide:
        listed = ", ".join(f"column '{name}' is {schema[name]}" for name in wide)
        raise SchemaError(
            f"{path}: {listed}; decimals of up to {_MOST_DIGITS} digits are supported",
            hint="Export it with fewer digits or as text, or leave the column out of the file.",
        )


def _matches(pattern: Path) -> list[Path]:
    root = Path(pattern.anchor) if pattern.is_absolute() else Path()
    return list(root.glob(str(pattern.relative_to(pattern.anchor))))


_READERS.update(
    csv=csv_reader.scan,
    tsv=csv_reader.scan,
    txt=csv_reader.scan,
    parquet=scan_parquet,
    pq=scan_parquet,
    jsonl=json_reader.scan,
    ndjson=json_reader.scan,
)
