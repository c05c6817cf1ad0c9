"""Rebuild a journal database from the intact entries of a damaged one; every lost number becomes a hole."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from loguru import logger

from fraud3000.errors import ParamsError
from fraud3000.service.entries import Entry, LabelEntry, TransactionEntry, number_in
from fraud3000.service.journal import hash_chain, holes
from fraud3000.service.journal.archive import Archive, decode
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.holes import Hole, Step
from fraud3000.service.journal.salvage import DamagedDatabase
from fraud3000.service.journal.sqlite_schema import (
    CLOSE_ALERTS,
    DATABASE_SUFFIXES,
    INSERT_ALERT,
    INSERT_ENTRY,
    INSERT_HOLE,
    SET_FACT,
    alert_row,
    connect,
)

_BATCH = 1_000  # rows that are written at a time


@dataclass
class Rebuild:
    """State and result of a rebuild.

    Attributes
    ----------
    intact
        How many entries are intact, those of the archive included.
    last, seal
        Of the last entry or hole.
    holes, new_holes
        All lost entries, and those that were not known before.
    resealed
        Entries by number of which only the seal was damaged, with the computed seal.
    """

    intact: int = 0
    last: int = 0
    seal: bytes = hash_chain.START

    def __post_init__(self) -> None:
        self.holes: list[Hole] = []
        self.new_holes: list[Hole] = []
        self.resealed: dict[int, SealedRow] = {}

    def add_loss(self, first: int, last: int, seal: bytes | None, why: str) -> None:
        """Record lost entries."""
        hole = Hole(first, last, seal, why)
        self.holes.append(hole)
        self.new_holes.append(hole)


def rescued_path(path: Path) -> Path:
    """Return the path of the complete rebuilt database, before it replaces the damaged one."""
    return path.with_name(f"{path.name}.rescued")


def sync_folder(folder: Path) -> None:
    """Flush renames in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rebuild(damaged: sqlite3.Connection | None, path: Path, key: bytes, facts: dict[str, Any], claimed: int) -> Rebuild:
    """Write the rebuilt database, and rename it to `rescued_path` when it is complete.

    Parameters
    ----------
    damaged
        Connection to the damaged database; None if only the archive is left.
    facts
        Names of the journal and of its key, and how many entries the archive has.
    claimed
        The highest number that is known to have existed.
    """
    if facts.get("key") != hash_chain.name_of(key):
        raise ParamsError(
            f"{path}: is sealed with another key",
            hint=f"Set {hash_chain.VARIABLE} to its value when the service first started.",
        )
    part = path.with_name(f"{path.name}.rescued.part")
    for suffix in DATABASE_SUFFIXES:
        Path(f"{part}{suffix}").unlink(missing_ok=True)
    result = Rebuild()
    archive, source = Archive(path.parent / "archive"), DamagedDatabase(damaged, claimed)
    moved = min(int(facts.get("moved") or 0), archive.last)
    with closing(connect(part, create=True)) as target:
        writer = _DatabaseWriter(target, moved)
        rows = chain(archive.after(0, moved), source.rows(moved))
        for row in _intact_rows(holes.steps(rows, source.holes(), key=key, after=0, seal=hash_chain.START), result):
            writer.add(row)
        _seal_end(result, key, claimed, unreadable=source.broken)
        writer.finish(facts, result.holes)
    archive.replace(result.resealed)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(rescued_path(path))
    sync_folder(path.parent)
    logger.error("journal damaged kept={} lost={}", result.intact, [hole.span for hole in result.new_holes])
    return result


def decodes(row: SealedRow) -> bool:
    """True if the entry and its personal data can be decoded, and its decision id contains its number."""
    try:
        entry = decode(row)
    except (ValueError, KeyError, TypeError):
        return False
    decision = entry.answer if isinstance(entry, TransactionEntry) else None
    return decision is None or number_in(decision.decision_id) == row.number


def _intact_rows(steps: Iterator[Step], result: Rebuild) -> Iterator[SealedRow]:
    """Yield the entries that match their seals; every other number becomes a hole."""
    doubtful: Step | None = None
    for step in steps:
        if doubtful is not None:
            resealed = _resealed(doubtful, step)
            if resealed is None:
                _lose_damaged(doubtful, result)
            else:
                result.resealed[resealed.number] = resealed
                yield _counted(resealed, result)
            doubtful = None
        if step.hole is not None:
            result.holes.append(step.hole)
            result.last, result.seal = step.last, step.hole.seal or hash_chain.START
        elif step.row is None:
            result.add_loss(step.first, step.last, None, "is missing")
            result.last = step.last
        elif not step.verified or not decodes(step.row):
            doubtful = step
        else:
            yield _counted(step.row, result)
    if doubtful is not None:
        _lose_damaged(doubtful, result)


