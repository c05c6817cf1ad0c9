"""The tables of the journal's database, and connections to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from fraud3000.errors import ScorerError

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


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Connect to the database in WAL mode; a database of the format before is brought up to this one.

    Parameters
    ----------
    create
        Whether a database is created if there is none; without, that is an `sqlite3.OperationalError`.

    Raises
    ------
    ScorerError
        The database has a format that this release does not read.
    sqlite3.Error
        It cannot be opened, or is damaged.
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
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
    elif found == 2:
        connection.executescript(f"BEGIN IMMEDIATE; {_FROM_2} COMMIT;")
    elif found != _FORMAT:
        raise ScorerError(
            f"{path}: journal format {found} is not supported; this release reads format {_FORMAT}",
            hint="Start the fraud3000 that wrote it.",
        )
