"""A second model that decides everything too, and of which nobody acts on a word.

It runs in a process of its own and follows the journal: it has a state of its own catalogue, reads each transaction's
features from it, decides, and writes that into a book of its own. The service that answers waits for none of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from loguru import logger

from fraud3000 import logs
from fraud3000.errors import FraudError, UnavailableError
from fraud3000.features.online import FeatureStore
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.service.engine import feature_state
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.entries import Entry, TransactionEntry
from fraud3000.service.journal.sqlite import SqliteJournal

_TABLES = """
CREATE TABLE IF NOT EXISTS opinions (
    number INTEGER PRIMARY KEY, score REAL NOT NULL, threshold REAL NOT NULL, decision TEXT NOT NULL,
    expected_loss REAL NOT NULL, features_us REAL NOT NULL, decision_us REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
"""
_AT_ONCE = 500  # entries that are looked at and written at a time
_PAUSE = 0.2  # seconds, where there is nothing to look at
_SAVED_EVERY = 250_000  # entries from one snapshot to the next


class Opinion(NamedTuple):
    """What the shadow says of the transaction of an entry, and how long that took: its features, and the decision."""

    number: int
    score: float
    threshold: float
    decision: str
    expected_loss: float
    features_us: float
    decision_us: float


class ShadowStore:
    """What one model has said, in a file.

    Parameters
    ----------
    root
        The service's folder.
    version, fingerprint
        Of the model.

    Raises
    ------
    UnavailableError
        The file cannot be written.
    """

    def __init__(self, root: Path, version: str, fingerprint: str) -> None:
        self.version, self.fingerprint = version, fingerprint
        self.path = root / "shadow" / f"{version}-{fingerprint[:16]}.db"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise UnavailableError(f"{self.path}: cannot be written ({error})", hint="Free space.") from error
        self._know("fingerprint", fingerprint)

    @classmethod
    def all(cls, root: Path) -> list[ShadowStore]:
        """Every book of a service, the one that was written last first."""
        found = sorted((root / "shadow").glob("*.db"), key=lambda path: -path.stat().st_mtime)
        books = []
        for path in found:
            version = path.stem.rpartition("-")[0]
            with contextlib.suppress(sqlite3.OperationalError, TypeError), closing(sqlite3.connect(path)) as read:
                # one that is being made has no such fact yet
                fingerprint = read.execute("SELECT value FROM facts WHERE name = 'fingerprint'").fetchone()[0]
                books.append(cls(root, version, fingerprint))
        return books

    @property
    def seen(self) -> int | None:
        """Number of the last entry that was looked at; None before the first."""
        found = self._connection.execute("SELECT value FROM facts WHERE name = 'seen'").fetchone()
        return None if found is None else int(found[0])

    @property
    def height(self) -> int:
        """How many opinions there are."""
        return int(self._connection.execute("SELECT count(*) FROM opinions").fetchone()[0])

    def add(self, opinions: list[Opinion], seen: int) -> None:
        """Write opinions, and how far the journal was looked at, all or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO opinions VALUES (?, ?, ?, ?, ?, ?, ?)", opinions)
        self._know("seen", seen)
        self._connection.execute("COMMIT")

    @property
    def first(self) -> int:
        """Number of the first entry that there is an opinion of; 1 where there is none."""
        return int(self._connection.execute("SELECT coalesce(min(number), 1) FROM opinions").fetchone()[0])

    def of(self, number: int) -> Opinion | None:
        """The opinion of an entry's transaction; None where there is none."""
        found = self._connection.execute("SELECT * FROM opinions WHERE number = ?", (number,)).fetchone()
        return None if found is None else Opinion(*found)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _know(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


@dataclass
class Shadow:
    """One model that follows a journal.

    Attributes
    ----------
    root
        The service's folder.
    scorer
        The model.
    book
        Where it writes.
    journal
        What it reads.
    store
        Its features' state after the entry `seen`.
    """

    root: Path
    scorer: Scorer
    book: ShadowStore
    journal: SqliteJournal
    store: FeatureStore
    seen: int
    saved: int

    @classmethod
    def open(cls, root: Path, bundled: Path, version: str, *, since: int | None = None, key: bytes = b"") -> Shadow:
        """Begin with what comes from now on, or go on where it ended.

        Parameters
        ----------
        since
            Number of the last entry that is not looked at, where it begins; None for the journal's last.

        Raises
        ------
        CheckFailed
            The journal is damaged.
        ScorerError
            The bundle cannot be trusted.
        UnavailableError
            The journal cannot be read, or the book not written.
        """
        scorer = Scorer.load(bundled, version=version)
        scorer.self_test()
        journal = SqliteJournal(root / "journal.db", key=key, create=False)
        book = ShadowStore(root, version, bundle.fingerprint(bundled))
        until = since if book.seen is None else book.seen
        store, snapshot, seen = feature_state.made(root, scorer.catalogue, journal, until=until)
        book.add([], seen)
        return cls(root, scorer, book, journal, store, seen, snapshot or 0)

    def catch_up(self, most: int = _AT_ONCE) -> int:
        """Look at the next entries, up to so many; how many there were.

        Raises
        ------
        CheckFailed
            The journal is damaged.
        """
        entries = self.journal.after(self.seen)
        part = list(islice(entries, most))
        opinions = [opinion for entry in part if (opinion := self._met(entry)) is not None]
        if part:
            self.book.add(opinions, part[-1].number)
            self.seen = part[-1].number
            if self.seen - self.saved >= _SAVED_EVERY:
                self.save()
        return len(part)

    def save(self) -> None:
        """Write a snapshot of the state, from which it goes on after its end."""
        feature_state.save(self.root, self.store, (self.seen, self.journal.seal_of(self.seen) or hash_chain.START))
        self.saved = self.seen

    def close(self) -> None:
        """Let go of the files."""
        self.book.close()
        self.journal.close()

    def _met(self, entry: Entry) -> Opinion | None:
        begin = time.perf_counter_ns()
        features = feature_state.meet(self.store, entry)
        if not isinstance(entry, TransactionEntry):
            return None
        between = time.perf_counter_ns()
        named = dict(zip(self.scorer.catalogue.names, features, strict=True))
        (judged,) = self.scorer.decide_rows([named], [entry.transaction["amount"]])
        end = time.perf_counter_ns()
        return Opinion(entry.number, *judged, (between - begin) / 1e3, (end - between) / 1e3)


def command(root: Path, bundled: Path, version: str, since: int) -> list[str]:
    """How a process is started that follows a service's journal from an entry on."""
    return [sys.executable, "-m", __name__, json.dumps([str(root), str(bundled), version, since])]


def main() -> None:
    """Follow the journal until whoever started this is gone, or it is asked to end."""
    logs.set_up()
    root, bundled, version, since = json.loads(sys.argv[1])
    parent, asked = os.getppid(), False

    def end(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, end)
    try:
        key = hash_chain.audit_key(os.environ)
        with closing(Shadow.open(Path(root), Path(bundled), version, since=since, key=key)) as shadow:
            logger.info("shadow follows version={} from={}", version, shadow.seen)
            while not asked and os.getppid() == parent:
                if not shadow.catch_up():
                    time.sleep(_PAUSE)
            shadow.save()
    except FraudError as error:
        logger.error("shadow ends: {} ({})", error.message, error.hint)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
