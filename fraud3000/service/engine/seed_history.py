"""The transactions that came before the service: found by their id, in a file."""

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
from fraud3000.service.journal.entries import Row
from fraud3000.service.journal.interface import Journal
from fraud3000.service.journal.repair import repairs


class Past:
    """What a store was seeded with.

    Memory holds eight bytes for each; a transaction that may be among them is looked up in the file.

    Parameters
    ----------
    path
        TRANSACTIONS as Parquet; None where there are none.

    Attributes
    ----------
    rows
        How many there are.
    first, last
        The ends of their times; None without time.
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

    def among(self, ids: Sequence[str]) -> set[str]:
        """Those of some transactions that may be among them; the others are not."""
        if not self.rows:
            return set()
        wanted = np.fromiter(map(hash, ids), np.int64, len(ids))
        places = np.searchsorted(self._hashes, wanted)
        places[places == self.rows] = 0
        return {ids[place] for place in np.flatnonzero(self._hashes[places] == wanted).tolist()}

    def find(self, transaction_id: str) -> Row | None:
        """The content of a transaction, `ts` in microseconds; None where it is not among them."""
        if self._path is None or not self.among([transaction_id]):
            return None
        found = pl.scan_parquet(self._path).filter(pl.col("transaction_id") == transaction_id).collect()
        return _content(found.row(0, named=True)) if found.height else None


def _content(row: dict[str, Any]) -> Row:
    content = {name: value for name, value in row.items() if name not in NOT_CONTENT}
    return {**content, "ts": microseconds(content["ts"])} if "ts" in content else content


def newest(past: Past, journal: Journal) -> int | None:
    """The newest `ts` of all transactions, in microseconds since the epoch; None without time, or without any."""
    last, repair = journal.ends()[-1:], repairs(journal)[-1:]
    seeded = None if past.last is None else microseconds(past.last)
    if repair and (not last or repair[0].number > last[0].number):
        times = [ts for ts in (repair[0].newest, seeded) if ts is not None]
        return max(times, default=None)
    return last[0].newest if last and last[0].newest is not None else seeded
