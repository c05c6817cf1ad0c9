"""Where a service keeps what it knows: what it began with, its journal, and snapshots of its features.

```
seed.json  history.parquet  labels.parquet    what came before the service, copied once
journal.db  archive/                          what came in since, and what was decided
snapshots/<catalogue>/<number>-<seal>.snapshot    the features' state after an entry of the journal
```

All of it but the snapshots is data; a snapshot saves time alone, and one that does not fit is passed over.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import polars as pl
from loguru import logger

from fraud3000.data import outputs
from fraud3000.errors import CheckFailed, UnavailableError
from fraud3000.features.online import FeatureStore
from fraud3000.features.online.facts import EPOCH
from fraud3000.features.spec import Catalogue
from fraud3000.schema import LEDGER, TRANSACTIONS
from fraud3000.service import states
from fraud3000.service.entries import PERSONAL
from fraud3000.service.journal import Flush
from fraud3000.service.past import Past
from fraud3000.service.recovery import Lost, recover
from fraud3000.service.sqlite import SqliteJournal
from fraud3000.service.states import HISTORY, LABELS

Timespan = tuple[datetime, datetime]
"""First and last."""


@dataclass(frozen=True)
class Kept:
    """What a folder holds, ready for use.

    Attributes
    ----------
    store
        Has observed the past and the journal.
    snapshot
        Number of the entry after which the snapshot was taken that the store was made of; None where there was none.
    replayed
        How many entries were read again.
    lost
        What the journal had lost; None where it was whole.
    """

    store: FeatureStore
    journal: SqliteJournal
    past: Past
    snapshot: int | None
    replayed: int
    lost: Lost | None

    @property
    def span(self) -> Timespan | None:
        """From the first transaction to the last that came in; None without time."""
        first, last = self.past.first, self.past.last
        ends = [one.transaction.get("ts") for one in self.journal.ends()]
        times = [EPOCH + timedelta(microseconds=ts) for ts in ends if ts is not None]
        if not times:
            return None if first is None or last is None else (first, last)
        return min(first or times[0], times[0]), times[-1]


class Folder:
    """The folder of one service, held by one process at a time.

    Parameters
    ----------
    root
        Made where there is none.

    Raises
    ------
    UnavailableError
        Another process holds it, or it cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = _locked(root)

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
        with outputs.whole(*self._files) as (history, labels, seed):
            rows = pl.LazyFrame(schema=TRANSACTIONS) if transactions is None else transactions
            outputs.write_parquet(_in_order(rows), history)
            outputs.write_parquet(pl.LazyFrame(schema=LEDGER) if ledger is None else ledger, labels)
            seed.write_text(json.dumps(told, indent=2), encoding="utf-8")

    def open(self, catalogue: Catalogue, *, key: bytes = b"", flush: Flush = "full") -> Kept:
        """Make a store of what the folder holds: of a snapshot and the entries since, or of everything.

        A journal that is damaged is kept up to the damage, and put aside.

        Parameters
        ----------
        key
            Of the journal's seals.
        flush
            When a commit is on the disk.

        Raises
        ------
        UnavailableError
            The journal cannot be read or written.
        """
        try:
            return self._kept(catalogue, self.journal(key=key, flush=flush), None)
        except CheckFailed:
            lost = recover(self.root / "journal.db", key=key)
            logger.error("journal damaged first_lost={} kept_aside={} why={}", lost.first, lost.aside.name, lost.why)
            return self._kept(catalogue, self.journal(key=key, flush=flush), lost)

    def journal(self, *, key: bytes = b"", flush: Flush = "full") -> SqliteJournal:
        """The journal alone.

        Raises
        ------
        CheckFailed
            It is damaged.
        UnavailableError
            It cannot be read or written.
        """
        return SqliteJournal(self.root / "journal.db", key=key, flush=flush)

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
        shutil.rmtree(self.root / "snapshots", ignore_errors=True)
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
            with outputs.whole(history) as (part,):
                outputs.write_parquet(rows.with_columns(*told, card_id=pl.col("card_id").replace(cards)), part)
        return count

    def close(self) -> None:
        """Let another process have it; where nothing was kept, nothing stays."""
        if not any(path.name != "lock" for path in self.root.iterdir()):
            (self.root / "lock").unlink()
            self.root.rmdir()
        self._lock.close()

    def _kept(self, catalogue: Catalogue, journal: SqliteJournal, lost: Lost | None) -> Kept:
        try:
            store, snapshot, last = states.made(self.root, catalogue, journal)
            return Kept(store, journal, self.past(), snapshot, last - (snapshot or 0), lost)
        except BaseException:
            journal.close()
            raise


def _locked(root: Path) -> IO[str]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / "lock").open("w")
    except OSError as error:
        raise UnavailableError(
            f"{root}: cannot be written ({error.strerror})", hint="Choose another serve.store."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UnavailableError(
            f"{root}: another service keeps its journal there", hint="End it, or choose another serve.store."
        ) from error
    return lock


def _in_order(rows: pl.LazyFrame) -> pl.LazyFrame:
    """By arrival, which most files are already."""
    ordered = rows.select(pl.col("seq").is_sorted()).collect().item()
    return rows if ordered else rows.sort("seq")
