"""Recovery of a damaged journal: every whole entry stays under the journal's name, and each lost one becomes a hole.

The new database is written beside the old one, as ``journal.db.rescued.part``, and renamed to ``journal.db.rescued`` when it
is complete. Then the old files get second names (``journal.db.damaged-<time>``), and one rename puts the new database in
place. A process that is killed anywhere in between leaves either the old journal or a complete rescued one, and the next
start finishes the rest.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from loguru import logger

from fraud3000.data.storage import atomic_write
from fraud3000.errors import CheckFailed, ParamsError
from fraud3000.service.journal import hash_chain, holes
from fraud3000.service.journal.archive import Archive, entry_of
from fraud3000.service.journal.checkpoints import CheckpointClaims
from fraud3000.service.journal.entries import Entry, LabelEntry, TransactionEntry, number_in
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.high_water_mark import HighWaterMark, Mark
from fraud3000.service.journal.holes import Hole, Step
from fraud3000.service.journal.sqlite import (
    ALERT,
    CLOSED,
    DAMAGES,
    FILES,
    INSERT,
    MARK,
    ROWS,
    SET_FACT,
    alert_of,
    read_holes,
)
from fraud3000.service.journal.sqlite_schema import connect

_BATCH = 1_000  # rows that are written in one statement
_SMALLEST = 100  # bytes that an entry takes at least, its index included


@dataclass(frozen=True)
class Recovered:
    """Outcome of a recovery.

    Attributes
    ----------
    kept
        How many entries are whole, those of the archive included.
    holes
        The lost ones that were not known before.
    aside
        The damaged file.
    """

    kept: int
    holes: tuple[Hole, ...]
    aside: Path


def recover(
    path: Path,
    anchors: CheckpointClaims | None = None,
    *,
    key: bytes = b"",
    mark: Path | None = None,
    archive_only: bool = False,
) -> Recovered:
    """Rebuild a damaged journal from its whole entries, and put the damaged files aside.

    Parameters
    ----------
    path
        Of the database; its archive is beside it.
    anchors
        What was anchored of it.
    key
        The audit key.
    mark
        File of the high-water mark; see `SqliteJournal`.
    archive_only
        Give up a database that cannot be opened, or is gone, and go on behind the archive under the journal's last name.

    Raises
    ------
    CheckFailed
        The database cannot be opened at all; it is left as it is.
    DataError
        A file of the archive cannot be read.
    ParamsError
        The journal is sealed with another key.
    UnavailableError
        There is no room.
    """
    anchors = anchors or CheckpointClaims()
    last_mark = HighWaterMark(mark or path.with_name(MARK), key=key).read()
    if archive_only:
        named = anchors.verified[-1].store if anchors.verified else secrets.token_hex(8)
        facts = {"store": named if last_mark is None else last_mark.store, "key": hash_chain.name_of(key)}
        last = Archive(path.parent / "archive").last
        found = _rebuild(None, path, key, {**facts, "moved": last}, last)
    else:
        found = _from_database(path, key, anchors, last_mark)
    aside = _place(path)
    return Recovered(found.kept, tuple(found.new), aside)


def _from_database(path: Path, key: bytes, anchors: CheckpointClaims, mark: Mark | None) -> _Rebuilding:
    with atomic_write.scratch_dir(path) as scratch:
        source = _copy(path, scratch)
        try:
            with closing(connect(source)) as damaged:
                facts = dict(damaged.execute("SELECT name, value FROM facts").fetchall())
                claimed = [anchor.number for anchor in anchors.of(str(facts.get("store")))]
                claimed += [mark.number] if mark is not None and mark.store == facts.get("store") else []
                return _rebuild(damaged, path, key, facts, max(claimed, default=0))
        except DAMAGES as error:
            raise CheckFailed(
                f"{path}: cannot be opened ({error})",
                hint="Restore it from a backup, or accept the loss with `fraud3000 audit acknowledge --reason …`.",
            ) from error


def finish(path: Path) -> Path | None:
    """Finish a recovery that was cut off: the name under which the damaged database stays, None if there is nothing to do.

    A recovery never leaves the place of the database empty, so where it is empty something else happened: nothing is done.
    """
    return _place(path) if path.exists() and _rescued(path).exists() else None


def _rescued(path: Path) -> Path:
    return path.with_name(f"{path.name}.rescued")


def _place(path: Path) -> Path:
    """Put the complete rescued database in place; safe to repeat after a crash at any point."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    for ending in FILES:
        old = Path(f"{path}{ending}")
        if old.exists():
            os.link(old, f"{aside}{ending}")
    for ending in FILES[1:]:  # SQLite would apply them to the new database
        Path(f"{path}{ending}").unlink(missing_ok=True)
    _rescued(path).replace(path)
    _sync(path.parent)
    return aside


