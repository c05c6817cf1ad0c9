"""Open compressed files as streams of bytes: gzip, bzip2, Zstandard, and zip archives of one file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any

from fraud3000.errors import DataError, SchemaError

NAMES = {".gz": "gzip", ".bz2": "bzip2", ".zst": "Zstandard", ".zip": "zip"}
"""Kinds of compression, by the ending of a file's name."""

ERRORS = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, lzma.LZMAError)
"""What reading a damaged archive raises, beside OSError."""


def without_ending(name: str) -> str:
    """A file's name without the ending for compression.

    Examples
    --------
    >>> without_ending("march.csv.gz"), without_ending("march.csv")
    ('march.csv', 'march.csv')
    """
    ending = next((ending for ending in NAMES if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def only_python_opens(path: PurePath) -> bool:
    """Whether polars cannot read the file without a copy."""
    return path.name.lower().endswith((".bz2", ".zst", ".zip"))


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, and decompress it by the ending of its name.

    Raises
    ------
    SchemaError
        A zip archive does not contain exactly one file, or is encrypted.
    """
    name = path.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive, archive.open(_only_member(path, archive)) as file:
            yield file
    else:
        with _stream(path, name) as file:
            yield file


def _stream(path: Path, name: str) -> Any:
    if name.endswith(".gz"):
        return gzip.open(path, "rb")
    if name.endswith(".bz2"):
        return bz2.open(path, "rb")
    if name.endswith(".zst"):
        try:
            import pyarrow as pa
        except ModuleNotFoundError as error:
            raise DataError(f"{path}: Zstandard files need pyarrow", hint="Install pyarrow, or use .gz.") from error
        return pa.input_stream(str(path), compression="zstd")
    return path.open("rb")


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise SchemaError(
            f"{path}: an archive of {len(members):,} files, not of one", hint="Unpack it, and name its folder."
        )
    if members[0].flag_bits & 1:
        raise SchemaError(f"{path}: the archive is encrypted", hint="Unpack it.")
    return members[0]
