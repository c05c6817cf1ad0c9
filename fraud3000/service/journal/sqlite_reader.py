"""Reading of the SQLite journal and its archive as one sequence of entries.

The database holds the entries after `SqliteReader.moved`; those up to it are in the archive.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from fraud3000.service.alerts import Alert, AlertFilter
from fraud3000.service.entries import Entry, TransactionEntry
from fraud3000.service.journal import hash_chain, holes
from fraud3000.service.journal.archive import Archive, decode
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.holes import Step
from fraud3000.service.journal.sqlite_schema import (
    DAMAGE_ERRORS,
    DATABASE_SUFFIXES,
    SELECT_ALERTS,
    SELECT_ENTRIES,
    connect,
    damaged_error,
    read_fact,
    read_holes,
    unavailable_error,
    unreadable_error,
)


class SqliteReader:
    """Queries on the database and its archive, by a connection of their own.

    Parameters
    ----------
    path
        Of the database, which exists; its archive is the folder ``archive`` beside it.
    key
        The audit key, which verifies seals.

    Attributes
    ----------
    holes
        Lost entries, in order.
    moved
        Number of the last entry that only the archive holds.

    Raises
    ------
    sqlite3.Error, UnicodeDecodeError
        The database cannot be read, or is damaged.
    """

    def __init__(self, path: Path, *, key: bytes) -> None:
        self.path, self.archive = path, Archive(path.parent / "archive")
        self._key = key
        self._read_connection = connect(path)
        moved = read_fact(self._read_connection, "moved") or 0
        if not isinstance(moved, int):
            raise sqlite3.DatabaseError("the number of archived entries is not an integer")
        self.moved = moved
        self.holes = read_holes(self._read_connection)

    @property
    def last_alert(self) -> int:
        """Number of the last entry that has an alert; 0 if there is none."""
        return int(self._read_value("SELECT coalesce(max(number), 0) FROM alerts"))

    @property
    def size(self) -> int:
        """Size of the database's files in bytes, without the archive."""
        paths = (Path(f"{self.path}{suffix}") for suffix in DATABASE_SUFFIXES)
        return sum(path.stat().st_size for path in paths if path.exists())

    def seal_of(self, number: int) -> bytes | None:
        """Return the seal of an entry (`hash_chain.START` for number 0); None if the seal is lost.

        Raises
        ------
        CheckFailed
            The entry is missing.
        """
        return self.seal_by(self._read_connection, number)

    def seal_by(self, connection: sqlite3.Connection, number: int) -> bytes | None:
        """Return what `seal_of` does, read by another connection."""
        if number == 0:
            return hash_chain.START
        hole = holes.containing(self.holes, number)
        if hole is not None:
            return hole.seal if number == hole.last else None
        if number == read_fact(connection, "moved"):
            return bytes(read_fact(connection, "moved_seal"))
        row = connection.execute("SELECT seal FROM entries WHERE number = ?", (number,)).fetchone()
        if row is not None:
            return bytes(row[0])
        archived = self.archive.entry(number)
        if archived is None:
            raise damaged_error(self.path, f"entry {number} is missing")
        return archived.seal

    def ends(self) -> list[TransactionEntry]:
        """See `Journal.ends`."""
        query = f"{SELECT_ENTRIES} WHERE kind = 'transaction' ORDER BY number"
        entries = [entry for order in ("ASC", "DESC") for entry in self._read_entries(f"{query} {order} LIMIT 1", ())]
        if self.moved:
            archived = self.archive.ends()
            entries = [*archived[:1], *(entries[-1:] or archived[-1:])]
        return [entry for entry in entries if isinstance(entry, TransactionEntry)]

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """See `Journal.of_transaction`."""
        query = f"{SELECT_ENTRIES} WHERE transaction_id = ? ORDER BY number"
        entries = self._read_entries(query, (transaction_id,))
        if not self.moved:
            return entries
        # An entry that is being moved may be in both.
        by_number = {entry.number: entry for entry in (*self._archived(transaction_id), *entries)}
        return [by_number[number] for number in sorted(by_number)]

    def of_transactions(self, ids: Collection[str]) -> dict[str, list[Entry]]:
        """See `Journal.of_transactions`."""
        if len(ids) == 1 or self.moved:
            each = ((id_, self.of_transaction(id_)) for id_ in ids)
            return {id_: entries for id_, entries in each if entries}
        query = f"{SELECT_ENTRIES} WHERE transaction_id IN ({', '.join('?' * len(ids))}) ORDER BY number"
        by_transaction: dict[str, list[Entry]] = {}
        for entry in self._read_entries(query, tuple(ids)):
            by_transaction.setdefault(entry.transaction_id, []).append(entry)
        return by_transaction

    def entry(self, number: int) -> Entry | None:
        """See `Journal.entry`."""
        if holes.containing(self.holes, number) is not None:
            return None
        if number <= self.moved:
            row = self.archive.entry(number)
            return None if row is None else decode(row)
        return next(iter(self._read_entries(f"{SELECT_ENTRIES} WHERE number = ?", (number,))), None)

    def alerts(self, filter_: AlertFilter) -> list[Alert]:
        """See `Journal.alerts`."""
        last = filter_.behind or (math.inf, 0)
        values = (last[0], -last[1], filter_.open, filter_.decision, filter_.least, filter_.limit)
        try:
            rows = self._read_connection.execute(SELECT_ALERTS, values).fetchall()
        except DAMAGE_ERRORS as error:
            raise unreadable_error(self.path, error) from error
        return [Alert(number, id_, loss, open=bool(open_)) for number, id_, loss, open_ in rows]

    def recent(self, count: int) -> list[TransactionEntry]:
        """Return the last transactions that are not in the archive, in order; any thread may call it.

        Raises
        ------
        UnavailableError
            The journal cannot be read.
        """
        query = f"{SELECT_ENTRIES} WHERE kind = 'transaction' ORDER BY number DESC LIMIT ?"
        try:
            with closing(connect(self.path)) as connection:
                entries = [self.decoded(SealedRow(*row)) for row in connection.execute(query, (count,))]
        except sqlite3.Error as error:
            raise unavailable_error(self.path, error) from error
        return [entry for entry in entries[::-1] if isinstance(entry, TransactionEntry)]

    def after(self, number: int) -> Iterator[Entry]:
        """See `Journal.after`."""
        for row in self.rows_after(number):
            entry = self.decoded(row)
            if entry is not None:
                yield entry

    def rows_after(self, number: int) -> Iterator[SealedRow]:
        """Yield every entry after a number as stored, in order, from archive and database; verify each seal.

        Raises
        ------
        CheckFailed
            An entry is missing, or does not match its seal.
        DataError
            A file of the archive cannot be read.
        """
        for step in self.steps_after(number):
            if not step.verified:
                problem = "is missing" if step.row is None else "does not match its seal"
                raise damaged_error(self.path, f"entry {step.first} {problem}")
            if step.row is not None:
                yield step.row

    def steps_after(self, number: int) -> Iterator[Step]:
        """Yield every entry after a number with the outcome of its verification, and every hole and gap, in order.

        Raises
        ------
        CheckFailed
            The file cannot be read further.
        DataError
            A file of the archive cannot be read.
        """
        try:
            with closing(connect(self.path)) as connection:
                seal = self.seal_by(connection, number)
                rows = self._stored_rows_after(connection, number)
                yield from holes.steps(rows, self.holes, key=self._key, after=number, seal=seal)
        except DAMAGE_ERRORS as error:
            raise damaged_error(self.path, f"after entry {number}: {error}") from error

    def decoded(self, row: SealedRow) -> Entry | None:
        """Return the entry of a row; None for a late decision that has expired.

        Raises
        ------
        CheckFailed
            The row's parts contradict each other.
        """
        try:
            return decode(row)
        except ValueError as error:
            raise damaged_error(self.path, str(error)) from error

    def _read_value(self, query: str, *values: object) -> Any:
        try:
            return self._read_connection.execute(query, values).fetchone()[0]
        except DAMAGE_ERRORS as error:
            raise unreadable_error(self.path, error) from error

    def _read_entries(self, query: str, values: tuple[Any, ...]) -> list[Entry]:
        try:
            entries = [self.decoded(SealedRow(*row)) for row in self._read_connection.execute(query, values)]
        except DAMAGE_ERRORS as error:
            raise unreadable_error(self.path, error) from error
        return [entry for entry in entries if entry is not None]

    def _archived(self, transaction_id: str) -> list[Entry]:
        query = "SELECT number FROM archived WHERE transaction_id = ? ORDER BY number"
        try:
            numbers = self._read_connection.execute(query, (transaction_id,)).fetchall()
        except DAMAGE_ERRORS as error:
            raise unreadable_error(self.path, error) from error
        present = [number for (number,) in numbers if holes.containing(self.holes, number) is None]
        rows = [self.archive.entry(number) for number in present]
        entries = [self.decoded(row) for row in rows if row is not None]
        return [entry for entry in entries if entry is not None]

    def _stored_rows_after(self, connection: sqlite3.Connection, number: int) -> Iterator[SealedRow]:
        """Yield rows of the archive, then of the database, in one read transaction, so that a move changes nothing."""
        connection.execute("BEGIN")
        moved = read_fact(connection, "moved") or 0
        if number < moved:
            yield from self.archive.after(number, moved)
        query = f"{SELECT_ENTRIES} WHERE number > ? ORDER BY number"
        for row in connection.execute(query, (max(number, moved),)):
            yield SealedRow(*row)
