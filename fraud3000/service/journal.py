"""The journal: entries that are on the disk before they are answered, each sealed to the one before.

A seal is the HMAC-SHA-256 of the seal before and the entry, so a changed, missing or added entry shows. The file is
an SQLite database in WAL mode; one commit, with one flush to the disk, keeps all entries that wait together.
"""

from __future__ import annotations

import hmac
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from fraud3000.errors import CheckFailed, ScorerError, UnavailableError
from fraud3000.service import entries
from fraud3000.service.entries import Answer, Entry, Label, Taken, number_in

Flush = Literal["full", "normal"]
"""When a commit is on the disk: before it returns; or some commits later, safe from the end of the process alone."""

START = b"\0" * 32
"""The seal before the first entry."""

_FORMAT = 1
_TABLES = f"""
CREATE TABLE entries (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, transaction_id TEXT NOT NULL, body BLOB NOT NULL, seal BLOB NOT NULL
) STRICT;
CREATE INDEX entries_of_transaction ON entries (transaction_id, number);
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY, transaction_id TEXT NOT NULL, decision TEXT NOT NULL, expected_loss REAL NOT NULL,
    open INTEGER NOT NULL
) STRICT;
CREATE INDEX alerts_by_loss ON alerts (expected_loss DESC, number);
CREATE INDEX alerts_of_transaction ON alerts (transaction_id);
PRAGMA user_version = {_FORMAT};
"""
_ALL = "SELECT number, kind, transaction_id, body, seal FROM entries"
_INSERT = "INSERT INTO entries (number, kind, transaction_id, body, seal) VALUES (?, ?, ?, ?, ?)"
_ALERT = """
INSERT INTO alerts (number, transaction_id, decision, expected_loss, open)
SELECT ?1, ?2, ?3, ?4, NOT EXISTS (SELECT 1 FROM entries WHERE transaction_id = ?2 AND kind = 'label')
"""
_CLOSED = "UPDATE alerts SET open = 0 WHERE transaction_id = ?"
_QUEUE = """
SELECT number, transaction_id, expected_loss, open FROM alerts
WHERE (expected_loss, -number) < (?, ?) AND (?3 IS NULL OR open = ?3) AND (?4 IS NULL OR decision = ?4) AND expected_loss >= ?5
ORDER BY expected_loss DESC, number LIMIT ?6
"""
_FILES = ("", "-wal", "-shm")
_DAMAGES = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file raises, the latter where its own words are."""
_AT_ONCE = 10_000  # entries that are rescued in one commit

Sealed = tuple[int, str, str, bytes, bytes]
"""Number, kind, transaction, body and seal of an entry."""


@dataclass(frozen=True)
class Queue:
    """Which alerts are asked for.

    Attributes
    ----------
    open
        Those without a label record, or those with one; None for both.
    decision
        review or decline; None for both.
    least
        Expected loss in minor units.
    behind
        Expected loss and number of the alert after which to go on; None for the first.
    limit
        How many at most.
    """

    open: bool | None = True
    decision: str | None = None
    least: float = 0.0
    behind: tuple[float, int] | None = None
    limit: int = 50


@dataclass(frozen=True)
class Alert:
    """A decision that somebody should look at.

    Attributes
    ----------
    number
        Of the transaction's entry.
    expected_loss
        If it were approved, in minor units.
    open
        No label record speaks of it yet.
    """

    number: int
    transaction_id: str
    expected_loss: float
    open: bool


class Journal(Protocol):
    """Where entries are kept."""

    @property
    def last(self) -> int:
        """Number of the last entry; 0 before the first."""

    def append(self, added: Sequence[Entry]) -> None:
        """Keep entries, numbered on from the last; all are on the disk when it returns.

        Raises
        ------
        UnavailableError
            `last` tells whether they are kept, all or none.
        """

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """What is kept about a transaction, in order."""

    def ends(self) -> list[Taken]:
        """The first transaction that came in and the last; none where there is none."""

    def entry(self, number: int) -> Entry | None:
        """The entry of a number; None where there is none."""

    def alerts(self, asked: Queue) -> list[Alert]:
        """Alerts by expected loss, the largest first, and where that is equal in order of arrival."""

    def after(self, number: int) -> Iterator[Entry]:
        """Every entry behind a number, in order, its seal checked.

        Raises
        ------
        CheckFailed
            An entry is missing, or not what it was when it was sealed.
        """

    def close(self) -> None:
        """Let go of it."""


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


class SqliteJournal:
    """A journal in a file, read and written by two connections: `append` may be called by another thread than the rest.

    Parameters
    ----------
    path
        Made where there is none.
    key
        Of the seals.
    flush
        See `Flush`.

    Raises
    ------
    CheckFailed
        The file is no journal, or damaged where it ends.
    UnavailableError
        It cannot be read or written.
    """

    def __init__(self, path: Path, *, key: bytes = b"", flush: Flush = "full") -> None:
        self.path = path
        self._key = key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writing = _connected(path)
            self._writing.execute(f"PRAGMA synchronous = {flush}")
            self._reading = _connected(path)
            self._last, self._seal = self._end()
        except sqlite3.OperationalError as error:
            raise _unavailable(path, error) from error
        except _DAMAGES as error:
            raise _damaged(path, str(error)) from error

    @property
    def last(self) -> int:
        return self._last

    @property
    def end(self) -> tuple[int, bytes]:
        """Number and seal of the last entry."""
        return self._last, self._seal

    def seal_of(self, number: int) -> bytes:
        """The seal of an entry, or what stands for it before the first.

        Raises
        ------
        CheckFailed
            It is missing.
        """
        return _seal_of(self._reading, self.path, number)

    def ends(self) -> list[Taken]:
        """See `Journal.ends`."""
        asked = f"{_ALL} WHERE kind = 'transaction' ORDER BY number"
        found = [entry for way in ("ASC", "DESC") for entry in self._read(f"{asked} {way} LIMIT 1", ())]
        return [entry for entry in found if isinstance(entry, Taken)]

    def append(self, added: Sequence[Entry]) -> None:
        """See `Journal.append`."""
        rows: list[Sealed] = []
        seal = self._seal
        for number, entry in enumerate(added, self._last + 1):
            if entry.number != number:
                raise ValueError(f"entry {entry.number} where {number} is next")
            body = entry.body()
            seal = sealed(self._key, seal, number, entry.kind, entry.transaction_id, body)
            rows.append((number, entry.kind, entry.transaction_id, body, seal))
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            self._writing.executemany(_INSERT, rows)
            self._writing.executemany(_CLOSED, [(one.transaction_id,) for one in added if isinstance(one, Label)])
            self._writing.executemany(_ALERT, [_alert(one) for one in added if _alerts(one)])
            self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            self._after_failure()
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise  # a bug of ours, that no room will mend
            raise _unavailable(self.path, error) from error
        self._last, self._seal = self._last + len(rows), seal

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """See `Journal.of_transaction`."""
        return self._read(f"{_ALL} WHERE transaction_id = ? ORDER BY number", (transaction_id,))

    def entry(self, number: int) -> Entry | None:
        """See `Journal.entry`."""
        return next(iter(self._read(f"{_ALL} WHERE number = ?", (number,))), None)

    def alerts(self, asked: Queue) -> list[Alert]:
        """See `Journal.alerts`."""
        last = asked.behind or (math.inf, 0)
        given = (last[0], -last[1], asked.open, asked.decision, asked.least, asked.limit)
        try:
            found = self._reading.execute(_QUEUE, given).fetchall()
        except sqlite3.Error as error:
            raise _unavailable(self.path, error) from error
        return [Alert(number, id_, loss, open=bool(still)) for number, id_, loss, still in found]

    def after(self, number: int) -> Iterator[Entry]:
        """See `Journal.after`."""
        for row in self._checked_after(number):
            yield entries.read(*row[:4])

    def close(self) -> None:
        """See `Journal.close`."""
        self._reading.close()
        self._writing.close()

    def _read(self, asked: str, given: tuple[Any, ...]) -> list[Entry]:
        try:
            return [entries.read(*row[:4]) for row in self._reading.execute(asked, given)]
        except sqlite3.Error as error:
            raise _unavailable(self.path, error) from error

    def _checked_after(self, number: int) -> Iterator[Sealed]:
        try:
            with closing(_connected(self.path)) as reading:
                seal = _seal_of(reading, self.path, number)
                for row in reading.execute(f"{_ALL} WHERE number > ? ORDER BY number", (number,)):
                    number += 1
                    if not _intact(row, number, seal, self._key):
                        raise _damaged(self.path, f"entry {number} is not what it was when it was sealed")
                    seal = row[4]
                    yield row
        except _DAMAGES as error:
            raise _damaged(self.path, f"behind entry {number}: {error}") from error

    def _end(self) -> tuple[int, bytes]:
        found = self._writing.execute("SELECT number, seal FROM entries ORDER BY number DESC LIMIT 1").fetchone()
        return found or (0, START)

    def _after_failure(self) -> None:
        """Take nothing for kept that is not, whatever became of the commit."""
        if self._writing.in_transaction:
            self._writing.execute("ROLLBACK")
        self._last, self._seal = self._end()


def recover(path: Path, *, key: bytes = b"") -> Lost:
    """Keep the entries before the first damaged one, and put the file with all that it holds aside.

    Raises
    ------
    UnavailableError
        There is no room for them.
    """
    rescued = path.with_name(f"{path.name}.rescued")
    _move(rescued, None)
    why, part = "nothing is damaged", list[Entry]()
    with closing(SqliteJournal(rescued, key=key)) as journal:
        try:
            with closing(SqliteJournal(path, key=key)) as damaged:
                for entry in damaged.after(0):
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


def _alerts(entry: Entry) -> bool:
    return not isinstance(entry, Label) and entry.answer is not None and entry.answer.alert


def _alert(entry: Any) -> tuple[int, str, str, float]:
    answer: Answer = entry.answer
    return number_in(answer.decision_id), entry.transaction_id, answer.decision, answer.expected_loss


def sealed(key: bytes, before: bytes, number: int, kind: str, transaction_id: str, body: bytes) -> bytes:
    """The seal of an entry: HMAC-SHA-256 over the seal before it and all of its parts."""
    told = transaction_id.encode("utf-8", "surrogatepass")
    return hmac.digest(key, before + f"{number} {kind} {len(told)} ".encode() + told + body, "sha256")


def _intact(row: Sealed, number: int, before: bytes, key: bytes) -> bool:
    of_kinds = all(isinstance(part, kind) for part, kind in zip(row, (int, str, str, bytes, bytes), strict=True))
    return of_kinds and row[0] == number and hmac.compare_digest(row[4], sealed(key, before, *row[:4]))


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        _lay_out(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _lay_out(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables where there are none."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
    elif found != _FORMAT:
        said = f"{path}: a journal of form {found}, and this fraud3000 reads {_FORMAT}"
        raise ScorerError(said, hint="Start the fraud3000 that wrote it.")


def _seal_of(reading: sqlite3.Connection, path: Path, number: int) -> bytes:
    if number == 0:
        return START
    found = reading.execute("SELECT seal FROM entries WHERE number = ?", (number,)).fetchone()
    if found is None:
        raise _damaged(path, f"entry {number} is missing")
    return bytes(found[0])


def _move(path: Path, to: Path | None) -> None:
    for ending in _FILES:
        found = Path(f"{path}{ending}")
        if found.exists() and to is None:
            found.unlink()
        elif found.exists():
            found.replace(f"{to}{ending}")


def _damaged(path: Path, why: str) -> CheckFailed:
    return CheckFailed(f"{path}: damaged ({why})", hint="A start of the service keeps what stands before the damage.")


def _unavailable(path: Path, error: sqlite3.Error) -> UnavailableError:
    return UnavailableError(f"{path}: cannot be written or read ({error})", hint="Free space, and send it again.")
