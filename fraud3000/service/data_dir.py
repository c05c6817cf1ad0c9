"""Data folder of a service: seed history, journal, and snapshots of the feature state.

```
seed.json  history.parquet  labels.parquet        transactions before the service's first start, copied once
journal.db  archive/                              transactions since, their decisions, and labels
snapshots/<catalogue>/<number>-<seal>.snapshot    the feature state after an entry of the journal
```

Snapshots can be deleted: they only speed up the start, and one that does not match the journal is ignored.
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
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.schema import LEDGER, TRANSACTIONS
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.feature_state import HISTORY, LABELS
from fraud3000.service.engine.seed_history import SeedHistory
from fraud3000.service.entries import PERSONAL
from fraud3000.service.journal import claims
from fraud3000.service.journal.acknowledge import accept_loss, acknowledgement
from fraud3000.service.journal.checkpoints import CheckpointClaims, CheckpointFile
from fraud3000.service.journal.interface import Flush
from fraud3000.service.journal.recovery import Recovered, finish, recover
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.service.journal.sqlite_schema import damaged_error
from fraud3000.service.journal.store_files import StoreFiles
from fraud3000.service.operator_entries import AcknowledgementEntry

Timespan = tuple[datetime, datetime]
"""First and last time."""


@dataclass(frozen=True)
class DataDirContents:
    """Opened content of a data folder.

    Attributes
    ----------
    store
        Feature state after the seed history and the journal.
    snapshot
        Number of the last entry in the snapshot that was restored; None if there was none.
    replayed
        How many entries after the snapshot were read.
    recovered
        Result of the recovery at this start; None if the journal was intact.
    """

    store: FeatureStore
    journal: SqliteJournal
    past: SeedHistory
    snapshot: int | None
    replayed: int
    recovered: Recovered | None

    @property
    def span(self) -> Timespan | None:
        """Times of the first and the last transaction; None if transactions have no time."""
        first, last = self.past.first, self.past.last
        ends = [entry.transaction.get("ts") for entry in self.journal.ends()]
        times = [EPOCH + timedelta(microseconds=ts) for ts in ends if ts is not None]
        if not times:
            return None if first is None or last is None else (first, last)
        return min(first or times[0], times[0]), times[-1]


class DataDir:
    """Data folder of one service, locked by one process at a time.

    Parameters
    ----------
    root
        Created if it is missing; only its owner can read it.
    checkpoints
        File of the journal's checkpoints; None for none.

    Raises
    ------
    UnavailableError
        Another process has locked it, or it cannot be written.
    """

    def __init__(self, root: Path, checkpoints: CheckpointFile | None = None) -> None:
        self.root, self._checkpoints = root, checkpoints
        self._umask = os.umask(0o077)
        self._locks = ExitStack()
        try:
            self._locks = _lock(root)
            self._in_place = StoreFiles([root, root / "lock"])
            _make_private(root)
        except BaseException:
            self._locks.close()
            os.umask(self._umask)
            raise

    @property
    def _seed_files(self) -> tuple[Path, Path, Path]:
        return self.root / HISTORY, self.root / LABELS, self.root / "seed.json"

    @property
    def seed_info(self) -> dict[str, Any] | None:
        """Content of seed.json, the source of the seed history; None before `seed`."""
        path = self._seed_files[-1]
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def seed(self, transactions: pl.LazyFrame | None, ledger: pl.LazyFrame | None, info: dict[str, Any]) -> None:
        """Copy the history before the service's first start into the folder.

        Parameters
        ----------
        transactions, ledger
            TRANSACTIONS and LEDGER; None if there are none.
        info
            Their source, for seed.json; see `seed_info`.
        """
        with atomic_write.atomic_outputs(*self._seed_files) as (history, labels, seed_json):
            rows = pl.LazyFrame(schema=TRANSACTIONS) if transactions is None else transactions
            atomic_write.write_parquet(_sorted_by_arrival(rows), history)
            atomic_write.write_parquet(pl.LazyFrame(schema=LEDGER) if ledger is None else ledger, labels)
            seed_json.write_text(json.dumps(info, indent=2), encoding="utf-8")

    def open(self, catalogue: Catalogue, *, key: bytes = b"", flush: Flush = "full") -> DataDirContents:
        """Open the journal and compute the feature state, from a snapshot and the entries after it or from all data.

        A damaged journal is recovered: intact entries stay, lost ones become holes.

        Parameters
        ----------
        key
            The audit key.
        flush
            See `Flush`.

        Raises
        ------
        CheckFailed
            Acknowledged entries are lost from the journal's end, or it cannot be read at all.
        UnavailableError
            The journal cannot be read or written, or was deleted.
        """
        journal, recovered = self._open_journal(key, flush)
        try:
            return self._contents(catalogue, journal, recovered)
        except CheckFailed as error:
            recovered = self._recover(key, error)
            journal = SqliteJournal(self._database, key=key, flush=flush, create=False, mark=self._mark)
            return self._contents(catalogue, self._checked(journal), recovered)

    def journal(self, *, key: bytes = b"", flush: Flush = "full") -> SqliteJournal:
        """Open the journal without the feature state; create an empty one if the folder never had one.

        Raises
        ------
        CheckFailed
            Acknowledged entries are lost from its end, or it cannot be read at all.
        UnavailableError
            It cannot be read or written, or was deleted.
        """
        return self._open_journal(key, flush)[0]

    def require_journal_or_new(self) -> None:
        """Check that there is a journal, or that there never was one.

        Raises
        ------
        UnavailableError
            There is no journal, but other files of a service.
        """
        if not self._database.exists():
            claims.require_new(self.root, self._claims(), self._mark)

    def acknowledge(self, reason: str, by: str, at: int, *, key: bytes = b"") -> AcknowledgementEntry | None:
        """Seal an operator's acknowledgement of every new loss; None if nothing is lost.

        Lost numbers are never used again: the next entry takes the number after them.

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
        checkpoints, path = self._claims(), self._database
        self.delete_snapshots()  # they may contain lost entries; first, in case this is interrupted
        rebuilt = accept_loss(path, checkpoints, key=key, mark=self._mark)
        with closing(SqliteJournal(path, key=key, create=False, mark=self._mark)) as journal:
            entry = acknowledgement(journal, checkpoints, reason=reason, by=by, at=at, rebuilt=rebuilt)
            if entry is not None:
                journal.append([entry])
                journal.write_mark()
        return entry

    def delete_snapshots(self) -> None:
        """Delete all snapshots, so that the next start computes the feature state from all data."""
        shutil.rmtree(self.root / "snapshots", ignore_errors=True)

    def require_in_place(self) -> None:
        """Check that the folder and its lock file are the ones that were opened.

        Raises
        ------
        UnavailableError
            One was deleted, unmounted or replaced.
        """
        self._in_place.require_in_place()

    def past(self) -> SeedHistory:
        """Return the seed history; an empty one before `seed`."""
        return SeedHistory(self._seed_files[0] if self.seed_info is not None else None)

    @property
    def card_keys(self) -> set[str]:
        """Prefixes of hashed card numbers in the seed history, which identify the key that hashed them."""
        history, *_ = self._seed_files
        if not history.exists() or "card_id" not in pl.read_parquet_schema(history):
            return set()
        prefix = pl.col("card_id").str.extract(r"^(k[0-9a-f]{8})\.").unique()
        return set(pl.scan_parquet(history).select(prefix).collect(engine="streaming").to_series().drop_nulls())

    def erase(self, cards: dict[str, str]) -> int:
        """Pseudonymize cards in the seed history, delete their other personal data, and delete all snapshots.

        Parameters
        ----------
        cards
            Card to pseudonym.

        Returns
        -------
        int
            How many transactions of the history were changed.
        """
        self.delete_snapshots()
        history = self._seed_files[0]
        if not history.exists():
            return 0
        rows = pl.scan_parquet(history)
        columns = rows.collect_schema().names()
        if "card_id" not in columns:
            return 0
        matches = pl.col("card_id").is_in(list(cards))
        count = int(rows.select(matches.sum()).collect().item())
        others = [name for name in PERSONAL if name in columns and name != "card_id"]
        erased = [pl.when(matches).then(None).otherwise(pl.col(name)).alias(name) for name in others]
        if count:
            with atomic_write.atomic_outputs(history) as (part,):
                atomic_write.write_parquet(rows.with_columns(*erased, card_id=pl.col("card_id").replace(cards)), part)
        return count

    def close(self) -> None:
        """Unlock the folder; delete it if it is empty."""
        try:
            self._in_place.require_in_place()
            if not any(path.name != "lock" for path in self.root.iterdir()):
                (self.root / "lock").unlink()
                self.root.rmdir()
        except UnavailableError:
            logger.warning("{}: was deleted or replaced; it is left as it is", self.root)
        finally:
            self._locks.close()
            os.umask(self._umask)

    @property
    def _database(self) -> Path:
        return self.root / "journal.db"

    @property
    def _mark(self) -> Path | None:
        return None if self._checkpoints is None else self._checkpoints.mark

    def _claims(self) -> CheckpointClaims:
        return CheckpointClaims() if self._checkpoints is None else self._checkpoints.read()

    def _open_journal(self, key: bytes, flush: Flush) -> tuple[SqliteJournal, Recovered | None]:
        """Open the journal; create it if there never was one, and recover it if it is damaged."""
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
        """Return the journal if it has every claimed entry; update its high-water mark."""
        with closing_on_error(journal):
            claims.require_complete(journal, self._claims())
            journal.write_mark()
        return journal

    def _recover(self, key: bytes, error: CheckFailed) -> Recovered:
        logger.error("{}", error.message)
        self.delete_snapshots()  # they contain entries that are lost now
        return recover(self._database, self._claims(), key=key, mark=self._mark)

    def _contents(self, catalogue: Catalogue, journal: SqliteJournal, recovered: Recovered | None) -> DataDirContents:
        with closing_on_error(journal):
            store, snapshot, last = feature_state.build(self.root, catalogue, journal)
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
    """Check that no entry is missing and that the tables can be read.

    Raises
    ------
    CheckFailed
        The journal is damaged.
    """
    if not journal.complete:
        raise damaged_error(journal.path, "entries are missing")
    if journal.last_alert > journal.last + claims.MAX_LOST:
        raise damaged_error(journal.path, "an alert has an impossible entry number")
    journal.of_transaction("")


