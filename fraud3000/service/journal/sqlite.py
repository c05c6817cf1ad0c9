"""The journal as an SQLite database in WAL mode; one commit, with one flush to the disk, keeps all entries that wait together.

Old entries move to an archive beside it: the database holds those after `moved`, and where the others are.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from fraud3000.errors import CheckFailed, ParamsError, UnavailableError
from fraud3000.service.journal import hash_chain, holes
from fraud3000.service.journal.archive import Archive, entry_of, without_person
from fraud3000.service.journal.entries import Decision, Entry, ErasureEntry, LabelEntry, TransactionEntry, number_in
from fraud3000.service.journal.hash_chain import SealedRow
from fraud3000.service.journal.high_water_mark import HighWaterMark
from fraud3000.service.journal.holes import Hole, Step
from fraud3000.service.journal.interface import Alert, Flush, Queue
from fraud3000.service.journal.repair import repairs
from fraud3000.service.journal.sqlite_schema import connect
from fraud3000.service.journal.store_files import StoreFiles

ROWS = "SELECT number, kind, transaction_id, body, personal, seal FROM entries"
INSERT = "INSERT INTO entries (number, kind, transaction_id, body, personal, seal) VALUES (?, ?, ?, ?, ?, ?)"
_IN_ONE_STATEMENT = 64  # entries; each statement more is a wait for the interpreter, which the other thread has
ALERT = """
INSERT INTO alerts (number, transaction_id, decision, expected_loss, open)
SELECT ?1, ?2, ?3, ?4, NOT EXISTS (SELECT 1 FROM entries WHERE transaction_id = ?2 AND kind = 'label')
"""
CLOSED = "UPDATE alerts SET open = 0 WHERE transaction_id = ?"
_QUEUE = """
SELECT number, transaction_id, expected_loss, open FROM alerts
WHERE (expected_loss, -number) < (?, ?) AND (?3 IS NULL OR open = ?3) AND (?4 IS NULL OR decision = ?4) AND expected_loss >= ?5
ORDER BY expected_loss DESC, number LIMIT ?6
"""
SET_FACT = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"
DAMAGES = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file raises, the latter where its own words are."""
MARK = "journal.mark"
"""Name of the high-water mark's file, if nothing else is said."""
FILES = ("", "-wal", "-shm")
"""What is added to the name of the database for each of its files."""
_MOVED_AT_ONCE = 20_000  # entries of one archive file at most
_GONE_AT_ONCE = 2_000  # entries that leave in one commit, while others wait to be written


