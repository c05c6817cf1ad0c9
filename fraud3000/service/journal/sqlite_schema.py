"""Tables of the journal's database, the statements on them, connections, and the errors of a failed statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fraud3000.errors import CheckFailed, ScorerError, UnavailableError
from fraud3000.models.inference.decision import Decision
from fraud3000.service.entries import Entry, number_in
from fraud3000.service.journal.holes import Hole

_FORMAT = 3
_TABLES = f"""
CREATE TABLE entries (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, transaction_id TEXT NOT NULL, body BLOB NOT NULL, personal BLOB,
    seal BLOB NOT NULL
) STRICT;
CREATE INDEX entries_of_transaction ON entries (transaction_id, number);
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY, transaction_id TEXT NOT NULL, decision TEXT NOT NULL, expected_loss REAL NOT NULL,
    open INTEGER NOT NULL
) STRICT;
CREATE INDEX alerts_by_loss ON alerts (expected_loss DESC, number);
CREATE INDEX alerts_of_transaction ON alerts (transaction_id);
CREATE TABLE archived (transaction_id TEXT, number INTEGER, PRIMARY KEY (transaction_id, number)) STRICT, WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE holes (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, seal BLOB, why TEXT NOT NULL) STRICT;
PRAGMA user_version = {_FORMAT};
"""
_FROM_2 = f"""
CREATE TABLE holes (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, seal BLOB, why TEXT NOT NULL) STRICT;
PRAGMA user_version = {_FORMAT};
"""

SELECT_ENTRIES = "SELECT number, kind, transaction_id, body, personal, seal FROM entries"
INSERT_ENTRY = "INSERT INTO entries (number, kind, transaction_id, body, personal, seal) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_ALERT = """
INSERT INTO alerts (number, transaction_id, decision, expected_loss, open)
SELECT ?1, ?2, ?3, ?4, NOT EXISTS (SELECT 1 FROM entries WHERE transaction_id = ?2 AND kind = 'label')
"""
CLOSE_ALERTS = "UPDATE alerts SET open = 0 WHERE transaction_id = ?"
SELECT_ALERTS = """
SELECT number, transaction_id, expected_loss, open FROM alerts
WHERE (expected_loss, -number) < (?, ?) AND (?3 IS NULL OR open = ?3) AND (?4 IS NULL OR decision = ?4) AND expected_loss >= ?5
ORDER BY expected_loss DESC, number LIMIT ?6
"""
INSERT_HOLE = "INSERT INTO holes (first, last, seal, why) VALUES (?, ?, ?, ?)"
SET_FACT = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"

DAMAGE_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError)
"""Errors of reading a damaged file; the second if SQLite's error message quotes damaged bytes."""
MARK_NAME = "journal.mark"
"""Default file name of the high-water mark, beside the database."""
DATABASE_SUFFIXES = ("", "-wal", "-shm")
"""Suffixes of the database's files: the database, its write-ahead log, and the log's index."""


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Connect to the database in WAL mode; migrate a database of format 2.

    Parameters
    ----------
    create
        Create the database if there is none; otherwise a missing one raises `sqlite3.OperationalError`.

    Raises
    ------
    ScorerError
        The database has a format that this release does not read.
    sqlite3.Error
        The database cannot be opened, or is damaged.
    """
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
    elif version == 2:
        connection.executescript(f"BEGIN IMMEDIATE; {_FROM_2} COMMIT;")
    elif version != _FORMAT:
        raise ScorerError(
            f"{path}: journal format {version} is not supported; this release reads format {_FORMAT}",
            hint="Use the fraud3000 release that wrote it.",
        )


@contextmanager
def write_transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run the block in a database transaction: commit at its end, roll back if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def read_fact(connection: sqlite3.Connection, name: str) -> Any:
    """Read a value of the table of facts; None if it is not set."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def read_holes(connection: sqlite3.Connection) -> list[Hole]:
    """Read the table of holes, in order of numbers.

    Raises
    ------
    sqlite3.DatabaseError
        The table is damaged.
    """
    rows = connection.execute("SELECT first, last, seal, why FROM holes ORDER BY first").fetchall()
    for first, last, seal, why in rows:
        typed = isinstance(first, int) and isinstance(last, int) and isinstance(why, str)
        if not typed or first > last or not isinstance(seal, bytes | None):
            raise sqlite3.DatabaseError("the table of lost entries has an invalid row")
    return [Hole(*row) for row in rows]


def alert_row(entry: Entry) -> tuple[int, str, str, float] | None:
    """Row of `INSERT_ALERT` for an entry: number, transaction, decision, expected loss; None if the entry makes no alert."""
    decision = getattr(entry, "answer", None)
    if not isinstance(decision, Decision) or not decision.alert:
        return None
    return number_in(decision.decision_id), entry.transaction_id, decision.decision, decision.expected_loss


def damaged_error(path: Path, why: str) -> CheckFailed:
    """Error of a journal whose content does not match what was written."""
    return CheckFailed(
        f"{path}: damaged ({why})", hint="Start the service: it recovers every intact entry and lists the lost ones."
    )


def unreadable_error(path: Path, error: Exception) -> CheckFailed | UnavailableError:
    """Error of a failed query: the file is damaged, or cannot be read at present."""
    operational = isinstance(error, sqlite3.OperationalError)
    return unavailable_error(path, error) if operational else damaged_error(path, str(error))


def unavailable_error(path: Path, error: Exception) -> UnavailableError:
    """Error of a journal that cannot be written or read at present."""
    return UnavailableError(f"{path}: cannot be written or read ({error})", hint="Free disk space, then retry.")
