"""Append-only log as a hash chain: each numbered entry has the hash of the previous one, which reveals any change."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from fraud3000.errors import CheckFailed

START = "0" * 64
"""Parent hash of the first entry."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """Fields of every entry.

    Attributes
    ----------
    number
        Consecutive, from 1.
    at
        UTC, ISO 8601.
    by
        Name of the user who ran the command.
    parent
        SHA-256 of the previous entry.
    """

    number: int
    at: str
    by: str
    parent: str = START

    @property
    def line(self) -> str:
        """The entry as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.line.encode()).hexdigest()


Entry = TypeVar("Entry", bound=Link)


def next_after(before: Sequence[Link]) -> dict[str, Any]:
    """Return the link fields of the next entry: number, time, user and parent."""
    return {
        "number": len(before) + 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": user(),
        "parent": before[-1].sha256 if before else START,
    }


def read(lines: Sequence[str], make: Callable[..., Entry], *, thing: str, hint: str) -> tuple[Entry, ...]:
    """Read entries and verify their hash chain.

    Parameters
    ----------
    make
        Builds an entry from the fields of a line.
    thing, hint
        Name of the log, and what to do if it was changed.

    Raises
    ------
    CheckFailed
        An entry was changed or is missing.
    """
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        changed = CheckFailed(f"{thing}: entry {number} was changed, or an earlier entry is missing", hint=hint)
        try:
            entry = make(**json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise changed from error
        if (entry.number, entry.parent) != (number, entries[-1].sha256 if entries else START):
            raise changed
        entries.append(entry)
    return tuple(entries)


def user() -> str:
    """Return the name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
