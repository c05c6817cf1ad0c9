"""Compute features of more rows than fit in memory: partitioned by key, returned in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from fraud3000.data.storage.spill import SLICE, PartitionedSpill, Spill
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.base import Feature, Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.schema import LEDGER
from fraud3000.stages.shared.progress import track

PART = 1_000_000
"""Rows whose windows are computed at a time, unless a single key has more."""

_NUMBERED: dict[str, pl.DataType] = LEDGER | {"transaction_id": pl.Int64()}
_REQUESTED, _ROW = "\0wanted", "\0row"


class PartitionedFeatures:
    """Compute features of rows that are added in slices.

    A window depends only on the rows of one key. So rows are partitioned by a column of their
    keys, each partition has all rows of its keys, and partitions are featurized one at a time.

    Parameters
    ----------
    catalogue
        The features to compute.
    ledger
        LEDGER.
    copied
        Columns of the rows that are returned with the features.
    rows
        Approximate number of rows.
    folder
        Folder for the rows.
    """

    def __init__(
        self, catalogue: Catalogue, ledger: pl.LazyFrame, copied: Sequence[str], rows: int, folder: Path
    ) -> None:
        self._catalogue, self._ledger, self._copied = catalogue, ledger, list(copied)
        self._row_parts = Spill(folder / "beside")
        self._starts: list[int] = []
        self._height = 0
        self._groups = [
            _Group(_only(catalogue, features), column, 1 + rows // PART, folder / f"by-{number}")
            for number, (column, features) in enumerate(_by_column(catalogue.features).items())
        ]

    def add(self, rows: pl.DataFrame, requested: pl.Series | None = None) -> None:
        """Add rows of TRANSACTIONS.

        Parameters
        ----------
        requested
            Rows whose features are returned; the others only serve as history. By default all.
        """
        if rows.is_empty():
            return
        first, self._height = self._height, self._height + rows.height
        numbers = pl.int_range(first, self._height, eager=True)
        returned = rows if requested is None else rows.filter(requested)
        if returned.height:
            self._starts.append(first)
            self._row_parts.add(self._row_features(returned))
        if not self._groups:
            return
        records = _records(self._ledger, rows.select("transaction_id", numbers.alias(_ROW)))
        marked = pl.lit(value=True) if requested is None else requested
        numbered = rows.with_columns(numbers.alias("transaction_id"), marked.alias(_REQUESTED))
        for group in self._groups:
            group.add(numbered, records)

    def _row_features(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the copied columns and the features that depend only on their row."""
        simple = [feature for feature in self._catalogue.features if not isinstance(feature, Stateful)]
        features = batch_engine.featurize(rows, pl.DataFrame(schema=LEDGER), _only(self._catalogue, simple))
        return rows.select(self._copied).hstack(features.select(f.name for f in simple if f.name not in self._copied))

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Yield the requested rows in slices, in the order added: the copied columns, then the features."""
        return self._pieces([group.features(self._starts) for group in self._groups])

    def _pieces(self, computed: Sequence[PartitionedSpill]) -> Iterator[pl.DataFrame]:
        features = [name for name in self._catalogue.names if name not in self._copied]
        for number, row_part in enumerate(self._row_parts.pieces()):
            windows = [spill.take(number).sort(_ROW).drop(_ROW) for spill in computed]
            yield pl.concat([row_part, *windows], how="horizontal").select(*self._copied, *features)


class _Group:
    """Features whose keys share a column, with the rows and label records they are computed from."""

    def __init__(self, catalogue: Catalogue, column: str, parts: int, folder: Path) -> None:
        self._catalogue, self._column, self._parts = catalogue, column, parts
        needs = frozenset[str]().union(*(feature.needs for feature in catalogue.features))
        always = ("transaction_id", "ts", "seq", "amount", "status", "labelled", _REQUESTED)
        self._columns = list(dict.fromkeys((*always, *sorted(needs))))
        self._rows = PartitionedSpill(folder / "rows", PART)
        self._records = PartitionedSpill(folder / "records", PART, schema=_NUMBERED)
        self._features = PartitionedSpill(folder / "features", SLICE)
        self._height = 0

    def add(self, rows: pl.DataFrame, records: pl.DataFrame) -> None:
        """Partition rows and their records by the key's column; rows without a key go to any partition."""
        key = pl.col(self._column)
        number = pl.when(key.is_null()).then(pl.col("transaction_id").cast(pl.UInt64)).otherwise(key.hash())
        parts = rows.select(number % self._parts).to_series()
        self._rows.add(rows.select(self._columns), parts)
        self._records.add(records, parts.gather(records["transaction_id"] - rows["transaction_id"][0]))
        self._height += rows.height

    def features(self, starts: Sequence[int]) -> PartitionedSpill:
        """Return the features of the requested rows, partitioned into slices that start at these rows."""
        for part in track(self._computed(), f"windows by {self._column}", rows=self._height):
            slices = np.searchsorted(starts, part[_ROW].to_numpy(), side="right") - 1
            self._features.add(part, pl.Series(slices))
        return self._features

    def _computed(self) -> Iterator[pl.DataFrame]:
        for part in range(self._parts):
            rows, records = self._rows.take(part), self._records.take(part)
            if rows.height:
                requested = rows[_REQUESTED]
                values = batch_engine.featurize(rows.drop(_REQUESTED), records, self._catalogue, output_mask=requested)
                numbers = rows["transaction_id"].filter(requested).alias(_ROW)
                yield values.select(numbers, *self._catalogue.names)


def _only(catalogue: Catalogue, features: Sequence[Feature]) -> Catalogue:
    return replace(catalogue, features=tuple(features))


def _by_column(features: Sequence[Feature]) -> Mapping[str, list[Stateful]]:
    """Group features by a column of their keys to partition by, using as few columns as possible."""
    stateful = [feature for feature in features if isinstance(feature, Stateful)]
    single = {feature.keys[0] for feature in stateful if len(feature.keys) == 1}
    groups: dict[str, list[Stateful]] = {}
    for feature in stateful:
        column = next((column for column in feature.keys if column in single), feature.keys[0])
        groups.setdefault(column, []).append(feature)
    return groups


def _records(ledger: pl.LazyFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """Return the label records of rows in ledger order, with the rows' numbers as ids."""
    mine = ledger.with_row_index("record").join(numbers.lazy(), on="transaction_id", how="inner").sort("record")
    record_columns = pl.exclude("transaction_id", "record", _ROW)
    return mine.select(pl.col(_ROW).alias("transaction_id"), record_columns).select(*_NUMBERED).collect()
