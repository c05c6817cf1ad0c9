"""One command at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fraud3000.errors import UnavailableError

NAME = ".lock"


@contextmanager
def only_one(folder: Path, *, doing: str, wait: bool = False) -> Iterator[None]:
    """Hold a folder for the block; the lock leaves no file and ends with the process.

    It is of a file that is opened to be written: on a network volume only such a lock holds between machines.

    Parameters
    ----------
    doing
        What is done there, in words.
    wait
        Until another process lets go of it, rather than to be refused.

    Raises
    ------
    UnavailableError
        Another process holds it, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _held(folder / NAME, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UnavailableError(
            f"{folder}: another {doing} is under way", hint="Wait until it is done, then run the command again."
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"{folder}: cannot be used ({error.strerror})", hint="Check its permissions, or set another workspace."
        ) from error
    try:
        yield
    finally:
        (folder / NAME).unlink(missing_ok=True)
        os.close(held)


def _held(path: Path, how: int) -> int:
    """The file, locked: one that was taken away before the lock was had is nobody's, and another is made."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, how)
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
