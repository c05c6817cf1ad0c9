"""Parity check: runs both engines on the same transactions and compares every feature of every row bit by bit."""

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

SLICE_ROWS = 50_000
"""Rows that the online engine computes before they are compared."""

MAX_DIFFERENCES = 10
"""Largest number of differing cells that are listed one by one."""

Value = float | bool | str | None
Progress = Callable[[Iterable[pl.DataFrame]], Iterable[pl.DataFrame]]
Featurize = Callable[[pl.DataFrame, pl.DataFrame, Catalogue], pl.DataFrame]


class Store(Protocol):
    """Interface of an online engine."""

    def observe(self, transaction: Mapping[str, Any], /) -> Mapping[str, Value]:
        """Compute a transaction's features, then insert it."""

    def record_label(
        self, transaction_id: str, is_fraud: int, /, *, source: str, reported_at: datetime | None, recorded_at: datetime
    ) -> None:
        """Add a label record."""


@dataclass(frozen=True)
class Difference:
    """A cell in which the engines differ."""

    transaction_id: str
    ts: datetime | None
    feature: str
    batch: Value
    online: Value


@dataclass(frozen=True)
class Parity:
    """Result of a comparison.

    Attributes
    ----------
    differing
        Number of differing rows by feature, for every feature of the catalogue.
    first
        The first differing cells in order of arrival.
    late
        Number of rows whose features would be different if all rows had arrived by time and id.
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
    size: int = SLICE_ROWS,
) -> Parity:
    """Run both engines on the same transactions and compare every cell.

    The batch engine computes all rows at once, the online engine one by one in the order of `seq`. Before a row at t
    the online engine gets every label record with `recorded_at` before t, by `recorded_at` and position in the ledger,
    whether or not the record's transaction has arrived. Null equals null; numbers are equal if their bits are, so 0.0
    is not equal to -0.0.

    Parameters
    ----------
    transactions
        TRANSACTIONS, in any order.
    ledger
        LEDGER.
    progress
        Wraps the slices of rows; `stages.shared.progress.track` shows how many are compared.
    featurize, store
        The engines.
    size
        Rows per slice; the result does not depend on it.
    """
    expected = featurize(transactions, ledger, catalogue).select(catalogue.names)
    late = _changed_by_arrival(transactions, ledger, catalogue, featurize, expected)
    order = transactions["seq"].arg_sort()
    slices = (transactions[order[start : start + size]] for start in range(0, transactions.height, size))
    engine, records = store(catalogue), _LabelRecords(ledger)
    differing, first, compared = Counter(dict.fromkeys(catalogue.names, 0)), list[Difference](), 0
    for rows in progress(slices):
        online = _run_online(engine, rows, records, expected.schema)
        batch = expected[order[compared : compared + rows.height]]
        masks = {name: differ(batch[name], online[name]) for name in catalogue.names}
        differing.update({name: int(mask.sum()) for name, mask in masks.items()})
        first += _first_differences(rows, batch, online, masks, at_most=MAX_DIFFERENCES - len(first))
        compared += rows.height
    return Parity(transactions.height, dict(differing), tuple(first), late)


def _changed_by_arrival(
    transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue, featurize: Featurize, features: pl.DataFrame
) -> int:
    """Count rows whose features would be different if all rows had arrived by time and id."""
    if "ts" not in transactions.columns:
        return 0
    timely = pl.struct("ts", "transaction_id").rank("ordinal").cast(pl.Int64)
    arrivals = transactions.select(pl.col("seq").rank("ordinal").cast(pl.Int64), timely=timely)
    if arrivals.select((pl.col("seq") == pl.col("timely")).all()).item():
        return 0
    timely_features = featurize(transactions.with_columns(seq=arrivals["timely"]), ledger, catalogue)
    changed = np.zeros(transactions.height, dtype=np.bool_)
    for name in catalogue.names:
        changed |= differ(features[name], timely_features[name])
    return int(changed.sum())


class _LabelRecords:
    """Label records by `recorded_at` and position in the ledger."""

    def __init__(self, ledger: pl.DataFrame) -> None:
        ordered = ledger.select(*LEDGER).with_row_index("position").sort("recorded_at", "position").drop("position")
        self._records = ordered.iter_rows()
        self._next = next(self._records, None)

    def recorded_before(self, t: datetime | None) -> Iterator[tuple[Any, ...]]:
        """Yield the records that were recorded before t and not yielded yet."""
        while t is not None and self._next is not None and self._next[-1] < t:
            yield self._next
            self._next = next(self._records, None)


def _run_online(engine: Store, rows: pl.DataFrame, records: _LabelRecords, schema: pl.Schema) -> pl.DataFrame:
    """Compute features with the online engine, one row for each of `rows`, which are in order of arrival."""
    features = []
    for row in rows.iter_rows(named=True):
        for transaction_id, is_fraud, source, reported_at, recorded_at in records.recorded_before(row.get("ts")):
            engine.record_label(
                transaction_id, is_fraud, source=source, reported_at=reported_at, recorded_at=recorded_at
            )
        features.append(
            engine.observe(row if "ts" in row else {**row, "ts": 0})
        )  # data without ts has no feature that reads it
    return pl.DataFrame(
        {
            name: pl.Series([row_features[name] for row_features in features], dtype=kind)
            for name, kind in schema.items()
        }
    )


def _first_differences(
    rows: pl.DataFrame, batch: pl.DataFrame, online: pl.DataFrame, masks: Mapping[str, Bools], *, at_most: int
) -> list[Difference]:
    """List the first differing cells, row by row."""
    cells = ((int(row), name) for name, mask in masks.items() for row in np.flatnonzero(mask)[:at_most])
    ts = rows["ts"] if "ts" in rows.columns else [None] * rows.height
    return [
        Difference(rows["transaction_id"][row], ts[row], name, batch[name][row], online[name][row])
        for row, name in sorted(cells)[:at_most]
    ]