class SqliteJournal:
    """A journal in a file, read and written by two connections: `append` may be called by another thread than the rest.

    Parameters
    ----------
    path
        Its archive is the folder ``archive`` beside it.
    key
        Of the seals.
    flush
        See `Flush`.
    create
        Whether it is created if there is none.
    mark
        File of the high-water mark; `MARK` beside the database if not given.

    Raises
    ------
    CheckFailed
        The file is no journal, or damaged where it ends.
    ParamsError
        It is sealed with another key.
    UnavailableError
        It cannot be read or written.
    """

    def __init__(
        self, path: Path, *, key: bytes = b"", flush: Flush = "full", create: bool = True, mark: Path | None = None
    ) -> None:
        self.path, self.archive = path, Archive(path.parent / "archive")
        self.mark = HighWaterMark(mark or path.with_name(MARK), key=key)
        self._key, self._flush = key, flush
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._writing = connect(path, create=create)
            self._writing.execute(f"PRAGMA synchronous = {flush}")
            self._reading = connect(path)
            self.store = self._named()
            self._moved = self._fact("moved") or 0
            if not isinstance(self._moved, int):
                raise sqlite3.DatabaseError("the number of archived entries is no number")
            self.holes = read_holes(self._writing)
            self._head = self._end()
            self._files = StoreFiles(Path(f"{path}{ending}") for ending in FILES)
            self._written = StoreFiles(Path(f"{path}{ending}") for ending in FILES[:2])
        except sqlite3.OperationalError as error:
            raise _unavailable(path, error) from error
        except DAMAGES as error:
            raise damaged(path, str(error)) from error

    @property
    def last(self) -> int:
        return self._head[0]

    @property
    def end(self) -> tuple[int, bytes]:
        """Number and seal of the last entry."""
        return self._head

    @property
    def complete(self) -> bool:
        """Whether there are as many entries as their numbers say."""
        rows = self._one("SELECT count(*) FROM entries WHERE number > ?", self._moved)
        return bool(rows == self.last - self._moved - holes.count(self.holes, self._moved))

    @property
    def last_alert(self) -> int:
        """Number of the last entry that has an alert; 0 if there is none."""
        return int(self._one("SELECT coalesce(max(number), 0) FROM alerts"))

    def require_in_place(self) -> None:
        """Refuse to go on if the database at its path is not the open one.

        Raises
        ------
        UnavailableError
            It was deleted, unmounted or replaced.
        """
        self._files.require_in_place()

    def write_mark(self) -> None:
        """Write the high-water mark of the end, and wait for the disk.

        Raises
        ------
        UnavailableError
            It cannot be written.
        """
        self.mark.write(self.store, *self._head, flush=self._flush, durable=True)

    @property
    def size(self) -> int:
        """Bytes that its files take on the disk."""
        found = (Path(f"{self.path}{ending}") for ending in FILES)
        return sum(path.stat().st_size for path in found if path.exists())

    @property
    def moved(self) -> int:
        """Number of the last entry that is in the archive alone."""
        return int(self._moved)

    def seal_of(self, number: int) -> bytes | None:
        """The seal of an entry, or what stands for it before the first; None if it was lost.

        Raises
        ------
        CheckFailed
            It is missing.
        """
        return self._seal_of(self._reading, number)

    def ends(self) -> list[TransactionEntry]:
        """See `Journal.ends`."""
        asked = f"{ROWS} WHERE kind = 'transaction' ORDER BY number"
        here = [entry for way in ("ASC", "DESC") for entry in self._read(f"{asked} {way} LIMIT 1", ())]
        if self._moved:
            there = self.archive.ends()
            here = [*there[:1], *(here[-1:] or there[-1:])]
        return [entry for entry in here if isinstance(entry, TransactionEntry)]

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
        closed = [(one.transaction_id,) for one in added if isinstance(one, LabelEntry)]
        alerts = [_alert(one) for one in added if _alerts(one)]
        try:
            if 0 < len(rows) <= _IN_ONE_STATEMENT and not closed and not alerts:
                self._writing.execute(f"{INSERT}{', (?, ?, ?, ?, ?, ?)' * (len(rows) - 1)}", [*chain(*rows)])
            else:
                self._writing.execute("BEGIN IMMEDIATE")
                self._writing.executemany(INSERT, rows)
                self._writing.executemany(CLOSED, closed)
                self._writing.executemany(ALERT, alerts)
                self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            self._after_failure()
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise  # a bug of ours, that no room will mend
            raise _unavailable(self.path, error) from error
        self._head = (last + len(rows), seal)
        self._written.require_in_place()  # else the commit went into a file that nobody will find again
        self.mark.write(self.store, *self._head, flush=self._flush)

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """See `Journal.of_transaction`."""
        found = self._read(f"{ROWS} WHERE transaction_id = ? ORDER BY number", (transaction_id,))
        if not self._moved:
            return found
        both = {entry.number: entry for entry in (*self._archived(transaction_id), *found)}  # it may be just moving
        return [both[number] for number in sorted(both)]

    def of_transactions(self, ids: Collection[str]) -> dict[str, list[Entry]]:
        """See `Journal.of_transactions`."""
        if len(ids) == 1 or self._moved:
            known = ((id_, self.of_transaction(id_)) for id_ in ids)
            return {id_: entries for id_, entries in known if entries}
        asked = f"{ROWS} WHERE transaction_id IN ({', '.join('?' * len(ids))}) ORDER BY number"
        found: dict[str, list[Entry]] = {}
        for entry in self._read(asked, tuple(ids)):
            found.setdefault(entry.transaction_id, []).append(entry)
        return found

    def entry(self, number: int) -> Entry | None:
        """See `Journal.entry`."""
        if holes.containing(self.holes, number) is not None:
            return None
        if number <= self._moved:
            row = self.archive.entry(number)
            return None if row is None else entry_of(row)
        return next(iter(self._read(f"{ROWS} WHERE number = ?", (number,))), None)

    def alerts(self, asked: Queue) -> list[Alert]:
        """See `Journal.alerts`."""
        last = asked.behind or (math.inf, 0)
        given = (last[0], -last[1], asked.open, asked.decision, asked.least, asked.limit)
        try:
            found = self._reading.execute(_QUEUE, given).fetchall()
        except DAMAGES as error:
            raise _unreadable(self.path, error) from error
        return [Alert(number, id_, loss, open=bool(still)) for number, id_, loss, still in found]

    def after(self, number: int) -> Iterator[Entry]:
        """See `Journal.after`."""
        for row in self.rows_after(number):
            entry = self._told(row)
            if entry is not None:
                yield entry

    def recent(self, count: int) -> list[TransactionEntry]:
        """The last transactions that are not in the archive, in order.

        Raises
        ------
        UnavailableError
            The journal cannot be read.
        """
        asked = f"{ROWS} WHERE kind = 'transaction' ORDER BY number DESC LIMIT ?"
        try:
            with closing(connect(self.path)) as own:  # whoever asks may be another thread
                found = [self._told(SealedRow(*row)) for row in own.execute(asked, (count,))]
        except sqlite3.Error as error:
            raise _unavailable(self.path, error) from error
        return [entry for entry in found[::-1] if isinstance(entry, TransactionEntry)]

    def rows_after(self, number: int) -> Iterator[SealedRow]:
        """Every entry behind a number as it lies in its file, in order, its seal checked; from the archive, then from here.

        Raises
        ------
        CheckFailed
            An entry is missing, or not what it was when it was sealed.
        DataError
            A file of the archive cannot be read.
        """
        for step in self.steps_after(number):
            if not step.verified:
                problem = "is missing" if step.row is None else "is not what it was when it was sealed"
                raise damaged(self.path, f"entry {step.first} {problem}")
            if step.row is not None:
                yield step.row

    def steps_after(self, number: int) -> Iterator[Step]:
        """Every entry behind a number with the outcome of its verification, every hole and every gap, in order.

        Raises
        ------
        CheckFailed
            The file cannot be read further.
        DataError
            A file of the archive cannot be read.
        """
        try:
            with closing(connect(self.path)) as reading:
                seal = self._seal_of(reading, number)
                rows = self._all_after(reading, number)
                yield from holes.steps(rows, self.holes, key=self._key, after=number, seal=seal)
        except DAMAGES as error:
            raise damaged(self.path, f"behind entry {number}: {error}") from error

    def move(self, before: datetime) -> int:
        """Let entries that came before a moment leave for the archive, by the day of their coming; how many left.

        Others may be appended meanwhile, by another thread.

        Raises
        ------
        UnavailableError
            The archive or the journal cannot be written.
        """
        moment = int(before.timestamp() * 1e6)
        first = self._moved
        with closing(connect(self.path)) as own:
            self._let_go(own, self.archive.last)  # of a move that was cut off
            while rows := self._leaving(own, moment):
                self.archive.add([row for _, row in rows], datetime.fromtimestamp(rows[-1][0] / 1e6, UTC).date())
                self._let_go(own, self.archive.last)
        return self.moved - int(first)

    def erase(self, cards: dict[str, str], at: int) -> int:
        """Give cards other names, take what else is personal of theirs, and note that; how many entries were of them.

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
            self._writing.execute("PRAGMA secure_delete = ON")
            self._writing.execute("BEGIN IMMEDIATE")
            for raw in self._reading.execute(f"{ROWS} WHERE personal IS NOT NULL AND number > ?", (self._moved,)):
                row = SealedRow(*raw)
                told = without_person(row, cards)
                if told is not row:
                    self._writing.execute(
                        "UPDATE entries SET personal = ? WHERE number = ?", (told.personal, row.number)
                    )
                    count += 1
            self._writing.execute("COMMIT")
            if count:
                self.append([ErasureEntry(self.last + 1, count, at)])
            self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._after_failure()
            raise _unavailable(self.path, error) from error
        return count

    def add_hole(self, hole: Hole) -> None:
        """Note that the entries behind the last one are lost: the next one is numbered on behind the hole.

        Raises
        ------
        UnavailableError
            The journal cannot be written.
        """
        if hole.first != self.last + 1 or hole.seal is None:
            raise ValueError(f"hole {hole.span} does not follow entry {self.last}")
        try:
            with self._commit(self._writing) as writing:
                row = (hole.first, hole.last, hole.seal, hole.why)
                writing.execute("INSERT INTO holes (first, last, seal, why) VALUES (?, ?, ?, ?)", row)
                writing.execute("DELETE FROM alerts WHERE number BETWEEN ? AND ?", (hole.first, hole.last))
        except sqlite3.Error as error:
            raise _unavailable(self.path, error) from error
        self.holes.append(hole)
        self._head = self._end()

    def close(self) -> None:
        """See `Journal.close`."""
        self._reading.close()
        self._writing.close()
        self.mark.close()

    def _told(self, row: SealedRow) -> Entry | None:
        try:
            return entry_of(row)
        except ValueError as error:
            raise damaged(self.path, str(error)) from error

    def _one(self, query: str, *values: object) -> Any:
        try:
            return self._reading.execute(query, values).fetchone()[0]
        except DAMAGES as error:
            raise _unreadable(self.path, error) from error

    def _read(self, asked: str, given: tuple[Any, ...]) -> list[Entry]:
        try:
            found = [self._told(SealedRow(*row)) for row in self._reading.execute(asked, given)]
        except DAMAGES as error:
            raise _unreadable(self.path, error) from error
        return [entry for entry in found if entry is not None]

    def _archived(self, transaction_id: str) -> list[Entry]:
        asked = "SELECT number FROM archived WHERE transaction_id = ? ORDER BY number"
        try:
            numbers = self._reading.execute(asked, (transaction_id,)).fetchall()
        except DAMAGES as error:
            raise _unreadable(self.path, error) from error
        whole = [number for (number,) in numbers if holes.containing(self.holes, number) is None]
        found = [self.archive.entry(number) for number in whole]
        told = [self._told(row) for row in found if row is not None]
        return [entry for entry in told if entry is not None]

    def _all_after(self, reading: sqlite3.Connection, number: int) -> Iterator[SealedRow]:
        """Behind a number: the archive up to where the journal begins, as it stands when this begins."""
        reading.execute("BEGIN")
        moved = _fact(reading, "moved") or 0
        if number < moved:
            yield from self.archive.after(number, moved)
        asked = f"{ROWS} WHERE number > ? ORDER BY number"
        for row in reading.execute(asked, (max(number, moved),)):
            yield SealedRow(*row)

    def _leaving(self, own: sqlite3.Connection, moment: int) -> list[tuple[int, SealedRow]]:
        """The next entries for one file of the archive, each with the time of the last transaction up to it."""
        rows: list[tuple[int, SealedRow]] = []
        came, repaired = 0, repairs(self)
        for raw in own.execute(f"{ROWS} WHERE number > ? ORDER BY number LIMIT {_MOVED_AT_ONCE}", (self._moved,)):
            row = SealedRow(*raw)
            entry = self._told(row)
            if isinstance(entry, TransactionEntry):
                later = (repair.at for repair in repaired if repair.number > entry.number)
                came = max(came, min([entry.received_at, *later]))  # a wrong clock may have said any time
            if came >= moment:
                break
            rows.append((came, row))
        days = groupby(rows, key=lambda one: one[0] // 86_400_000_000)
        return next(([*part] for _, part in days), [])

    def _let_go(self, own: sqlite3.Connection, until: int) -> None:
        """Leave to the archive what it has, a few at a time, since others wait to be written meanwhile."""
        while self._moved < until:
            self._leave(own, min(until, self._moved + _GONE_AT_ONCE))

    def _leave(self, own: sqlite3.Connection, last: int) -> None:
        known = "INSERT OR REPLACE INTO archived SELECT transaction_id, number FROM entries WHERE number <= ?"
        before, self._moved = self._moved, last  # from now on others look there too
        try:
            with self._commit(own):
                own.execute(known, (last,))
                own.execute(SET_FACT, ("moved_seal", self._seal_of(own, last)))
                own.execute(SET_FACT, ("moved", last))
                own.execute("DELETE FROM entries WHERE number <= ?", (last,))
                own.execute("DELETE FROM alerts WHERE number <= ? AND NOT open", (last,))
        except sqlite3.Error as error:
            self._moved = before
            raise _unavailable(self.path, error) from error

    def _commit(self, connection: sqlite3.Connection) -> _Commit:
        return _Commit(connection)

    def _seal_of(self, reading: sqlite3.Connection, number: int) -> bytes | None:
        if number == 0:
            return hash_chain.START
        hole = holes.containing(self.holes, number)
        if hole is not None:
            return hole.seal if number == hole.last else None
        if number == _fact(reading, "moved"):
            return bytes(_fact(reading, "moved_seal"))
        found = reading.execute("SELECT seal FROM entries WHERE number = ?", (number,)).fetchone()
        if found is not None:
            return bytes(found[0])
        row = self.archive.entry(number)
        if row is None:
            raise damaged(self.path, f"entry {number} is missing")
        return row.seal

    def _named(self) -> str:
        """The store's own name; with the key that seals it, told when it is made."""
        name = hash_chain.name_of(self._key)
        if self._fact("store") is None:
            with self._commit(self._writing) as writing:
                writing.execute(SET_FACT, ("store", secrets.token_hex(8)))
                writing.execute(SET_FACT, ("key", name))
        if self._fact("key") != name:
            given = f"the key in {hash_chain.VARIABLE}" if self._key else f"no key, as {hash_chain.VARIABLE} is not set"
            raise ParamsError(
                f"{self.path}: is sealed with another key than {given}",
                hint=f"Set {hash_chain.VARIABLE} to what it was when the service first started.",
            )
        return str(self._fact("store"))

    def _fact(self, name: str) -> Any:
        return _fact(self._writing, name)

    def _end(self) -> tuple[int, bytes]:
        found = self._writing.execute("SELECT number, seal FROM entries ORDER BY number DESC LIMIT 1").fetchone()
        number, seal = found or (self._fact("moved") or 0, self._fact("moved_seal") or hash_chain.START)
        last = self.holes[-1] if self.holes else None
        return (number, seal) if last is None or last.last < number else (last.last, last.seal or hash_chain.START)

    def _after_failure(self) -> None:
        """Take nothing for kept that is not, whatever became of the commit."""
        if self._writing.in_transaction:
            self._writing.execute("ROLLBACK")
        self._head = self._end()