def _lock(root: Path) -> ExitStack:
    """Lock the folder by a file in it, and by the folder itself in case that file is deleted."""
    with ExitStack() as locks:
        try:
            root.mkdir(parents=True, exist_ok=True)
            file = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            locks.callback(os.close, file)
            folder = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
            locks.callback(os.close, folder)
        except OSError as error:
            raise UnavailableError(
                f"{root}: cannot be written ({error.strerror})", hint="Set serve.store to another folder."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _lock_folder(folder)
        except OSError as error:
            raise UnavailableError(
                f"{root}: is in use by another service",
                hint="Stop that service, or set serve.store to another folder.",
            ) from error
        return locks.pop_all()


def _lock_folder(descriptor: int) -> None:
    """Lock a folder if its file system can: network file systems lock files only."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EAGAIN}:
            raise


def _make_private(root: Path) -> None:
    """Remove the permissions of group and others from the folder and its files."""
    for path in (root, *root.rglob("*")):
        with suppress(OSError):  # another user owns it
            mode = path.stat().st_mode
            if mode & 0o077:
                path.chmod(stat.S_IMODE(mode) & 0o700)


def _sorted_by_arrival(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Sort by order of arrival, unless the rows are sorted already."""
    ordered = rows.select(pl.col("seq").is_sorted()).collect().item()
    return rows if ordered else rows.sort("seq")
