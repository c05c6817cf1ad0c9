"""Exclusive lock on a folder, so that only one command works in it at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fraud3000.errors import UnavailableError

NAME = ".lock"


@contextmanager
def exclusive_lock(folder: Path, *, operation: str, wait: bool = False) -> Iterator[None]:
    """Lock a folder during the block; the lock leaves no file and ends with the process.

    The lock file is opened for writing: on a network volume, only such a lock is shared between machines.

    Parameters
    ----------
    operation
        What the command does in the folder, such as "promotion"; error messages name it.
    wait
        Wait until another process releases the lock instead of raising an error.

    Raises
    ------
    UnavailableError
        Another process holds the lock, or the folder cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _open_locked(folder / NAME, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UnavailableError(
            f"{folder}: another {operation} is running", hint="Wait until it has finished, then run the command again."
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"{folder}: cannot be used ({error.strerror})", hint="Check its permissions, or set another workspace."
        ) from error
    try:
        yield
    finally:
        (folder / NAME).unlink(missing_ok=True)
        os.close(lock)


def _open_locked(path: Path, mode: int) -> int:
    """Open and lock the file; try again if its last owner removed it before it was locked here."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, mode)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
