"""Atomic file writes: outputs appear complete or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from fraud3000.errors import UnavailableError
from fraud3000.signals import uninterrupted

_ROW_GROUP = 250_000
_CHUNK = 50_000  # rows passed to the Parquet writer at a time


@contextmanager
def atomic_outputs(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yield a temporary path next to each path; rename all of them into place when the block succeeds.

    A path may be a file or a folder. If the block fails or is interrupted, what was at the paths is
    unchanged and all temporary files are removed.

    Raises
    ------
    UnavailableError
        A path cannot be written, or the disk is full.
    """
    parts = tuple(path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths)
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield parts
        for part, path in zip(parts, paths, strict=True):
            _flush(part)
            _check_kind(part, path)
        with uninterrupted():
            for part, path in zip(parts, paths, strict=True):
                _move(part, path)
    except (OSError, pl.exceptions.ComputeError) as error:
        if isinstance(error, pl.exceptions.ComputeError) and not _is_disk_error(error):
            raise
        raise _unwritable(paths, error) from error
    finally:
        for part in parts:
            _remove(part)


@contextmanager
def scratch_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder on the disk of `path`; it is removed when the block ends.

    Raises
    ------
    UnavailableError
        The folder cannot be written, or the disk is full.
    """
    nearest = next(folder for folder in path.absolute().parents if folder.is_dir())
    folder = nearest / f".{path.name}.{os.getpid()}.rows.part"
    try:
        folder.mkdir()
        yield folder
    except (OSError, pl.exceptions.ComputeError) as error:
        if isinstance(error, pl.exceptions.ComputeError) and not _is_disk_error(error):
            raise
        raise _unwritable((path,), error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_disk_error(error: pl.exceptions.ComputeError) -> bool:
    """Whether the disk failed; at the end of a Parquet file polars does not pass on the system's reason."""
    return any(words in str(error) for words in ("os error", "thrift: transport error"))


def write_parquet(rows: pl.LazyFrame, path: Path) -> None:
    """Write a frame, which may be larger than memory, as Parquet; equal rows give equal bytes."""
    rows.sink_parquet(path, row_group_size=_ROW_GROUP)


def write_pieces(pieces: Iterable[pl.DataFrame], path: Path) -> None:
    """Write one or more frames of the same columns as one Parquet file."""
    chunks = (chunk for piece in pieces for chunk in piece.iter_slices(_CHUNK))
    first = next(chunks)
    rows = register_io_source(lambda *_: chain([first], chunks), schema=first.schema)
    write_parquet(rows, path)


def write(rows: pl.LazyFrame, path: Path, suffix: str) -> None:
    """Write a frame as `.csv` or `.parquet`."""
    rows.sink_csv(path) if suffix == ".csv" else write_parquet(rows, path)


def _unwritable(paths: tuple[Path, ...], error: Exception) -> UnavailableError:
    number = re.search(r"os error (\d+)", str(error))
    reason = getattr(error, "strerror", None) or (os.strerror(int(number[1])) if number else str(error))
    named = ", ".join(str(path) for path in paths)
    return UnavailableError(
        f"{named}: cannot be written ({reason}); existing files are unchanged",
        hint="Free disk space, or choose another folder, and run the command again.",
    )


def _flush(part: Path) -> None:
    for path in [path for path in part.rglob("*") if path.is_file()] if part.is_dir() else [part]:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _check_kind(part: Path, path: Path) -> None:
    """Refuse to replace a folder by a file, or a file by a folder: that would remove more than it writes."""
    if path.exists() and path.is_dir() != part.is_dir():
        raise FileExistsError(errno.EEXIST, f"a {'folder' if path.is_dir() else 'file'} of this name exists")


def _move(part: Path, path: Path) -> None:
    if not path.is_dir():
        part.replace(path)
        return
    backup = part.with_suffix(".old")
    path.replace(backup)
    try:
        part.replace(path)
    except BaseException:
        backup.replace(path)
        raise
    shutil.rmtree(backup)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    elif part.parent.is_dir():
        part.unlink(missing_ok=True)
