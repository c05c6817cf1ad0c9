"""One command at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fraud3000.errors import UnavailableError


@contextmanager
def only_one(folder: Path, *, doing: str) -> Iterator[None]:
    """Hold a folder for the block; the lock leaves no file and ends with the process.

    Parameters
    ----------
    doing
        What is done there, in words.

    Raises
    ------
    UnavailableError
        Another process holds it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UnavailableError(
            f"{folder}: cannot be used ({error.strerror})", hint="Check its permissions, or set another workspace."
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UnavailableError(
            f"{folder}: another {doing} is under way", hint="Wait until it is done, then run the command again."
        ) from error
    finally:
        os.close(held)
