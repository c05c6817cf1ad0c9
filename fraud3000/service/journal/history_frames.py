"""What a service knows, as frames: what it began with and what its journal has since. A running service is not disturbed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000.schema import LEDGER, TIME, TRANSACTIONS
from fraud3000.service.journal.entries import Entry, LabelEntry, LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.repair import Corrections
from fraud3000.service.journal.sqlite import SqliteJournal

_AT_ONCE = 50_000  # entries that are read at a time


@dataclass(frozen=True)
class ServiceHistory:
    """Transactions and label records of a service.

    Attributes
    ----------
    transactions
        TRANSACTIONS in the order of arrival, without labels: those are records. What the service itself declined is not
        labelled, since nobody will learn what would have become of it.
    ledger
        LEDGER.
    rows
        How many transactions there are.
    """

    transactions: pl.LazyFrame
    ledger: pl.DataFrame
    rows: int


def known(root: Path, *, key: bytes = b"") -> ServiceHistory | None:
    """Read the folder of a service; None where there is none.

    Parameters
    ----------
    key
        Of the journal's seals.

    Raises
    ------
    CheckFailed
        The journal is not what it was when it was sealed.
    UnavailableError
        The journal cannot be read.
    """
    began, journal = (root / "seed.json").exists(), root / "journal.db"
    if not began and not journal.exists():
        return None
    history = pl.scan_parquet(root / "history.parquet") if began else pl.LazyFrame(schema=TRANSACTIONS)
    ledger = pl.read_parquet(root / "labels.parquet") if began else pl.DataFrame(schema=LEDGER)
    rows, last = history.select(pl.len(), pl.col("seq").max()).collect().row(0)
    since = _Since(0 if last is None else last)
    if journal.exists():
        with closing(SqliteJournal(journal, key=key, create=False)) as opened:
            entries = iter(Corrections.of_journal(opened).apply(opened.after(0)))
            while part := list(islice(entries, _AT_ONCE)):
                since.take(part)
    parts = [history] if rows or not since.taken else []
    transactions = pl.concat([*parts, *(part.lazy() for part in since.taken)], how="diagonal_relaxed")
    declined = pl.col("transaction_id").is_in(pl.Series(since.declined, dtype=pl.String).implode())
    return ServiceHistory(
        transactions.with_columns(
            is_fraud=pl.lit(None, TRANSACTIONS["is_fraud"]),
            reported_at=pl.lit(None, TIME),
            labelled=pl.col("labelled") & ~declined,
        ),
        pl.concat([ledger.select(*LEDGER), *since.records]),
        rows + sum(part.height for part in since.taken),
    )


@dataclass
class _Since:
    """What the journal has, part by part."""

    last_seq: int
    taken: list[pl.DataFrame] = field(default_factory=list)
    records: list[pl.DataFrame] = field(default_factory=list)
    declined: list[str] = field(default_factory=list)

    def take(self, part: list[Entry]) -> None:
        came = [one for one in part if isinstance(one, TransactionEntry)]
        if came:
            self.taken.append(transactions_of(came, self.last_seq))
        self.records.append(ledger_of(part))
        self.declined += [
            one.transaction_id for one in part if isinstance(one, TransactionEntry | LateDecisionEntry) and one.declined
        ]


def ledger_of(entries: Iterable[Entry]) -> pl.DataFrame:
    """LEDGER of what entries say."""
    said = [
        (one.transaction_id, one.is_fraud, one.source, one.reported_at, one.recorded_at)
        for one in entries
        if isinstance(one, LabelEntry)
    ]
    kinds = {**LEDGER, "reported_at": pl.Int64(), "recorded_at": pl.Int64()}
    return pl.DataFrame(said, schema=kinds, orient="row").cast({"reported_at": TIME, "recorded_at": TIME})


def transactions_of(taken: Sequence[TransactionEntry], last_seq: int = 0) -> pl.DataFrame:
    """TRANSACTIONS of entries, in their order, behind all that came before the journal."""
    rows = [one.transaction for one in taken]
    if not rows:
        return pl.DataFrame(schema=TRANSACTIONS)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column(name, [row.get(name) for row in rows]) for name in names}
    return pl.DataFrame(columns).with_columns(
        is_fraud=pl.lit(None, TRANSACTIONS["is_fraud"]),
        reported_at=pl.lit(None, TIME),
        labelled=pl.lit(value=True),
        seq=pl.Series([last_seq + one.number for one in taken], dtype=pl.Int64),
    )


def _column(name: str, values: list[Any]) -> pl.Series:
    if name == "ts":
        return pl.Series(name, values, pl.Int64).cast(TIME)
    passed = pl.String() if any(isinstance(value, str) for value in values) else pl.Float64()
    return pl.Series(name, values, TRANSACTIONS.get(name, passed))