def _copy(path: Path, folder: Path) -> Path:
    """A copy to read from, since SQLite changes what it opens."""
    for ending in FILES[:2]:
        if Path(f"{path}{ending}").exists():
            shutil.copyfile(f"{path}{ending}", folder / f"{path.name}{ending}")
    return folder / path.name


@dataclass
class _Rebuilding:
    """Counts of a rebuild under way."""

    kept: int = 0
    last: int = 0
    seal: bytes = hash_chain.START

    def __post_init__(self) -> None:
        self.all: list[Hole] = []
        self.new: list[Hole] = []
        self.mended: dict[int, SealedRow] = {}  # entries whose seal was computed again

    def lose(self, first: int, last: int, seal: bytes | None, why: str) -> None:
        """Note lost entries."""
        hole = Hole(first, last, seal, why)
        self.all.append(hole)
        self.new.append(hole)


def _rebuild(
    damaged: sqlite3.Connection | None, path: Path, key: bytes, facts: dict[str, Any], claimed: int
) -> _Rebuilding:
    """Write the rescued database, and give it its name when it is complete.

    Parameters
    ----------
    damaged
        None for none: the archive is all there is.
    facts
        The journal's name, its key's, and how many entries the archive has.
    claimed
        The highest number that is known to have existed.
    """
    if facts.get("key") != hash_chain.name_of(key):
        raise ParamsError(
            f"{path}: is sealed with another key", hint=f"Set {hash_chain.VARIABLE} to what it was at the first start."
        )
    part = path.with_name(f"{path.name}.rescued.part")
    for ending in FILES:
        Path(f"{part}{ending}").unlink(missing_ok=True)
    found = _Rebuilding()
    archive, reading = Archive(path.parent / "archive"), _Salvage(damaged, claimed)
    moved = min(int(facts.get("moved") or 0), archive.last)
    with closing(connect(part, create=True)) as target:
        writer = _Writer(target, moved)
        rows = chain(archive.after(0, moved), reading.rows(moved))
        for row in _whole(holes.steps(rows, reading.holes(), key=key, after=0, seal=hash_chain.START), found):
            writer.add(row)
        _end(found, key, claimed, unreadable=reading.broken)
        writer.finish(facts, found.all)
    archive.replace(found.mended)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(_rescued(path))
    _sync(path.parent)
    logger.error("journal damaged kept={} lost={}", found.kept, [hole.span for hole in found.new])
    return found


def _whole(steps: Iterator[Step], found: _Rebuilding) -> Iterator[SealedRow]:
    """The entries that are what was sealed; every other number becomes a hole."""
    doubtful: Step | None = None
    for step in steps:
        if doubtful is not None:
            mended = _mended(doubtful, step)
            if mended is None:
                _lose_damaged(doubtful, found)
            else:
                found.mended[mended.number] = mended
                yield _kept(mended, found)
            doubtful = None
        if step.hole is not None:
            found.all.append(step.hole)
            found.last, found.seal = step.last, step.hole.seal or hash_chain.START
        elif step.row is None:
            found.lose(step.first, step.last, None, "is missing")
            found.last = step.last
        elif not step.verified or not decodes(step.row):
            doubtful = step
        else:
            yield _kept(step.row, found)
    if doubtful is not None:
        _lose_damaged(doubtful, found)


def _mended(doubtful: Step, following: Step) -> SealedRow | None:
    """An entry of which only the seal is damaged, as the seal of the entry behind it proves."""
    row, seal = doubtful.row, doubtful.expected
    proved = following.row is not None and following.verified and seal is not None and following.before == seal
    if row is None or seal is None or not proved or not decodes(row):
        return None
    return SealedRow(row.number, row.kind, row.transaction_id, row.body, row.personal, seal, row.digest)


def _lose_damaged(step: Step, found: _Rebuilding) -> None:
    assert step.row is not None
    seal = step.row.seal if isinstance(step.row.seal, bytes) else None
    found.lose(step.first, step.last, seal, "is not what was sealed")
    found.last, found.seal = step.last, seal or found.seal


def _kept(row: SealedRow, found: _Rebuilding) -> SealedRow:
    found.kept += 1
    found.last, found.seal = row.number, row.seal
    return row


def decodes(row: SealedRow) -> bool:
    """Whether the entry can be read, with what is stored beside its body, and was decided under its number."""
    try:
        entry = entry_of(row)
    except (ValueError, KeyError, TypeError):
        return False
    decision = entry.answer if isinstance(entry, TransactionEntry) else None
    return decision is None or number_in(decision.decision_id) == row.number


def _end(found: _Rebuilding, key: bytes, claimed: int, *, unreadable: bool) -> None:
    """Bind what follows to the end; note an end that cannot be read, unless a claim says how far the journal went."""
    if unreadable and claimed < found.last:
        why = "the file cannot be read further: this entry, and others after it, may be lost"
        found.lose(found.last + 1, found.last + 1, holes.bridge(key, found.seal, found.last + 1), why)
    elif found.all and found.all[-1].last == found.last and found.all[-1].seal is None:
        last = found.all[-1]
        bound = Hole(last.first, last.last, holes.bridge(key, found.seal, last.last), last.why)
        found.all[-1] = bound
        if found.new and found.new[-1] == last:
            found.new[-1] = bound


