"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from fraud3000.errors import UnavailableError


@contextmanager
def whole(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Give a temporary place beside each path; move all of them in when the block ends well.

    A path may be a file or a folder. When the block fails, or is interrupted, nothing that stood
    at the paths has changed and nothing temporary is left.

    Raises
    ------
    UnavailableError
        The place cannot be written, or the disk is full.
    """
    parts = tuple(path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths)
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield parts
        for part in parts:
            _flush(part)
        for part, path in zip(parts, paths, strict=True):
            if path.is_dir():
                shutil.rmtree(path)
            os.replace(part, path)
    except (OSError, pl.exceptions.ComputeError) as error:
        if isinstance(error, pl.exceptions.ComputeError) and "os error" not in str(error):
            raise
        raise _unwritable(paths, error) from error
    finally:
        for part in parts:
            _remove(part)


def _unwritable(paths: tuple[Path, ...], error: Exception) -> UnavailableError:
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    places = ", ".join(str(path) for path in paths)
    return UnavailableError(
        f"{places}: cannot be written ({reason}); what stood there before is unchanged",
        hint="Free space, or write to another place, and run the command again.",
    )


def _flush(part: Path) -> None:
    for path in [part, *part.rglob("*")] if part.is_dir() else [part]:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)
