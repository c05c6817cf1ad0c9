"""Where a service keeps what it knows: what it began with, its journal, and snapshots of its features.

```
seed.json  history.parquet  labels.parquet    what came before the service, copied once
journal.db  archive/                          what came in since, and what was decided
snapshots/<catalogue>/<number>-<seal>.snapshot    the features' state after an entry of the journal
```

All of it but the snapshots is data; a snapshot saves time alone, and one that does not fit is passed over.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from loguru import logger

from fraud3000.data.storage import atomic_write
from fraud3000.errors import CheckFailed, UnavailableError
from fraud3000.features.online import FeatureStore
from fraud3000.features.online.event_encoder import EPOCH
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.schema import LEDGER, TRANSACTIONS
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.feature_state import HISTORY, LABELS
from fraud3000.service.engine.seed_history import Past
from fraud3000.service.journal import claims
from fraud3000.service.journal.acknowledge import accept_loss, acknowledgement
from fraud3000.service.journal.checkpoints import CheckpointClaims, CheckpointFile
from fraud3000.service.journal.entries import PERSONAL, AcknowledgementEntry
from fraud3000.service.journal.interface import Flush
from fraud3000.service.journal.recovery import Recovered, finish, recover
from fraud3000.service.journal.sqlite import SqliteJournal, damaged
from fraud3000.service.journal.store_files import StoreFiles

Timespan = tuple[datetime, datetime]
"""First and last."""


@dataclass(frozen=True)
class DataDirContents:
    """What a folder holds, ready for use.

    Attributes
    ----------
    store
        Has observed the past and the journal.
    snapshot
        Number of the entry after which the snapshot was taken that the store was made of; None where there was none.
    replayed
        How many entries were read again.
    recovered
        Outcome of the recovery at this start; None if the journal was whole.
    """

    store: FeatureStore
    journal: SqliteJournal
    past: Past
    snapshot: int | None
    replayed: int
    recovered: Recovered | None

    @property
    def span(self) -> Timespan | None:
        """From the first transaction to the last that came in; None without time."""
        first, last = self.past.first, self.past.last
        ends = [one.transaction.get("ts") for one in self.journal.ends()]
        times = [EPOCH + timedelta(microseconds=ts) for ts in ends if ts is not None]
        if not times:
            return None if first is None or last is None else (first, last)
        return min(first or times[0], times[0]), times[-1]


class DataDir:
    """The folder of one service, held by one process at a time.

    Parameters
    ----------
    root
        Made where there is none; only its owner can read it.
    anchors
        Where the journal's end was reported; None for nowhere.

    Raises
    ------
    UnavailableError
        Another process holds it, or it cannot be written.
    """

    def __init__(self, root: Path, anchors: CheckpointFile | None = None) -> None:
        self.root, self._anchors = root, anchors
        self._umask = os.umask(0o077)
        self._locks = ExitStack()
        try:
            self._locks = _locked(root)
            self._in_place = StoreFiles([root, root / "lock"])
            _make_private(root)
        except BaseException:
            self._locks.close()
            os.umask(self._umask)
            raise

    @property
    def _files(self) -> tuple[Path, Path, Path]:
        return self.root / HISTORY, self.root / LABELS, self.root / "seed.json"

    @property
    def seed(self) -> dict[str, Any] | None:
        """What the service began with, in words; None before that."""
        told = self._files[-1]
        return json.loads(told.read_text(encoding="utf-8")) if told.exists() else None

    def sow(self, transactions: pl.LazyFrame | None, ledger: pl.LazyFrame | None, told: dict[str, Any]) -> None:
        """Copy what came before the service.

        Parameters
        ----------
        transactions, ledger
            TRANSACTIONS and LEDGER; None where there are none.
        told
            Where they come from, for `seed`.
        """
        with atomic_write.atomic_outputs(*self._files) as (history, labels, seed):
            rows = pl.LazyFrame(schema=TRANSACTIONS) if transactions is None else transactions
            atomic_write.write_parquet(_in_order(rows), history)
            atomic_write.write_parquet(pl.LazyFrame(schema=LEDGER) if ledger is None else ledger, labels)
            seed.write_text(json.dumps(told, indent=2), encoding="utf-8")

    def open(self, catalogue: Catalogue, *, key: bytes = b"", flush: Flush = "full") -> DataDirContents:
        """Make a store of what the folder holds: of a snapshot and the entries since, or of everything.

        A damaged journal is recovered: whole entries stay, lost ones become holes.

        Parameters
        ----------
        key
            Of the journal's seals.
        flush
            When a commit is on the disk.

        Raises
        ------
        CheckFailed
            Acknowledged entries are lost from the journal's end, or it cannot be read at all.
        UnavailableError
            The journal cannot be read or written, or there is none where there was one.
        """
        journal, recovered = self._opened(key, flush)
        try:
            return self._kept(catalogue, journal, recovered)
        except CheckFailed as error:
            recovered = self._recover(key, error)
            journal = SqliteJournal(self._database, key=key, flush=flush, create=False, mark=self._mark)
            return self._kept(catalogue, self._checked(journal), recovered)

    def journal(self, *, key: bytes = b"", flush: Flush = "full") -> SqliteJournal:
        """The journal alone; an empty one is begun if the folder never had one.

        Raises
        ------
        CheckFailed
            Acknowledged entries are lost from its end, or it cannot be read at all.
        UnavailableError
            It cannot be read or written, or there is none where there was one.
        """
        return self._opened(key, flush)[0]

    def require_journal_or_new(self) -> None:
        """Refuse to begin an empty journal where there was one.

        Raises
        ------
        UnavailableError
            There is no journal, but something else of a service.
        """
        if not self._database.exists():
            claims.require_untouched(self.root, self._claims(), self._mark)

    def acknowledge(self, reason: str, by: str, at: int, *, key: bytes = b"") -> AcknowledgementEntry | None:
        """Seal a person's acknowledgement of every loss that is not acknowledged yet; None if nothing is wrong.

        Lost numbers stay lost: what comes next is numbered on behind them.

        Parameters
        ----------
        at
            Microseconds since the epoch.

        Raises
        ------
        DataError
            A file of the archive cannot be read.
        UnavailableError
            The journal cannot be written.
        """
        anchors, path = self._claims(), self._database
        self.forget_snapshots()  # they may have seen what is lost; before any change, in case this is cut off
        rebuilt = accept_loss(path, anchors, key=key, mark=self._mark)
        with closing(SqliteJournal(path, key=key, create=False, mark=self._mark)) as journal:
            lost = acknowledgement(journal, anchors, reason=reason, by=by, at=at, rebuilt=rebuilt)
            if lost is not None:
                journal.append([lost])
                journal.write_mark()
        return lost

    def forget_snapshots(self) -> None:
        """Delete all snapshots, so that the next start makes the features' state anew."""
        shutil.rmtree(self.root / "snapshots", ignore_errors=True)

    def require_in_place(self) -> None:
        """Refuse to go on if the folder or its lock was deleted, unmounted or replaced.

        Raises
        ------
        UnavailableError
            Naming it.
        """
        self._in_place.require_in_place()

    def past(self) -> Past:
        """What the service began with; nothing where it has not begun."""
        return Past(self._files[0] if self.seed is not None else None)

    @property
    def card_keys(self) -> set[str]:
        """The keys under which cards of the history are named, by what names begin with."""
        history, *_ = self._files
        if not history.exists() or "card_id" not in pl.read_parquet_schema(history):
            return set()
        begin = pl.col("card_id").str.extract(r"^(k[0-9a-f]{8})\.").unique()
        return set(pl.scan_parquet(history).select(begin).collect(engine="streaming").to_series().drop_nulls())

    def erase(self, cards: dict[str, str]) -> int:
        """Give cards of the history other names, take what else is personal of theirs, and take all snapshots away.

        Parameters
        ----------
        cards
            Card to pseudonym.

        Returns
        -------
        int
            How many transactions of the history were of them.
        """
        self.forget_snapshots()
        history = self._files[0]
        if not history.exists():
            return 0
        rows = pl.scan_parquet(history)
        columns = rows.collect_schema().names()
        if "card_id" not in columns:
            return 0
        mine = pl.col("card_id").is_in(list(cards))
        count = int(rows.select(mine.sum()).collect().item())
        places = [name for name in PERSONAL if name in columns and name != "card_id"]
        told = [pl.when(mine).then(None).otherwise(pl.col(name)).alias(name) for name in places]
        if count:
            with atomic_write.atomic_outputs(history) as (part,):
                atomic_write.write_parquet(rows.with_columns(*told, card_id=pl.col("card_id").replace(cards)), part)
        return count

    def close(self) -> None:
        """Let another process have it; where nothing was kept, nothing stays."""
        try:
            self._in_place.require_in_place()
            if not any(path.name != "lock" for path in self.root.iterdir()):
                (self.root / "lock").unlink()
                self.root.rmdir()
        except UnavailableError:
            logger.warning("{}: was deleted or replaced; nothing is tidied up there", self.root)
        finally:
            self._locks.close()
            os.umask(self._umask)

    @property
    def _database(self) -> Path:
        return self.root / "journal.db"

    @property
    def _mark(self) -> Path | None:
        return None if self._anchors is None else self._anchors.mark

    def _claims(self) -> CheckpointClaims:
        return CheckpointClaims() if self._anchors is None else self._anchors.read()

    def _opened(self, key: bytes, flush: Flush) -> tuple[SqliteJournal, Recovered | None]:
        """The journal, begun if there never was one, and recovered if it is damaged."""
        finish(self._database)
        if not self._database.exists():
            self.require_journal_or_new()
            SqliteJournal(self._database, key=key, mark=self._mark).close()
        recovered = None
        try:
            journal = SqliteJournal(self._database, key=key, flush=flush, create=False, mark=self._mark)
            with closing_on_error(journal):
                _require_readable(journal)
        except CheckFailed as error:
            recovered = self._recover(key, error)
            journal = SqliteJournal(self._database, key=key, flush=flush, create=False, mark=self._mark)
        return self._checked(journal), recovered

    def _checked(self, journal: SqliteJournal) -> SqliteJournal:
        """The journal, once it holds all that was claimed of it."""
        with closing_on_error(journal):
            claims.require(journal, self._claims())
            journal.write_mark()
        return journal

    def _recover(self, key: bytes, error: CheckFailed) -> Recovered:
        logger.error("{}", error.message)
        self.forget_snapshots()  # they have seen what is lost now
        return recover(self._database, self._claims(), key=key, mark=self._mark)

    def _kept(self, catalogue: Catalogue, journal: SqliteJournal, recovered: Recovered | None) -> DataDirContents:
        with closing_on_error(journal):
            store, snapshot, last = feature_state.made(self.root, catalogue, journal)
            return DataDirContents(store, journal, self.past(), snapshot, last - (snapshot or 0), recovered)


