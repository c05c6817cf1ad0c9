"""Check that the open files of the service are still the ones at their paths.

If a folder is deleted, unmounted or replaced, its open database stays writable: commits succeed, but go into a file that
no path leads to. So the identity of each file (device and inode) is compared with that of its path before and after every
commit, and once a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fraud3000.errors import UnavailableError


class StoreFiles:
    """Identities of the files of one open store.

    Parameters
    ----------
    paths
        Existing files; each stays open, so that no other file can take over its inode.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._identities = {os.fspath(path): _identity(path.stat()) for path in paths}

    def require_in_place(self) -> None:
        """Check that each path still leads to the file that was opened.

        Raises
        ------
        UnavailableError
            A file is gone, or another file has taken its path.
        """
        for path, identity in self._identities.items():
            try:
                same = _identity(os.stat(path)) == identity  # noqa: PTH116 - twice as fast, and after every commit
                problem = "was replaced by another file while the service runs"
            except OSError as error:
                same, problem = False, f"was deleted or unmounted while the service runs ({error.strerror})"
            if not same:
                raise UnavailableError(
                    f"{path}: {problem}",
                    hint="Restore the folder or restart the service; requests fail until then.",
                )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
