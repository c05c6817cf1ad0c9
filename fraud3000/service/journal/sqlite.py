"""The journal as an SQLite database in WAL mode: one commit, with one flush to the disk, writes a group of entries.

`sqlite_reader` reads it, `sqlite_archiving` moves old entries to the archive beside it, `sqlite_schema` has the tables.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from fraud3000.errors import ParamsError
from fraud3000.service.entries import Entry, LabelEntry, TransactionEntry
from fraud3000.service.journal import hash_chain, holes
from fraud3000.service.journal.high_water_mark import HighWaterMark
from fraud3000.service.journal.holes import Hole
from fraud3000.service.journal.interface import Flush
from fraud3000.service.journal.repair import repairs
from fraud3000.service.journal.sqlite_archiving import erase_personal, move_to_archive
from fraud3000.service.journal.sqlite_reader import SqliteReader
from fraud3000.service.journal.sqlite_schema import (
    CLOSE_ALERTS,
    DAMAGE_ERRORS,
    DATABASE_SUFFIXES,
    INSERT_ALERT,
    INSERT_ENTRY,
    INSERT_HOLE,
    MARK_NAME,
    SET_FACT,
    alert_row,
    connect,
    damaged_error,
    read_fact,
    unavailable_error,
    write_transaction,
)
from fraud3000.service.journal.store_files import StoreFiles
from fraud3000.service.operator_entries import ErasureEntry

_STATEMENT_ENTRIES = 64  # entries written by one statement: each further statement waits for the interpreter lock


class SqliteJournal(SqliteReader):
    """A journal in a file, read and written by two connections: one thread may call `append`, another the rest.

    Parameters
    ----------
    path
        Of the database; its archive is the folder ``archive`` beside it.
    key
        The audit key, which seals entries.
    flush
        See `Flush`.
    create
        Create the database if there is none.
    mark
        File of the high-water mark; `MARK_NAME` beside the database if None.

    Raises
    ------
    CheckFailed
        The file is not a journal, or its last entries are damaged.
    ParamsError
        It is sealed with another key.
    UnavailableError
        It cannot be read or written.
    """

    def __init__(
        self, path: Path, *, key: bytes = b"", flush: Flush = "full", create: bool = True, mark: Path | None = None
    ) -> None:
        self.mark = HighWaterMark(mark or path.with_name(MARK_NAME), key=key)
        self._flush = flush
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._write_connection = connect(path, create=create)
            self._write_connection.execute(f"PRAGMA synchronous = {flush}")
            self.store = _store_name(self._write_connection, path, key)
            super().__init__(path, key=key)
            self._head = self._read_end()
            self._files = StoreFiles(Path(f"{path}{suffix}") for suffix in DATABASE_SUFFIXES)
            self._written_files = StoreFiles(Path(f"{path}{suffix}") for suffix in DATABASE_SUFFIXES[:2])
        except sqlite3.OperationalError as error:
            raise unavailable_error(path, error) from error
        except DAMAGE_ERRORS as error:
            raise damaged_error(path, str(error)) from error

    @property
    def last(self) -> int:
        return self._head[0]

    @property
    def end(self) -> tuple[int, bytes]:
        """Number and seal of the last entry."""
        return self._head

    @property
    def complete(self) -> bool:
        """True if the database has as many entries as their numbers imply."""
        rows = self._read_value("SELECT count(*) FROM entries WHERE number > ?", self.moved)
        return bool(rows == self.last - self.moved - holes.count(self.holes, self.moved))

    def require_in_place(self) -> None:
        """Check that the database at its path is the open one.

        Raises
        ------
        UnavailableError
            It was deleted, unmounted or replaced.
        """
        self._files.require_in_place()

    def write_mark(self) -> None:
        """Write the high-water mark of the last entry, and wait for the disk.

        Raises
        ------
        UnavailableError
            It cannot be written.
        """
        self.mark.write(self.store, *self._head, flush=self._flush, durable=True)

    def append(self, added: Sequence[Entry]) -> None:
        """See `Journal.append`."""
        rows: list[tuple[Any, ...]] = []
        last, seal = self._head
        for number, entry in enumerate(added, last + 1):
            if entry.number != number:
                raise ValueError(f"entry {entry.number} where {number} is next")
            body = entry.body()
            seal = hash_chain.sealed(
                self._key, seal, number, entry.kind, entry.transaction_id, hash_chain.digest_of(body)
            )
            personal = entry.personal() if isinstance(entry, TransactionEntry) else None
            rows.append((number, entry.kind, entry.transaction_id, body, personal, seal))
        labelled = [(entry.transaction_id,) for entry in added if isinstance(entry, LabelEntry)]
        alerts = [row for row in map(alert_row, added) if row is not None]
        try:
            if 0 < len(rows) <= _STATEMENT_ENTRIES and not labelled and not alerts:
                statement = f"{INSERT_ENTRY}{', (?, ?, ?, ?, ?, ?)' * (len(rows) - 1)}"
                self._write_connection.execute(statement, [*chain(*rows)])
            else:
                self._write_connection.execute("BEGIN IMMEDIATE")
                self._write_connection.executemany(INSERT_ENTRY, rows)
                self._write_connection.executemany(CLOSE_ALERTS, labelled)
                self._write_connection.executemany(INSERT_ALERT, alerts)
                self._write_connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._reset_after_failure()
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise  # an internal bug: freeing disk space would not help
            raise unavailable_error(self.path, error) from error
        self._head = (last + len(rows), seal)
        self._written_files.require_in_place()  # else the commit went into a deleted file
        self.mark.write(self.store, *self._head, flush=self._flush)

    def move(self, before: datetime) -> int:
        """Move entries received before a time to the archive, by day of arrival; return how many were moved.

        Another thread may append meanwhile.

        Raises
        ------
        UnavailableError
            The archive or the journal cannot be written.
        """
        return move_to_archive(self, before, repairs(self))

    def erase(self, cards: dict[str, str], at: int) -> int:
        """Pseudonymize cards, delete their other personal data, and seal a note of it; return how many entries changed.

        Parameters
        ----------
        cards
            Card to pseudonym.
        at
            Microseconds since the epoch.

        Raises
        ------
        UnavailableError
            The journal or the archive cannot be written.
        """
        count = self.archive.erase(cards)
        try:
            self._write_connection.execute("PRAGMA secure_delete = ON")
            self._write_connection.execute("BEGIN IMMEDIATE")
            count += erase_personal(self._write_connection, self._read_connection, cards, self.moved)
            self._write_connection.execute("COMMIT")
            if count:
                self.append([ErasureEntry(self.last + 1, count, at)])
            self._write_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._reset_after_failure()
            raise unavailable_error(self.path, error) from error
        return count

    def add_hole(self, hole: Hole) -> None:
        """Record that entries after the last one are lost; the next entry takes the number after the hole.

        Raises
        ------
        UnavailableError
            The journal cannot be written.
        """
        if hole.first != self.last + 1 or hole.seal is None:
            raise ValueError(f"hole {hole.span} does not follow entry {self.last}")
        try:
            with write_transaction(self._write_connection) as connection:
                connection.execute(INSERT_HOLE, (hole.first, hole.last, hole.seal, hole.why))
                connection.execute("DELETE FROM alerts WHERE number BETWEEN ? AND ?", (hole.first, hole.last))
        except sqlite3.Error as error:
            raise unavailable_error(self.path, error) from error
        self.holes.append(hole)
        self._head = self._read_end()

    def close(self) -> None:
        """See `Journal.close`."""
        self._read_connection.close()
        self._write_connection.close()
        self.mark.close()

    def _read_end(self) -> tuple[int, bytes]:
        """Number and seal of the last entry or hole of the database."""
        connection = self._write_connection
        row = connection.execute("SELECT number, seal FROM entries ORDER BY number DESC LIMIT 1").fetchone()
        number, seal = row or (
            read_fact(connection, "moved") or 0,
            read_fact(connection, "moved_seal") or hash_chain.START,
        )
        last = self.holes[-1] if self.holes else None
        return (number, seal) if last is None or last.last < number else (last.last, last.seal or hash_chain.START)

    def _reset_after_failure(self) -> None:
        """Roll back, and read the end again, since the commit may have failed or succeeded."""
        if self._write_connection.in_transaction:
            self._write_connection.execute("ROLLBACK")
        self._head = self._read_end()


def _store_name(connection: sqlite3.Connection, path: Path, key: bytes) -> str:
    """Return the journal's random name; write it, and the name of the key, into a new database."""
    key_name = hash_chain.name_of(key)
    if read_fact(connection, "store") is None:
        with write_transaction(connection):
            connection.execute(SET_FACT, ("store", secrets.token_hex(8)))
            connection.execute(SET_FACT, ("key", key_name))
    if read_fact(connection, "key") != key_name:
        present = f"the key in {hash_chain.VARIABLE}" if key else f"no key, as {hash_chain.VARIABLE} is not set"
        raise ParamsError(
            f"{path}: is sealed with another key than {present}",
            hint=f"Set {hash_chain.VARIABLE} to its value when the service first started.",
        )
    return str(read_fact(connection, "store"))
