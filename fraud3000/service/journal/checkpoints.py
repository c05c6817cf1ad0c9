"""Checkpoints: number and seal of the journal's last entry, recorded regularly outside its folder, so that a cut end shows.

Seals bind each entry to those before it, and so cannot show that the last ones are missing. A checkpoint records how many
entries there were at a time, and the last seal; each checkpoint is bound to the one before it under the audit key.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fraud3000.errors import UnavailableError

_START = "0" * 64
_TAIL = 4_096  # bytes that hold the last line


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One line of the file.

    Attributes
    ----------
    store
        Name of the journal.
    at
        UTC, ISO 8601.
    number, seal
        Of the last entry at that time; the number is the count too, since numbers have no gaps.
    mac
        HMAC of the other fields and the mac before, in hexadecimal.
    """

    store: str
    at: str
    number: int
    seal: str
    mac: str

    def is_valid(self, key: bytes, previous_mac: str) -> bool:
        """True if the line is unchanged and follows the line with that mac."""
        return hmac.compare_digest(self.mac, _mac(key, previous_mac, self.store, self.at, self.number, self.seal))


@dataclass(frozen=True)
class CheckpointClaims:
    """Content of the checkpoint file: each line is a lasting claim that its journal had that many entries.

    Attributes
    ----------
    verified
        Valid lines, in order, of every journal that was ever at this path.
    damaged
        Numbers of the other lines, from 1 on.
    """

    verified: tuple[Checkpoint, ...] = ()
    damaged: tuple[int, ...] = ()

    def of_store(self, store: str) -> list[Checkpoint]:
        """Return the valid checkpoints of one journal, in order."""
        return [checkpoint for checkpoint in self.verified if checkpoint.store == store]

    def highest(self) -> dict[str, Checkpoint]:
        """Return the valid checkpoint with the highest number of each journal that was ever at this path."""
        highest: dict[str, Checkpoint] = {}
        for checkpoint in self.verified:
            if checkpoint.store not in highest or checkpoint.number >= highest[checkpoint.store].number:
                highest[checkpoint.store] = checkpoint
        return highest


class CheckpointFile:
    """Append-only file of checkpoints.

    Parameters
    ----------
    path
        May be missing.
    key
        The audit key.
    """

    def __init__(self, path: Path, *, key: bytes = b"") -> None:
        self.path, self._key = path, key

    @property
    def mark(self) -> Path:
        """Path of the journal's high-water mark."""
        return self.path.with_name(f"{self.path.name}.mark")

    def append(self, store: str, end: tuple[int, bytes]) -> Checkpoint | None:
        """Append a checkpoint of the journal's end and flush it; None if the last line already records that end.

        Parameters
        ----------
        end
            Number and seal of the last entry.

        Raises
        ------
        UnavailableError
            The file cannot be written.
        """
        number, seal = end
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                last = _last_complete(file)
                if last is not None and (last.store, last.number, last.seal) == (store, number, seal.hex()):
                    return None
                at = datetime.now(UTC).isoformat(timespec="seconds")
                previous_mac = _START if last is None else last.mac
                mac = _mac(self._key, previous_mac, store, at, number, seal.hex())
                checkpoint = Checkpoint(store, at, number, seal.hex(), mac)
                file.write(_line(checkpoint))
                file.flush()
                os.fsync(file.fileno())
                return checkpoint
        except OSError as error:
            raise UnavailableError(
                f"{self.path}: cannot be written ({error.strerror})",
                hint="Free disk space, or set serve.anchors to another path.",
            ) from error

    def read(self) -> CheckpointClaims:
        """Read and verify every line; a damaged line does not invalidate those after it.

        Each line is verified against the mac of the line before it, as it stands in the file.
        """
        verified, damaged, previous_mac = list[Checkpoint](), list[int](), _START
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                continue  # the last line, whose write was interrupted
            checkpoint = _parse(line)
            if checkpoint is None or not checkpoint.is_valid(self._key, previous_mac):
                damaged.append(number)
            else:
                verified.append(checkpoint)
            previous_mac = _START if checkpoint is None else checkpoint.mac
        return CheckpointClaims(tuple(verified), tuple(damaged))


def _last_complete(file: BinaryIO) -> Checkpoint | None:
    """Return the last complete line's checkpoint, after truncating an incomplete line of an interrupted write."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    complete = tail[: tail.rfind(b"\n") + 1]
    if len(complete) < len(tail):
        file.truncate(size - len(tail) + len(complete))
    lines = complete.splitlines()
    return _parse(lines[-1]) if lines else None


def _line(checkpoint: Checkpoint) -> bytes:
    return json.dumps({name: getattr(checkpoint, name) for name in Checkpoint.__slots__}).encode() + b"\n"


def _parse(line: bytes) -> Checkpoint | None:
    try:
        fields = json.loads(line)
        return Checkpoint(
            str(fields["store"]), str(fields["at"]), int(fields["number"]), str(fields["seal"]), str(fields["mac"])
        )
    except (ValueError, TypeError, KeyError):
        return None


def _mac(key: bytes, previous_mac: str, store: str, at: str, number: int, seal: str) -> str:
    return hmac.digest(key, f"{previous_mac} {store} {at} {number} {seal}".encode(), "sha256").hex()
