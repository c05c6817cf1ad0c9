"""Two engines, one answer: every feature of every row from both, compared bit by bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import polars as pl

from fraud3000.features.batch import batch_engine
from fraud3000.features.online import FeatureStore
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.verification.bitwise import Bools, differ
from fraud3000.schema import LEDGER

SLICE = 50_000
"""Rows that are held as the online engine answers them before they are compared."""

SHOWN = 10
"""Differing cells that are told one by one."""

Value = float | bool | str | None
Progress = Callable[[Iterable[pl.DataFrame]], Iterable[pl.DataFrame]]
Featurize = Callable[[pl.DataFrame, pl.DataFrame, Catalogue], pl.DataFrame]


class Store(Protocol):
    """What an online engine does."""

    def observe(self, transaction: Mapping[str, Any], /) -> Mapping[str, Value]:
        """Give a transaction's features, then count it among what later ones see."""

    def record_label(
        self, transaction_id: str, is_fraud: int, /, *, source: str, reported_at: datetime | None, recorded_at: datetime
    ) -> None:
        """Take a label record."""


@dataclass(frozen=True)
class Difference:
    """A cell that the engines do not agree on."""

    transaction_id: str
    ts: datetime | None
    feature: str
    batch: Value
    online: Value


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    Attributes
    ----------
    differing
        Feature to how many rows differ in it, for every feature of the catalogue.
    first
        The first differing cells in order of arrival.
    late
        How many rows have other features than they would have if all had come in by time and id.
    """

    rows: int
    differing: dict[str, int]
    first: tuple[Difference, ...]
    late: int

    @property
    def features(self) -> int:
        return len(self.differing)

    @property
    def cells(self) -> int:
        return self.rows * self.features

    @property
    def differing_cells(self) -> int:
        return sum(self.differing.values())


def compare(
    transactions: pl.DataFrame,
    ledger: pl.DataFrame,
    catalogue: Catalogue,
    *,
    progress: Progress = iter,
    featurize: Featurize = batch_engine.featurize,
    store: Callable[[Catalogue], Store] = FeatureStore,
    size: int = SLICE,
) -> Parity:
    """Push transactions through both engines and compare every cell.

    The batch engine takes them all at once, the online engine one by one in the order of `seq`. Before a row
    at t the online engine is told every label record with `recorded_at` before t, by `recorded_at` and place in the
    ledger, whether or not the record's transaction has come in. Null equals null; numbers are equal if
    their bits are, so 0.0 is not -0.0.

    Parameters
    ----------
    transactions
        TRANSACTIONS, in any order.
    ledger
        LEDGER.
    progress
        Hands out the slices of rows one by one; `stages.progress.track` shows how many are done.
    featurize, store
        The engines.
    size
        Rows in a slice; no answer depends on it.
    """
    expected = featurize(transactions, ledger, catalogue).select(catalogue.names)
    late = _changed_by_arrival(transactions, ledger, catalogue, featurize, expected)
    order = transactions["seq"].arg_sort()
    slices = (transactions[order[start : start + size]] for start in range(0, transactions.height, size))
    engine, notes = store(catalogue), _Notes(ledger)
    differing, first, done = Counter(dict.fromkeys(catalogue.names, 0)), list[Difference](), 0
    for rows in progress(slices):
        found = _observed(engine, rows, notes, expected.schema)
        right = expected[order[done : done + rows.height]]
        marks = {name: differ(right[name], found[name]) for name in catalogue.names}
        differing.update({name: int(marked.sum()) for name, marked in marks.items()})
        first += _told(rows, right, found, marks, at_most=SHOWN - len(first))
        done += rows.height
    return Parity(transactions.height, dict(differing), tuple(first), late)


def _changed_by_arrival(
    transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, featurize: Featurize, given: pl.DataFrame
) -> int:
    """How many rows have other features than if rows had come in by time and id."""
    if "ts" not in transactions.columns:
        return 0
    timely = pl.struct("ts", "transaction_id").rank("ordinal").cast(pl.Int64)
    arrivals = transactions.select(pl.col("seq").rank("ordinal").cast(pl.Int64), timely=timely)
    if arrivals.select((pl.col("seq") == pl.col("timely")).all()).item():
        return 0
    other = featurize(transactions.with_columns(seq=arrivals["timely"]), ledger, catalogue)
    changed = np.zeros(transactions.height, dtype=np.bool_)
    for name in catalogue.names:
        changed |= differ(given[name], other[name])
    return int(changed.sum())


class _Notes:
    """Label records in the order in which they are told."""

    def __init__(self, ledger: pl.DataFrame) -> None:
        told = ledger.select(*LEDGER).with_row_index("place").sort("recorded_at", "place").drop("place")
        self._records = told.iter_rows()
        self._next = next(self._records, None)

    def before(self, at: datetime | None) -> Iterator[tuple[Any, ...]]:
        """The records that were made before a moment and are not told yet."""
        while at is not None and self._next is not None and self._next[-1] < at:
            yield self._next
            self._next = next(self._records, None)


def _observed(engine: Store, rows: pl.DataFrame, notes: _Notes, schema: pl.Schema) -> pl.DataFrame:
    """The online engine's features, one row for each of `rows`, which stand in order of arrival."""
    answers = []
    for row in rows.iter_rows(named=True):
        for transaction_id, is_fraud, source, reported_at, recorded_at in notes.before(row.get("ts")):
            engine.record_label(
                transaction_id, is_fraud, source=source, reported_at=reported_at, recorded_at=recorded_at
            )
        answers.append(
            engine.observe(row if "ts" in row else {**row, "ts": 0})
        )  # data without time has no feature of it
    return pl.DataFrame({name: pl.Series([one[name] for one in answers], dtype=kind) for name, kind in schema.items()})


def _told(
    rows: pl.DataFrame, right: pl.DataFrame, found: pl.DataFrame, marks: Mapping[str, Bools], *, at_most: int
) -> list[Difference]:
    """The first differing cells, row by row."""
    cells = ((int(row), name) for name, marked in marks.items() for row in np.flatnonzero(marked)[:at_most])
    ts = rows["ts"] if "ts" in rows.columns else [None] * rows.height
    return [
        Difference(rows["transaction_id"][row], ts[row], name, right[name][row], found[name][row])
        for row, name in sorted(cells)[:at_most]
    ]