def _resealed(doubtful: Step, following: Step) -> SealedRow | None:
    """Return an entry with its computed seal, if the next entry's seal proves that only the stored seal is damaged."""
    row, seal = doubtful.row, doubtful.expected
    proved = following.row is not None and following.verified and seal is not None and following.before == seal
    if row is None or seal is None or not proved or not decodes(row):
        return None
    return SealedRow(row.number, row.kind, row.transaction_id, row.body, row.personal, seal, row.digest)


def _lose_damaged(step: Step, result: Rebuild) -> None:
    assert step.row is not None
    seal = step.row.seal if isinstance(step.row.seal, bytes) else None
    result.add_loss(step.first, step.last, seal, "is not what was sealed")
    result.last, result.seal = step.last, seal or result.seal


def _counted(row: SealedRow, result: Rebuild) -> SealedRow:
    result.intact += 1
    result.last, result.seal = row.number, row.seal
    return row


def _seal_end(result: Rebuild, key: bytes, claimed: int, *, unreadable: bool) -> None:
    """Give the last hole a seal; record a loss at an unreadable end, unless a claim says how long the journal was."""
    if unreadable and claimed < result.last:
        why = "the file cannot be read further: this entry, and others after it, may be lost"
        result.add_loss(result.last + 1, result.last + 1, holes.bridge(key, result.seal, result.last + 1), why)
    elif result.holes and result.holes[-1].last == result.last and result.holes[-1].seal is None:
        last = result.holes[-1]
        sealed = Hole(last.first, last.last, holes.bridge(key, result.seal, last.last), last.why)
        result.holes[-1] = sealed
        if result.new_holes and result.new_holes[-1] == last:
            result.new_holes[-1] = sealed


class _DatabaseWriter:
    """Writes intact rows, and the alerts of their decisions, into a new database."""

    def __init__(self, target: sqlite3.Connection, moved: int) -> None:
        self._target, self._moved = target, moved
        self._moved_seal: bytes | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._archived: list[tuple[str, int]] = []
        self._labelled: set[str] = set()
        target.execute("PRAGMA synchronous = OFF")  # the file is flushed once, before its rename
        target.execute("BEGIN IMMEDIATE")

    def add(self, row: SealedRow) -> None:
        """Add the next row, in ascending order of numbers."""
        if row.number <= self._moved:
            self._archived.append((row.transaction_id, row.number))
            self._moved_seal = row.seal
        else:
            self._rows.append((row.number, row.kind, row.transaction_id, row.body, row.personal, row.seal))
        entry = decode(row)
        if entry is not None:
            self._add_alert(entry)
        if len(self._rows) + len(self._archived) >= _BATCH:
            self._write()

    def finish(self, facts: Mapping[str, Any], holes_: list[Hole]) -> None:
        """Write the rest, and merge the write-ahead log into the file."""
        self._write()
        self._target.execute("DELETE FROM alerts WHERE number <= ? AND NOT open", (self._moved,))
        moved = {"moved": self._moved, "moved_seal": self._moved_seal or hash_chain.START}
        self._target.executemany(SET_FACT, {**facts, **moved}.items())
        self._target.executemany(INSERT_HOLE, [(hole.first, hole.last, hole.seal, hole.why) for hole in holes_])
        self._target.execute("COMMIT")
        self._target.execute("PRAGMA journal_mode = DELETE")

    def _add_alert(self, entry: Entry) -> None:
        alert = alert_row(entry)
        if alert is not None:
            self._target.execute(INSERT_ALERT, alert)
            if entry.transaction_id in self._labelled:
                self._target.execute(CLOSE_ALERTS, (entry.transaction_id,))
        if isinstance(entry, LabelEntry):
            self._labelled.add(entry.transaction_id)
            self._target.execute(CLOSE_ALERTS, (entry.transaction_id,))

    def _write(self) -> None:
        self._target.executemany(INSERT_ENTRY, self._rows)
        self._target.executemany("INSERT OR REPLACE INTO archived VALUES (?, ?)", self._archived)
        self._rows, self._archived = [], []