@contextmanager
def closing_on_error(journal: SqliteJournal) -> Iterator[None]:
    """Close a journal if the block fails."""
    try:
        yield
    except BaseException:
        journal.close()
        raise


def _require_readable(journal: SqliteJournal) -> None:
    """Refuse a journal of which entries are missing, or whose tables cannot be read.

    Raises
    ------
    CheckFailed
        It is damaged.
    """
    if not journal.complete:
        raise damaged(journal.path, "entries are missing")
    if journal.last_alert > journal.last + claims.MOST_LOST:
        raise damaged(journal.path, "an alert is of an entry that there cannot be")
    journal.of_transaction("")


def _locked(root: Path) -> ExitStack:
    """Lock the folder by a file in it, and by the folder itself, in case somebody removes that file."""
    with ExitStack() as locks:
        try:
            root.mkdir(parents=True, exist_ok=True)
            file = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            locks.callback(os.close, file)
            folder = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
            locks.callback(os.close, folder)
        except OSError as error:
            raise UnavailableError(
                f"{root}: cannot be written ({error.strerror})", hint="Choose another serve.store."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _lock_folder(folder)
        except OSError as error:
            raise UnavailableError(
                f"{root}: another service keeps its journal there", hint="End it, or choose another serve.store."
            ) from error
        return locks.pop_all()


def _lock_folder(descriptor: int) -> None:
    """Lock a folder, where its file system can: network file systems lock files alone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EAGAIN}:
            raise


def _make_private(root: Path) -> None:
    """Take the rights of others away from what is in the folder already."""
    for path in (root, *root.rglob("*")):
        with suppress(OSError):  # another user's
            mode = path.stat().st_mode
            if mode & 0o077:
                path.chmod(stat.S_IMODE(mode) & 0o700)


def _in_order(rows: pl.LazyFrame) -> pl.LazyFrame:
    """By arrival, which most files are already."""
    ordered = rows.select(pl.col("seq").is_sorted()).collect().item()
    return rows if ordered else rows.sort("seq")
