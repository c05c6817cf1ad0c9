"""Shadow model: scores every transaction in a process of its own, without affecting decisions.

The process follows the journal. It has feature state of the shadow model's own catalogue, computes each transaction's features
from it, decides, and writes the result to its own SQLite file. The service never waits for it.
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
from fraud3000.service.entries import Entry, TransactionEntry
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.sqlite import SqliteJournal

_TABLES = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY, score REAL NOT NULL, threshold REAL NOT NULL, decision TEXT NOT NULL,
    expected_loss REAL NOT NULL, features_us REAL NOT NULL, decision_us REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
"""
_BATCH = 500  # entries that are processed and written at a time
_PAUSE = 0.2  # seconds between polls of a journal without new entries
_SNAPSHOT_EVERY = 250_000  # entries


class ShadowDecision(NamedTuple):
    """The shadow model's decision about one transaction, with microseconds spent on features and on the decision."""

    number: int
    score: float | None
    threshold: float | None
    decision: str
    expected_loss: float
    features_us: float
    decision_us: float


class ShadowStore:
    """SQLite file with the decisions of one shadow model.

    Parameters
    ----------
    root
        The service's data folder.
    version, fingerprint
        The model's version and the SHA-256 of its bundle.

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
        self._set_fact("fingerprint", fingerprint)

    @classmethod
    def all(cls, root: Path) -> list[ShadowStore]:
        """Open every shadow store of a service, the most recently written first."""
        paths = sorted((root / "shadow").glob("*.db"), key=lambda path: -path.stat().st_mtime)
        stores = []
        for path in paths:
            version = path.stem.rpartition("-")[0]
            with contextlib.suppress(sqlite3.OperationalError, TypeError), closing(sqlite3.connect(path)) as connection:
                # a file that is being created has no such fact yet
                fingerprint = connection.execute("SELECT value FROM facts WHERE name = 'fingerprint'").fetchone()[0]
                stores.append(cls(root, version, fingerprint))
        return stores

    @property
    def last_entry(self) -> int | None:
        """Number of the last entry that was processed; None before the first."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = 'seen'").fetchone()
        return None if row is None else int(row[0])

    @property
    def count(self) -> int:
        """Number of decisions."""
        return int(self._connection.execute("SELECT count(*) FROM decisions").fetchone()[0])

    def add(self, decisions: list[ShadowDecision], last_entry: int) -> None:
        """Write decisions and the number of the last processed entry in one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?)", decisions)
        self._set_fact("seen", last_entry)
        self._connection.execute("COMMIT")

    @property
    def first(self) -> int:
        """Number of the first entry with a decision; 1 if there are no decisions."""
        return int(self._connection.execute("SELECT coalesce(min(number), 1) FROM decisions").fetchone()[0])

    def find(self, number: int) -> ShadowDecision | None:
        """Return the decision about an entry's transaction; None if there is none."""
        row = self._connection.execute("SELECT * FROM decisions WHERE number = ?", (number,)).fetchone()
        return None if row is None else ShadowDecision(*row)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _set_fact(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


@dataclass
class Shadow:
    """A shadow model that follows a service's journal.

    Attributes
    ----------
    root
        The service's data folder.
    scorer
        The model.
    decisions
        Where its decisions are written.
    journal
        The service's journal, read only.
    store
        Feature state after the entry `last_entry`.
    last_entry
        Number of the last entry that was processed.
    snapshot_entry
        Number of the last entry in the newest snapshot.
    """

    root: Path
    scorer: Scorer
    decisions: ShadowStore
    journal: SqliteJournal
    store: FeatureStore
    last_entry: int
    snapshot_entry: int

    @classmethod
    def open(cls, root: Path, bundled: Path, version: str, *, since: int | None = None, key: bytes = b"") -> Shadow:
        """Start with entries after `since`, or resume after the last processed one.

        Parameters
        ----------
        since
            Number of the entry after which a new shadow starts; None for the journal's last.

        Raises
        ------
        CheckFailed
            The journal is damaged.
        ScorerError
            The bundle fails verification.
        UnavailableError
            The journal cannot be read, or the shadow store cannot be written.
        """
        scorer = Scorer.load(bundled, version=version)
        scorer.self_test()
        journal = SqliteJournal(root / "journal.db", key=key, create=False)
        decisions = ShadowStore(root, version, bundle.fingerprint(bundled))
        until = since if decisions.last_entry is None else decisions.last_entry
        store, snapshot, last_entry = feature_state.build(root, scorer.catalogue, journal, until=until)
        decisions.add([], last_entry)
        return cls(root, scorer, decisions, journal, store, last_entry, snapshot or 0)

    def process_next(self, limit: int = _BATCH) -> int:
        """Process the next entries of the journal, up to a limit; returns their number.

        Raises
        ------
        CheckFailed
            The journal is damaged.
        """
        entries = self.journal.after(self.last_entry)
        batch = list(islice(entries, limit))
        decisions = [shadow_decision for entry in batch if (shadow_decision := self._process(entry)) is not None]
        if batch:
            self.decisions.add(decisions, batch[-1].number)
            self.last_entry = batch[-1].number
            if self.last_entry - self.snapshot_entry >= _SNAPSHOT_EVERY:
                self.save()
        return len(batch)

    def save(self) -> None:
        """Write a snapshot of the feature state, from which the next start resumes."""
        feature_state.save(
            self.root, self.store, (self.last_entry, self.journal.seal_of(self.last_entry) or hash_chain.START)
        )
        self.snapshot_entry = self.last_entry

    def close(self) -> None:
        """Close the files."""
        self.decisions.close()
        self.journal.close()

    def _process(self, entry: Entry) -> ShadowDecision | None:
        begin = time.perf_counter_ns()
        features = feature_state.observe_entry(self.store, entry)
        if not isinstance(entry, TransactionEntry):
            return None
        observed = time.perf_counter_ns()
        features_by_name = dict(zip(self.scorer.catalogue.names, features, strict=True))
        (decision,) = self.scorer.decide_rows([features_by_name], [entry.transaction["amount"]])
        end = time.perf_counter_ns()
        fields = (decision.score, decision.threshold, decision.decision, decision.expected_loss)
        return ShadowDecision(entry.number, *fields, (observed - begin) / 1e3, (end - observed) / 1e3)


def command(root: Path, bundled: Path, version: str, since: int) -> list[str]:
    """Return the command line of a process that follows a service's journal after the entry `since`."""
    return [sys.executable, "-m", __name__, json.dumps([str(root), str(bundled), version, since])]


def main() -> None:
    """Follow the journal until SIGTERM, or until the parent process has ended."""
    logs.set_up()
    root, bundled, version, since = json.loads(sys.argv[1])
    parent, stopped = os.getppid(), False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    try:
        key = hash_chain.audit_key(os.environ)
        with closing(Shadow.open(Path(root), Path(bundled), version, since=since, key=key)) as shadow:
            logger.info("shadow follows version={} from={}", version, shadow.last_entry)
            while not stopped and os.getppid() == parent:
                if not shadow.process_next():
                    time.sleep(_PAUSE)
            shadow.save()
    except FraudError as error:
        logger.error("shadow failed: {} ({})", error.message, error.hint)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
