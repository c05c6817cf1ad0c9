"""A log that only grows: numbered entries, each with the hash of the one before, so that a changed or missing one shows."""

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
"""The parent of a first entry."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """What every entry has.

    Attributes
    ----------
    number
        From 1 on, without gaps.
    at
        UTC, ISO 8601.
    by
        Name of the user who ran the command.
    parent
        SHA-256 of the entry before.
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
    """Give what makes an entry the next one: number, time, user and parent."""
    return {
        "number": len(before) + 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": user(),
        "parent": before[-1].sha256 if before else START,
    }


def read(lines: Sequence[str], make: Callable[..., Entry], *, thing: str, hint: str) -> tuple[Entry, ...]:
    """Read entries and follow their hashes from the first to the last.

    Parameters
    ----------
    make
        From the fields of a line to an entry.
    thing, hint
        What the lines are, and what to do where they are not as they were written.

    Raises
    ------
    CheckFailed
        An entry was changed, or one is missing.
    """
    found: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        changed = CheckFailed(
            f"{thing}: entry {number} is not as it was written, or one before it is missing", hint=hint
        )
        try:
            entry = make(**json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise changed from error
        if (entry.number, entry.parent) != (number, found[-1].sha256 if found else START):
            raise changed
        found.append(entry)
    return tuple(found)


def user() -> str:
    """Name who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
