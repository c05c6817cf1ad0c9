"""High-water mark: number and seal of the last acknowledged entry, in a small file of its own.

SQLite drops the end of its write-ahead log without an error if a frame of it is damaged, and a file can be cut, deleted
or replaced by an older copy. The mark is written after every commit and before the response, so a journal that ends before
its mark has lost entries. It is not flushed to the disk on its own: after a loss of power it may lag behind the journal,
which is harmless, but it is never ahead of it.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fraud3000.errors import UnavailableError
from fraud3000.service.journal.interface import Flush

_BYTES = 512  # file size: one line of JSON, padded, so that one write replaces all of it


@cache
def _boot() -> str:
    """Return the id of this boot of this machine; empty if the system has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Content of the file.

    Attributes
    ----------
    store
        Name of the journal.
    number, seal
        Of its last acknowledged entry.
    flush
        How the journal was flushed to the disk.
    boot
        Id of the boot of the machine that wrote it.
    """

    store: str
    number: int
    seal: bytes
    flush: Flush = "full"
    boot: str = field(default_factory=_boot)

    @property
    def binding(self) -> bool:
        """True if the journal must have the entry: after a reboot, entries that were not flushed may be lost."""
        return self.flush == "full" or self.boot == _boot()


class HighWaterMark:
    """File of the high-water mark of one journal.

    Parameters
    ----------
    path
        Created by the first `write`.
    key
        The audit key, for the file's MAC.
    """

    def __init__(self, path: Path, *, key: bytes = b"") -> None:
        self.path, self._key = path, key
        self._descriptor: int | None = None

    def read(self) -> Mark | None:
        """Read the mark; None if there is no file, or if it was altered."""
        try:
            fields = json.loads(self.path.read_bytes())
            seal = bytes.fromhex(fields["seal"])
            mark = Mark(str(fields["store"]), int(fields["number"]), seal, fields["flush"], str(fields["boot"]))
            mac = self._mac(mark.store, mark.number, mark.seal.hex(), mark.flush, mark.boot)
            return mark if hmac.compare_digest(str(fields["mac"]), mac) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def altered(self) -> bool:
        """True if the file exists and its content does not match its MAC."""
        return self.path.exists() and self.read() is None

    def write(self, store: str, number: int, seal: bytes, *, flush: Flush = "full", durable: bool = False) -> None:
        """Overwrite the mark by one system call; wait for the disk if `durable`.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        hexadecimal, boot = seal.hex(), _boot()
        mac = self._mac(store, number, hexadecimal, flush, boot)
        line = (
            f'{{"store": "{store}", "number": {number}, "seal": "{hexadecimal}", '
            f'"flush": "{flush}", "boot": "{boot}", "mac": "{mac}"}}'
        )
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, line.encode().ljust(_BYTES - 1) + b"\n", 0)
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            raise UnavailableError(
                f"{self.path}: cannot be written ({error.strerror})", hint="Free disk space, then retry."
            ) from error

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _mac(self, store: str, number: int, seal: str, flush: str, boot: str) -> str:
        text = f"high-water mark {store} {number} {seal} {flush} {boot}"
        return hmac.digest(self._key, text.encode(), "sha256").hex()
