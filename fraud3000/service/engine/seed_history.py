"""Seed history: the transactions from before the service started, looked up by id in a Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraud3000.data.cleaning.duplicates import NOT_CONTENT
from fraud3000.data.storage.spill import read_slices
from fraud3000.features.online.event_encoder import microseconds
from fraud3000.service.entries import Row
from fraud3000.service.journal.interface import Journal
from fraud3000.service.journal.repair import repairs


class SeedHistory:
    """The transactions that a store was seeded with.

    Memory holds an 8-byte hash of each id; a transaction whose hash matches is looked up in the file.

    Parameters
    ----------
    path
        TRANSACTIONS as Parquet; None for an empty history.

    Attributes
    ----------
    rows
        Number of transactions.
    first, last
        Their earliest and latest time; None without time.
    """

    def __init__(self, path: Path | None) -> None:
        self.rows = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._path = path
        self._hashes = np.empty(0, np.int64)
        if path is None:
            return
        rows = pl.scan_parquet(path)
        hashes = [
            np.fromiter(map(hash, piece["transaction_id"].to_list()), np.int64)
            for piece in read_slices(rows.select("transaction_id"))
        ]
        self._hashes = np.sort(np.concatenate([self._hashes, *hashes]))
        self.rows = len(self._hashes)
        if "ts" in rows.collect_schema():
            self.first, self.last = rows.select(pl.col("ts").min(), last=pl.col("ts").max()).collect().row(0)

    def possible_ids(self, ids: Sequence[str]) -> set[str]:
        """Return the ids whose hash is in the history; all others are certainly not in it."""
        if not self.rows:
            return set()
        hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
        indices = np.searchsorted(self._hashes, hashes)
        indices[indices == self.rows] = 0
        return {ids[index] for index in np.flatnonzero(self._hashes[indices] == hashes).tolist()}

    def find(self, transaction_id: str) -> Row | None:
        """Return the content of a transaction, `ts` in microseconds; None if the history does not have it."""
        if self._path is None or not self.possible_ids([transaction_id]):
            return None
        matches = pl.scan_parquet(self._path).filter(pl.col("transaction_id") == transaction_id).collect()
        return _content(matches.row(0, named=True)) if matches.height else None


def _content(row: dict[str, Any]) -> Row:
    content = {name: value for name, value in row.items() if name not in NOT_CONTENT}
    return {**content, "ts": microseconds(content["ts"])} if "ts" in content else content


def newest_ts(history: SeedHistory, journal: Journal) -> int | None:
    """Return the newest `ts` in history and journal, in microseconds since the epoch.

    Returns None if the data set has no time, or if there are no transactions.
    """
    last, repair = journal.ends()[-1:], repairs(journal)[-1:]
    seeded = None if history.last is None else microseconds(history.last)
    if repair and (not last or repair[0].number > last[0].number):
        times = [ts for ts in (repair[0].newest, seeded) if ts is not None]
        return max(times, default=None)
    return last[0].newest if last and last[0].newest is not None else seeded