class _Commit:
    """A transaction of the database around a block."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _fact(connection: sqlite3.Connection, name: str) -> Any:
    found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if found is None else found[0]


def read_holes(connection: sqlite3.Connection) -> list[Hole]:
    """The table of holes, in order.

    Raises
    ------
    sqlite3.DatabaseError
        It is damaged.
    """
    rows = connection.execute("SELECT first, last, seal, why FROM holes ORDER BY first").fetchall()
    for first, last, seal, why in rows:
        typed = isinstance(first, int) and isinstance(last, int) and isinstance(why, str)
        if not typed or first > last or not isinstance(seal, bytes | None):
            raise sqlite3.DatabaseError("the table of lost entries holds other rows")
    return [Hole(*row) for row in rows]


def alert_of(entry: Entry) -> tuple[int, str, str, float] | None:
    """The row of the table of alerts that an entry makes: number, transaction, decision, expected loss; None if none."""
    return _alert(entry) if _alerts(entry) else None


def _alerts(entry: Entry) -> bool:
    answer = getattr(entry, "answer", None)
    return isinstance(answer, Decision) and answer.alert


def _alert(entry: Any) -> tuple[int, str, str, float]:
    answer: Decision = entry.answer
    return number_in(answer.decision_id), entry.transaction_id, answer.decision, answer.expected_loss


def damaged(path: Path, why: str) -> CheckFailed:
    """The error of a journal that is not what it was."""
    return CheckFailed(
        f"{path}: damaged ({why})", hint="Start the service: it keeps every whole entry and names the others."
    )


def _unreadable(path: Path, error: Exception) -> CheckFailed | UnavailableError:
    """The error of a query that failed: the file is damaged, or cannot be read now."""
    return _unavailable(path, error) if isinstance(error, sqlite3.OperationalError) else damaged(path, str(error))


def _unavailable(path: Path, error: sqlite3.Error) -> UnavailableError:
    return UnavailableError(f"{path}: cannot be written or read ({error})", hint="Free space, and send it again.")
