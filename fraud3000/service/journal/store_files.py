"""Whether the files that the service has open are still the ones at their paths.

A deleted, unmounted or replaced folder leaves an open database writable: commits succeed and reach a file that nobody will
find again. So the identity of each file (device and inode) is compared with its path before and after every commit, and
once a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fraud3000.errors import UnavailableError


class StoreFiles:
    """The files of one open store.

    Parameters
    ----------
    paths
        Must exist; a file keeps its inode while it is open, so no other one can have it.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._identities = {os.fspath(path): _identity(path.stat()) for path in paths}

    def require_in_place(self) -> None:
        """Refuse to go on if one of the files is not the one that was opened.

        Raises
        ------
        UnavailableError
            Naming the file, and whether it is gone or another one.
        """
        for path, identity in self._identities.items():
            try:
                same = _identity(os.stat(path)) == identity  # noqa: PTH116 - twice as fast, and after every commit
                problem = "another file lies there than the one that is open"
            except OSError as error:
                same, problem = False, f"the file that is open is no longer there ({error.strerror})"
            if not same:
                raise UnavailableError(
                    f"{path}: {problem}",
                    hint="Put the folder back as it was, or restart the service; nothing is answered meanwhile.",
                )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
