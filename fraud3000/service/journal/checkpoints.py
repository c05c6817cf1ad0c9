"""Anchors: the journal's head, told again and again outside its folder, so that a cut tail shows.

Seals bind each entry to those before it, and so cannot tell that the last ones are gone. An anchor says how many entries
there were at a time and what the last seal was; each is bound to the one before under the audit key.
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
        Which journal it is of.
    at
        UTC, ISO 8601.
    number, seal
        Of the last entry then; the number is the count too, since there are no gaps.
    mac
        Over all of that and the mac before.
    """

    store: str
    at: str
    number: int
    seal: str
    mac: str

    def holds(self, key: bytes, before: str) -> bool:
        """Whether it is as it was written, behind that one."""
        return hmac.compare_digest(self.mac, _mac(key, before, self.store, self.at, self.number, self.seal))


@dataclass(frozen=True)
class CheckpointClaims:
    """What the file of anchors says: every line is a lasting claim that its journal had that many entries.

    Attributes
    ----------
    verified
        Lines that are as they were written, in order, of every journal that was ever anchored at this place.
    damaged
        Numbers of the other lines, from 1 on.
    """

    verified: tuple[Checkpoint, ...] = ()
    damaged: tuple[int, ...] = ()

    def of(self, store: str) -> list[Checkpoint]:
        """The verified anchors of one journal, in order."""
        return [anchor for anchor in self.verified if anchor.store == store]

    def highest(self) -> dict[str, Checkpoint]:
        """For each journal ever anchored here, the anchor with the highest number."""
        found: dict[str, Checkpoint] = {}
        for anchor in self.verified:
            if anchor.store not in found or anchor.number >= found[anchor.store].number:
                found[anchor.store] = anchor
        return found


class CheckpointFile:
    """The file of anchors; it only grows.

    Parameters
    ----------
    path
        There may be none.
    key
        The audit key.
    """

    def __init__(self, path: Path, *, key: bytes = b"") -> None:
        self.path, self._key = path, key

    @property
    def mark(self) -> Path:
        """The file of the journal's high-water mark."""
        return self.path.with_name(f"{self.path.name}.mark")

    def drop(self, store: str, end: tuple[int, bytes]) -> Checkpoint | None:
        """Tell where the journal ends; None where that was told last.

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
                last = _last(file)
                if last is not None and (last.store, last.number, last.seal) == (store, number, seal.hex()):
                    return None
                at = datetime.now(UTC).isoformat(timespec="seconds")
                before = _START if last is None else last.mac
                anchor = Checkpoint(
                    store, at, number, seal.hex(), _mac(self._key, before, store, at, number, seal.hex())
                )
                file.write(_line(anchor))
                file.flush()
                os.fsync(file.fileno())
                return anchor
        except OSError as error:
            raise UnavailableError(
                f"{self.path}: cannot be written ({error.strerror})", hint="Free space, or set serve.anchors elsewhere."
            ) from error

    def read(self) -> CheckpointClaims:
        """Read every line; a damaged one does not make those after it unreadable.

        A line is verified against the code of the line before it, as that stands in the file.
        """
        verified, damaged, before = list[Checkpoint](), list[int](), _START
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                continue  # the last line, cut while it was written
            anchor = _read(line)
            if anchor is None or not anchor.holds(self._key, before):
                damaged.append(number)
            else:
                verified.append(anchor)
            before = _START if anchor is None else anchor.mac
        return CheckpointClaims(tuple(verified), tuple(damaged))


def _last(file: BinaryIO) -> Checkpoint | None:
    """The last anchor; what was cut behind it, when writing it failed, is taken away."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        file.truncate(size - len(tail) + len(whole))
    lines = whole.splitlines()
    return _read(lines[-1]) if lines else None


def _line(anchor: Checkpoint) -> bytes:
    return json.dumps({name: getattr(anchor, name) for name in Checkpoint.__slots__}).encode() + b"\n"


def _read(line: bytes) -> Checkpoint | None:
    try:
        told = json.loads(line)
        return Checkpoint(str(told["store"]), str(told["at"]), int(told["number"]), str(told["seal"]), str(told["mac"]))
    except (ValueError, TypeError, KeyError):
        return None


def _mac(key: bytes, before: str, store: str, at: str, number: int, seal: str) -> str:
    return hmac.digest(key, f"{before} {store} {at} {number} {seal}".encode(), "sha256").hex()
