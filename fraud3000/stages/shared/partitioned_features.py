"""Features of more rows than memory should hold: computed key by key, given back in the order of the rows."""

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
"""Rows whose windows are computed at a time, unless one key alone has more."""

_NUMBERED: dict[str, pl.DataType] = LEDGER | {"transaction_id": pl.Int64()}
_WANTED, _ROW = "\0wanted", "\0row"


class PartitionedFeatures:
    """Rows that come slice by slice, and their features.

    A window looks at one key's rows and at no others. So rows are dealt out by a column of their
    keys to parts that hold each key wholly, for all time, and are featurized one after the other.

    Parameters
    ----------
    catalogue
        What to compute.
    ledger
        LEDGER.
    kept
        Columns of the rows that are given back beside the features.
    rows
        How many rows there will be, about.
    folder
        Where rows are kept.
    """

    def __init__(
        self, catalogue: Catalogue, ledger: pl.LazyFrame, kept: Sequence[str], rows: int, folder: Path
    ) -> None:
        self._catalogue, self._ledger, self._kept = catalogue, ledger, list(kept)
        self._beside = Spill(folder / "beside")
        self._starts: list[int] = []
        self._height = 0
        self._groups = [
            _Group(_only(catalogue, features), column, 1 + rows // PART, folder / f"by-{number}")
            for number, (column, features) in enumerate(_by_column(catalogue.features).items())
        ]

    def add(self, rows: pl.DataFrame, wanted: pl.Series | None = None) -> None:
        """Take more rows of TRANSACTIONS.

        Parameters
        ----------
        wanted
            Whose features to give back, where others are there only to be looked back at.
        """
        if rows.is_empty():
            return
        first, self._height = self._height, self._height + rows.height
        numbers = pl.int_range(first, self._height, eager=True)
        answered = rows if wanted is None else rows.filter(wanted)
        if answered.height:
            self._starts.append(first)
            self._beside.add(self._of_themselves(answered))
        if not self._groups:
            return
        records = _records(self._ledger, rows.select("transaction_id", numbers.alias(_ROW)))
        marked = pl.lit(value=True) if wanted is None else wanted
        numbered = rows.with_columns(numbers.alias("transaction_id"), marked.alias(_WANTED))
        for group in self._groups:
            group.add(numbered, records)

    def _of_themselves(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The columns that are kept, and the features that look at nothing but their row."""
        simple = [feature for feature in self._catalogue.features if not isinstance(feature, Stateful)]
        found = batch_engine.featurize(rows, pl.DataFrame(schema=LEDGER), _only(self._catalogue, simple))
        return rows.select(self._kept).hstack(found.select(f.name for f in simple if f.name not in self._kept))

    def pieces(self) -> Iterator[pl.DataFrame]:
        """The rows that are wanted, slice by slice as they came: the columns that are kept, then the features."""
        return self._pieces([group.features(self._starts) for group in self._groups])

    def _pieces(self, computed: Sequence[PartitionedSpill]) -> Iterator[pl.DataFrame]:
        features = [name for name in self._catalogue.names if name not in self._kept]
        for number, beside in enumerate(self._beside.pieces()):
            mine = [spread.take(number).sort(_ROW).drop(_ROW) for spread in computed]
            yield pl.concat([beside, *mine], how="horizontal").select(*self._kept, *features)


class _Group:
    """The features whose keys share a column, and what they are computed from."""

    def __init__(self, catalogue: Catalogue, column: str, parts: int, folder: Path) -> None:
        self._catalogue, self._column, self._parts = catalogue, column, parts
        needs = frozenset[str]().union(*(feature.needs for feature in catalogue.features))
        always = ("transaction_id", "ts", "seq", "amount", "status", "labelled", _WANTED)
        self._columns = list(dict.fromkeys((*always, *sorted(needs))))
        self._rows = PartitionedSpill(folder / "rows", PART)
        self._records = PartitionedSpill(folder / "records", PART, schema=_NUMBERED)
        self._features = PartitionedSpill(folder / "features", SLICE)
        self._height = 0

    def add(self, rows: pl.DataFrame, records: pl.DataFrame) -> None:
        """Deal out rows and their records by the key's column; rows without a key go anywhere."""
        key = pl.col(self._column)
        number = pl.when(key.is_null()).then(pl.col("transaction_id").cast(pl.UInt64)).otherwise(key.hash())
        parts = rows.select(number % self._parts).to_series()
        self._rows.add(rows.select(self._columns), parts)
        self._records.add(records, parts.gather(records["transaction_id"] - rows["transaction_id"][0]))
        self._height += rows.height

    def features(self, starts: Sequence[int]) -> PartitionedSpill:
        """The features of rows that are wanted, dealt out again to slices that begin at these rows."""
        for found in track(self._computed(), f"windows by {self._column}", rows=self._height):
            slices = np.searchsorted(starts, found[_ROW].to_numpy(), side="right") - 1
            self._features.add(found, pl.Series(slices))
        return self._features

    def _computed(self) -> Iterator[pl.DataFrame]:
        for part in range(self._parts):
            rows, records = self._rows.take(part), self._records.take(part)
            if rows.height:
                wanted = rows[_WANTED]
                values = batch_engine.featurize(rows.drop(_WANTED), records, self._catalogue, output_mask=wanted)
                numbers = rows["transaction_id"].filter(wanted).alias(_ROW)
                yield values.select(numbers, *self._catalogue.names)


def _only(catalogue: Catalogue, features: Sequence[Feature]) -> Catalogue:
    return replace(catalogue, features=tuple(features))


def _by_column(features: Sequence[Feature]) -> Mapping[str, list[Stateful]]:
    """Which column's values tell apart all that a feature looks at: as few columns as there can be."""
    stateful = [feature for feature in features if isinstance(feature, Stateful)]
    alone = {feature.keys[0] for feature in stateful if len(feature.keys) == 1}
    found: dict[str, list[Stateful]] = {}
    for feature in stateful:
        column = next((column for column in feature.keys if column in alone), feature.keys[0])
        found.setdefault(column, []).append(feature)
    return found


def _records(ledger: pl.LazyFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """The label records of some rows in ledger order, by the rows' numbers."""
    mine = ledger.with_row_index("record").join(numbers.lazy(), on="transaction_id", how="inner").sort("record")
    told = pl.exclude("transaction_id", "record", _ROW)
    return mine.select(pl.col(_ROW).alias("transaction_id"), told).select(*_NUMBERED).collect()
