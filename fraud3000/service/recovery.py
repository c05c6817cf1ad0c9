"""What to do about a damaged journal: keep the entries before the damage, and put the file aside."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fraud3000.errors import CheckFailed
from fraud3000.service.archive import Archive
from fraud3000.service.entries import Entry
from fraud3000.service.sqlite import FILES, SqliteJournal

_AT_ONCE = 10_000  # entries that are rescued in one commit


@dataclass(frozen=True)
class Lost:
    """What could not be read any more.

    Attributes
    ----------
    first
        Number of the first entry that is gone, with all that came after it.
    why
        What was found in its place.
    aside
        Where the damaged file is now.
    """

    first: int
    why: str
    aside: Path


def recover(path: Path, *, key: bytes = b"") -> Lost:
    """Keep the entries before the first damaged one, and put the file with all that it holds aside.

    Raises
    ------
    DataError
        A file of the archive cannot be read.
    UnavailableError
        There is no room for them.
    """
    rescued = path.with_name(f"{path.name}.rescued")
    _move(rescued, None)
    why, part = "nothing is damaged", list[Entry]()
    with closing(SqliteJournal(rescued, key=key)) as journal:
        journal.begin_behind(Archive(path.parent / "archive"))
        try:
            with closing(SqliteJournal(path, key=key)) as damaged:
                for entry in damaged.after(journal.last):
                    part.append(entry)
                    if len(part) == _AT_ONCE:
                        journal.append(part)
                        part = []
        except CheckFailed as error:
            why = error.message
        journal.append(part)
        first = journal.last + 1
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    _move(path, aside)
    _move(rescued, path)
    return Lost(first, why, aside)


def _move(path: Path, to: Path | None) -> None:
    for ending in FILES:
        found = Path(f"{path}{ending}")
        if found.exists() and to is None:
            found.unlink()
        elif found.exists():
            found.replace(f"{to}{ending}")
