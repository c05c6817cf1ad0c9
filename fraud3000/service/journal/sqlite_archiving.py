"""Move old entries of the SQLite journal to its archive, and erase personal data from the database.

A move writes the archive file first and then deletes its entries from the database, so a crash in between loses nothing:
the next move finishes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby

from fraud3000.service.entries import TransactionEntry
from fraud3000.service.journal.archive import pseudonymized
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.sqlite_reader import SqliteReader
from fraud3000.service.journal.sqlite_schema import (
    SELECT_ENTRIES,
    SET_FACT,
    connect,
    unavailable_error,
    write_transaction,
)
from fraud3000.service.operator_entries import RepairEntry

_FILE_ENTRIES = 20_000  # maximum entries of one archive file
_DELETE_BATCH = 2_000  # entries that one commit deletes, since appends wait meanwhile
_DAY = 86_400_000_000  # microseconds


def move_to_archive(reader: SqliteReader, before: datetime, repairs: Sequence[RepairEntry]) -> int:
    """Move entries received before a time to archive files by day of arrival; return how many were moved.

    Parameters
    ----------
    reader
        Its `moved` is advanced.
    repairs
        Of this journal; an entry counts as received no later than the repairs after it, since its clock may have been wrong.

    Raises
    ------
    UnavailableError
        The archive or the journal cannot be written.
    """
    limit = int(before.timestamp() * 1e6)
    first = reader.moved
    with closing(connect(reader.path)) as connection:
        _delete_archived(connection, reader)  # of a move that was interrupted
        while rows := _next_file(connection, reader, limit, repairs):
            day = datetime.fromtimestamp(rows[-1][0] / 1e6, UTC).date()
            reader.archive.add([row for _, row in rows], day)
            _delete_archived(connection, reader)
    return reader.moved - first


def erase_personal(
    write_connection: sqlite3.Connection, read_connection: sqlite3.Connection, cards: dict[str, str], moved: int
) -> int:
    """Pseudonymize cards in the database and delete their other personal data; return how many entries were changed.

    Parameters
    ----------
    write_connection
        In a transaction, which the caller commits.
    cards
        Card to pseudonym.
    moved
        Number of the last entry that only the archive holds.
    """
    count = 0
    for raw in read_connection.execute(f"{SELECT_ENTRIES} WHERE personal IS NOT NULL AND number > ?", (moved,)):
        row = SealedRow(*raw)
        changed = pseudonymized(row, cards)
        if changed is not row:
            write_connection.execute("UPDATE entries SET personal = ? WHERE number = ?", (changed.personal, row.number))
            count += 1
    return count


def _next_file(
    connection: sqlite3.Connection, reader: SqliteReader, limit: int, repairs: Sequence[RepairEntry]
) -> list[tuple[int, SealedRow]]:
    """Read the entries of the next archive file, each with the time of arrival of the last transaction up to it."""
    rows: list[tuple[int, SealedRow]] = []
    received = 0
    query = f"{SELECT_ENTRIES} WHERE number > ? ORDER BY number LIMIT {_FILE_ENTRIES}"
    for raw in connection.execute(query, (reader.moved,)):
        row = SealedRow(*raw)
        entry = reader.decoded(row)
        if isinstance(entry, TransactionEntry):
            later = (repair.at for repair in repairs if repair.number > entry.number)
            received = max(received, min([entry.received_at, *later]))
        if received >= limit:
            break
        rows.append((received, row))
    days = groupby(rows, key=lambda row: row[0] // _DAY)
    return next(([*part] for _, part in days), [])


def _delete_archived(connection: sqlite3.Connection, reader: SqliteReader) -> None:
    """Delete from the database what the archive holds."""
    until = reader.archive.last
    while reader.moved < until:
        _delete_batch(connection, reader, min(until, reader.moved + _DELETE_BATCH))


def _delete_batch(connection: sqlite3.Connection, reader: SqliteReader, last: int) -> None:
    index = "INSERT OR REPLACE INTO archived SELECT transaction_id, number FROM entries WHERE number <= ?"
    before, reader.moved = reader.moved, last  # before the commit, so that concurrent readers look in the archive too
    try:
        with write_transaction(connection):
            connection.execute(index, (last,))
            connection.execute(SET_FACT, ("moved_seal", reader.seal_by(connection, last)))
            connection.execute(SET_FACT, ("moved", last))
            connection.execute("DELETE FROM entries WHERE number <= ?", (last,))
            connection.execute("DELETE FROM alerts WHERE number <= ? AND NOT open", (last,))
    except sqlite3.Error as error:
        reader.moved = before
        raise unavailable_error(reader.path, error) from error