class _Salvage:
    """Every row that can still be read from a damaged database.

    Attributes
    ----------
    broken
        True if reading failed behind the last row that was found.
    """

    def __init__(self, damaged: sqlite3.Connection | None, claimed: int) -> None:
        self._damaged, self._claimed = damaged, claimed
        self.broken = False

    def holes(self) -> list[Hole]:
        """Holes that were known before."""
        if self._damaged is not None:
            with suppress(*DAMAGES):
                return read_holes(self._damaged)
        return []

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query; none if they cannot be read."""
        if self._damaged is not None:
            with suppress(*DAMAGES):
                return self._damaged.execute(query, values).fetchall()
        return []

    def rows(self, number: int) -> Iterator[SealedRow]:
        """Rows behind a number in ascending order; where a scan fails, each number is looked up on its own."""
        top = self._top(number)
        while self._damaged is not None:
            for row in holes.ascending(self._scan(self._damaged, number), after=number, until=top):
                number = row.number
                yield row
            found = self._next(number, top) if self.broken else None
            if found is None:
                return
            number = found.number
            yield found

    def _scan(self, damaged: sqlite3.Connection, number: int) -> Iterator[SealedRow]:
        self.broken = False
        try:
            for raw in damaged.execute(f"{ROWS} WHERE number > ? ORDER BY number", (number,)):
                yield SealedRow(*raw)
        except DAMAGES:
            self.broken = True

    def _next(self, number: int, top: int) -> SealedRow | None:
        for candidate in range(number + 1, top + 1):
            for raw in self._ask(f"{ROWS} WHERE number = ?", candidate):
                return SealedRow(*raw)
        return None

    def _top(self, number: int) -> int:
        """The highest number that an entry can have; a damaged row may have any, so the size of the file bounds it."""
        queries = ("SELECT max(number) FROM entries", "SELECT max(number) FROM alerts")
        found = [row[0] or 0 for query in queries for row in self._ask(query)]
        return max(self._claimed, min(max(found, default=number + self._room), number + self._room))

    @property
    def _room(self) -> int:
        """How many entries the file has room for."""
        sizes = [row[0] for query in ("PRAGMA page_count", "PRAGMA page_size") for row in self._ask(query)]
        return int(math.prod(sizes)) // _SMALLEST


class _Writer:
    """Writes whole rows, and the alerts that they make, into a new database."""

    def __init__(self, target: sqlite3.Connection, moved: int) -> None:
        self._target, self._moved = target, moved
        self._moved_seal: bytes | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._archived: list[tuple[str, int]] = []
        self._labelled: set[str] = set()
        target.execute("PRAGMA synchronous = OFF")  # the file is flushed once, before it gets its name
        target.execute("BEGIN IMMEDIATE")

    def add(self, row: SealedRow) -> None:
        """Take the next row, in ascending order of numbers."""
        if row.number <= self._moved:
            self._archived.append((row.transaction_id, row.number))
            self._moved_seal = row.seal
        else:
            self._rows.append((row.number, row.kind, row.transaction_id, row.body, row.personal, row.seal))
        entry = entry_of(row)
        if entry is not None:
            self._alert(entry)
        if len(self._rows) + len(self._archived) >= _BATCH:
            self._write()

    def finish(self, facts: Mapping[str, Any], found: list[Hole]) -> None:
        """Write the rest, and fold the write-ahead log into the file."""
        self._write()
        self._target.execute("DELETE FROM alerts WHERE number <= ? AND NOT open", (self._moved,))
        self._target.executemany(
            SET_FACT, {**facts, "moved": self._moved, "moved_seal": self._moved_seal or hash_chain.START}.items()
        )
        rows = [(hole.first, hole.last, hole.seal, hole.why) for hole in found]
        self._target.executemany("INSERT INTO holes (first, last, seal, why) VALUES (?, ?, ?, ?)", rows)
        self._target.execute("COMMIT")
        self._target.execute("PRAGMA journal_mode = DELETE")

    def _alert(self, entry: Entry) -> None:
        alert = alert_of(entry)
        if alert is not None:
            self._target.execute(ALERT, alert)
            if entry.transaction_id in self._labelled:
                self._target.execute(CLOSED, (entry.transaction_id,))
        if isinstance(entry, LabelEntry):
            self._labelled.add(entry.transaction_id)
            self._target.execute(CLOSED, (entry.transaction_id,))

    def _write(self) -> None:
        self._target.executemany(INSERT, self._rows)
        self._target.executemany("INSERT OR REPLACE INTO archived VALUES (?, ?)", self._archived)
        self._rows, self._archived = [], []


def _sync(folder: Path) -> None:
    """Bring renames of a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
