"""Export of a service's history as data frames: the seed history and everything in its journal.

It reads files only, so it does not disturb a running service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.schema import LEDGER, TIME, TRANSACTIONS
from fraud3000.service.entries import Entry, LabelEntry, LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.repair import Corrections
from fraud3000.service.journal.sqlite import SqliteJournal

_BATCH = 50_000  # entries that are read at a time


@dataclass(frozen=True)
class ServiceHistory:
    """Transactions and label records of a service.

    Attributes
    ----------
    transactions
        TRANSACTIONS in order of arrival, without labels, which are in the ledger. `labelled` is False for transactions that
        the service declined: their outcome will never be observed.
    ledger
        LEDGER.
    rows
        Number of transactions.
    """

    transactions: pl.LazyFrame
    ledger: pl.DataFrame
    rows: int


def read_history(root: Path, *, key: bytes = b"") -> ServiceHistory | None:
    """Read the history of a service from its folder; None if there is no service.

    Parameters
    ----------
    key
        The audit key, which verifies seals.

    Raises
    ------
    CheckFailed
        An entry of the journal does not match its seal.
    UnavailableError
        The journal cannot be read.
    """
    seeded, journal_path = (root / "seed.json").exists(), root / "journal.db"
    if not seeded and not journal_path.exists():
        return None
    history = pl.scan_parquet(root / "history.parquet") if seeded else pl.LazyFrame(schema=TRANSACTIONS)
    ledger = pl.read_parquet(root / "labels.parquet") if seeded else pl.DataFrame(schema=LEDGER)
    rows, last_seq = history.select(pl.len(), pl.col("seq").max()).collect().row(0)
    frames = _JournalFrames(0 if last_seq is None else last_seq)
    if journal_path.exists():
        with closing(SqliteJournal(journal_path, key=key, create=False)) as journal:
            entries = iter(Corrections.from_journal(journal).apply(journal.after(0)))
            while batch := list(islice(entries, _BATCH)):
                frames.add(batch)
    seed = [history] if rows or not frames.transactions else []
    transactions = pl.concat([*seed, *(frame.lazy() for frame in frames.transactions)], how="diagonal_relaxed")
    declined = pl.col("transaction_id").is_in(pl.Series(frames.declined, dtype=pl.String).implode())
    return ServiceHistory(
        transactions.with_columns(
            is_fraud=pl.lit(None, TRANSACTIONS["is_fraud"]),
            reported_at=pl.lit(None, TIME),
            labelled=pl.col("labelled") & ~declined,
        ),
        pl.concat([ledger.select(*LEDGER), *frames.labels]),
        rows + sum(frame.height for frame in frames.transactions),
    )


@dataclass
class _JournalFrames:
    """Frames of the journal's entries, one per batch, and ids of declined transactions."""

    last_seq: int
    transactions: list[pl.DataFrame] = field(default_factory=list)
    labels: list[pl.DataFrame] = field(default_factory=list)
    declined: list[str] = field(default_factory=list)

    def add(self, batch: list[Entry]) -> None:
        arrived = [entry for entry in batch if isinstance(entry, TransactionEntry)]
        if arrived:
            self.transactions.append(transactions_of(arrived, self.last_seq))
        self.labels.append(ledger_of(batch))
        self.declined += [
            entry.transaction_id
            for entry in batch
            if isinstance(entry, TransactionEntry | LateDecisionEntry) and entry.declined
        ]


def ledger_of(entries: Iterable[Entry]) -> pl.DataFrame:
    """Convert label entries to LEDGER; other entries are ignored."""
    rows = [
        (entry.transaction_id, entry.is_fraud, entry.source, entry.reported_at, entry.recorded_at)
        for entry in entries
        if isinstance(entry, LabelEntry)
    ]
    types = {**LEDGER, "reported_at": pl.Int64(), "recorded_at": pl.Int64()}
    return pl.DataFrame(rows, schema=types, orient="row").cast({"reported_at": TIME, "recorded_at": TIME})


def transactions_of(entries: Sequence[TransactionEntry], last_seq: int = 0) -> pl.DataFrame:
    """Convert transaction entries to TRANSACTIONS, in their order; `seq` continues after `last_seq`."""
    rows = [entry.transaction for entry in entries]
    if not rows:
        return pl.DataFrame(schema=TRANSACTIONS)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column(name, [row.get(name) for row in rows]) for name in names}
    return pl.DataFrame(columns).with_columns(
        is_fraud=pl.lit(None, TRANSACTIONS["is_fraud"]),
        reported_at=pl.lit(None, TIME),
        labelled=pl.lit(value=True),
        seq=pl.Series([last_seq + entry.number for entry in entries], dtype=pl.Int64),
    )


def _column(name: str, values: list[Any]) -> pl.Series:
    if name == "ts":
        return pl.Series(name, values, pl.Int64).cast(TIME)
    passthrough = pl.String() if any(isinstance(value, str) for value in values) else pl.Float64()
    return pl.Series(name, values, TRANSACTIONS.get(name, passthrough))
