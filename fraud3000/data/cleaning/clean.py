"""Raw files to TRANSACTIONS, quarantine and label ledger: every row is kept, a duplicate, or refused with a reason.

Rows pass through slice by slice and lie on disk in between. To find rows that share their id or their
place of arrival, hashes of a part of the ids are in memory at a time; these rows are settled together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from fraud3000.data.cleaning import cards, currency, duplicates, prepared, roles
from fraud3000.data.cleaning.file_rows import DUPLICATE, FAULTS, KEPT, QUARANTINED, Batch
from fraud3000.data.cleaning.row_errors import first_faults
from fraud3000.data.reading import files
from fraud3000.data.reading.raw_table import DataFile, RawTable
from fraud3000.data.storage.external_sort import in_order
from fraud3000.data.storage.spill import SLICE, Spill
from fraud3000.errors import DataError, EmptyDataError
from fraud3000.labels import visibility
from fraud3000.params import AmountFormat, ColumnMapping
from fraud3000.schema import LEDGER, QUARANTINE

COMPARED = 10_000_000
"""Rows whose ids are compared at a time."""


@dataclass(frozen=True)
class Ingested:
    """What became of the rows of a set of files, in memory.

    Attributes
    ----------
    transactions
        TRANSACTIONS.
    quarantine
        QUARANTINE, in input order.
    ledger
        LEDGER: the records that the files' own rows make.
    rows
        One row for each row read, in input order: source_file String, source_row Int64,
        transaction_id String (null for a line that is no row), outcome ``kept``, ``duplicate`` or
        ``quarantined``. A duplicate has the id of the row it repeats.
    unused
        Raw columns that no mapping names.
    lost
        Passthrough column to the number of its values that could not be read and became null.
    """

    transactions: pl.DataFrame
    quarantine: pl.DataFrame
    ledger: pl.DataFrame
    rows: pl.DataFrame
    unused: tuple[str, ...]
    lost: dict[str, int]

    @property
    def kept(self) -> int:
        return self._count(KEPT)

    @property
    def duplicates(self) -> int:
        return self._count(DUPLICATE)

    @property
    def quarantined(self) -> int:
        return self._count(QUARANTINED)

    def _count(self, outcome: str) -> int:
        return int((self.rows["outcome"] == outcome).sum())


@dataclass(frozen=True)
class Intake:
    """What became of the rows of a set of files, on disk.

    Attributes
    ----------
    placed
        TRANSACTIONS and `place`, the row's number in input order.
    quarantine, ledger, unused, lost
        As in `Ingested`.
    read, kept, duplicates
        How many rows.
    repeats
        The places of duplicates.
    repeated
        The ids that they repeat.
    """

    placed: Spill
    quarantine: Spill
    ledger: Spill
    unused: tuple[str, ...]
    lost: dict[str, int]
    read: int
    repeats: pl.Series
    repeated: pl.Series
    _batch: Batch
    _refused: pl.Series

    @property
    def transactions(self) -> pl.LazyFrame:
        """TRANSACTIONS."""
        return self.placed.rows.drop("place")

    @property
    def kept(self) -> int:
        return self.placed.height

    @property
    def duplicates(self) -> int:
        return len(self.repeats)

    def outcomes(self) -> Iterator[pl.DataFrame]:
        """`Ingested.rows` slice by slice, with `place`."""
        return self._batch.outcomes(self.repeats, self._refused)

    def collect(self) -> Ingested:
        """All of it in memory."""
        return Ingested(
            self.transactions.collect(),
            self.quarantine.rows.collect(),
            self.ledger.rows.collect(),
            pl.concat(self.outcomes()).drop("place"),
            self.unused,
            self.lost,
        )


def ingest(
    paths: Sequence[DataFile | Path],
    mapping: ColumnMapping,
    *,
    label_delay: timedelta,
    earliest: datetime,
    latest: datetime,
    card_key: roles.KeyLoader | None = None,
    optional: Collection[str] = (),
    size: int = SLICE,
) -> Ingested:
    """Bring raw files, or files that already are TRANSACTIONS, to TRANSACTIONS in memory, as `intake` does."""
    rules = roles.Rules(mapping, earliest, latest, card_key or cards.key_of_environment, optional)
    with tempfile.TemporaryDirectory() as folder:
        return intake(paths, rules, Path(folder), label_delay=label_delay, size=size).collect()


def intake(
    paths: Sequence[DataFile | Path], rules: roles.Rules, folder: Path, *, label_delay: timedelta, size: int = SLICE
) -> Intake:
    """Bring raw files, or files that already are TRANSACTIONS, to TRANSACTIONS.

    Parameters
    ----------
    rules
        How raw files are read; a file that has the required columns of TRANSACTIONS is taken as it is.
    folder
        Where rows are kept; it must outlive what is returned.
    label_delay
        How long after its time a transaction's label can be known.
    size
        Rows held in memory at a time; no answer depends on it.

    Raises
    ------
    DataError
        A file as a whole cannot be taken.
    EmptyDataError
        No row is left.
    """
    tables = [files.scan(path, folder / f"read-{number}") for number, path in enumerate(paths)]
    if not sum(table.height for table in tables):
        raise EmptyDataError(f"{_named(paths)}: no rows, only a header", hint="Export the file again.")
    batch, stems = Batch(tables, folder, size), _Stems()
    for number, table in enumerate(tables):
        if table.schema:
            taken_as_it_is = prepared.is_prepared(table.schema)
            stem = partial(stems.of, table)
            batch.clean(number, prepared.cleaner(table, rules) if taken_as_it_is else roles.cleaner(table, rules, stem))
    if not any(table.schema for table in tables):
        raise _nothing_left(_named(paths), pl.concat([table.refused for table in tables]))
    batch.close(one_arrival=rules.mapping.columns.seq is not None)
    return _settled(batch, rules.mapping.amount, label_delay, folder, size)


def _settled(batch: Batch, form: AmountFormat, label_delay: timedelta, folder: Path, size: int) -> Intake:
    """Bring amounts to one currency and every transaction to one row, and give account of all rows."""
    named = _named([table.name for table in batch.tables])
    try:
        _to_base_currency(batch, form)
    except DataError as error:
        raise type(error)(f"{named}: {error.message}", hint=error.hint) from error
    content = [name for name in batch.names if name != "currency"]
    settled, taken = duplicates.settle_arrivals(_entangled(batch, content), content)
    late = pl.concat(_late_faults(settled.conflicts, taken)).cast(pl.Schema(FAULTS))
    quarantine = Spill(folder / "quarantine", QUARANTINE)
    for part in batch.quarantine(late):
        quarantine.add(part)
    placed, ledger = Spill(folder / "transactions"), Spill(folder / "ledger", LEDGER)
    for part in _in_order(batch, content, pl.concat([late["place"], settled.duplicates["place"]]), folder, size):
        placed.add(part)
        ledger.add(visibility.ledger_of(part, label_delay))
    if not placed.height:
        raise _nothing_left(named, quarantine.rows.select("reason", "detail").collect())
    ledger.add(duplicates.differing_labels(settled.kept, settled.duplicates, label_delay))
    read = sum(table.height for table in batch.tables)
    repeats, repeated = settled.duplicates["place"], settled.duplicates["transaction_id"].unique()
    _check_account(read, placed.height, len(repeats), quarantine.height)
    return Intake(placed, quarantine, ledger, batch.unused, batch.lost, read, repeats, repeated, batch, late["place"])


def _to_base_currency(batch: Batch, form: AmountFormat) -> None:
    if "currency" in batch.names:
        good = batch.rows.filter(pl.col("reason").is_null())
        currency.check(good.select("currency"), form)
        batch.change(partial(_converted, form=form))


def _converted(rows: pl.DataFrame, *, form: AmountFormat) -> pl.DataFrame:
    if "currency" not in rows.columns:
        return rows
    codes = rows["currency"].set(rows["reason"].is_not_null(), None)
    amounts, faults = currency.convert(rows["amount"], codes, rows["ts"] if "ts" in rows.columns else None, form)
    more = first_faults(faults).rename({"reason": "more", "detail": "of_it"})
    found = rows.with_columns(amounts).with_row_index("row").join(more, on="row", how="left", maintain_order="left")
    told = found.with_columns(reason=pl.coalesce("reason", "more"), detail=pl.coalesce("detail", "of_it"))
    return told.select(rows.columns)


def _entangled(batch: Batch, content: Sequence[str]) -> pl.DataFrame:
    """The good rows that share their id or their place of arrival with another, perhaps with some that do not."""
    good = batch.rows.filter(pl.col("reason").is_null())
    parts = 1 + sum(table.count for table in batch.tables) // COMPARED
    keys = [name for name in ("transaction_id", "seq") if name in content]
    found = [_sharing(good, name, number, parts) for name in keys for number in range(parts)]
    shared = pl.concat(found).unique() if found else pl.Series(dtype=pl.UInt32)
    rows = good.select("place", *content)
    return rows.filter(pl.col("place").is_in(shared.implode())).collect(engine="streaming").sort("place")


def _sharing(rows: pl.LazyFrame, name: str, number: int, parts: int) -> pl.Series:
    """Places of rows that share a value with another, among one of some parts of all values."""
    key = pl.col(name).hash()
    mine = rows.filter(key % parts == number) if parts > 1 else rows
    keys = mine.select("place", key=key if name == "transaction_id" else name).collect(engine="streaming")
    ordered = keys["key"].sort()
    twice = ordered.filter(ordered == ordered.shift(1)).unique()
    return keys.filter(pl.col("key").is_in(twice.implode()))["place"]


def _late_faults(conflicts: pl.DataFrame, taken: pl.DataFrame) -> list[pl.DataFrame]:
    """The faults that show only when rows are seen beside each other."""
    same_id = pl.lit("transaction ") + pl.col("transaction_id") + pl.lit(" came before with other content")
    faults = [conflicts.select("place", reason=pl.lit("conflicting_duplicate"), detail=same_id)]
    if "seq" in taken.columns:
        same_seq = pl.lit("seq ") + pl.col("seq").cast(pl.String) + pl.lit(" belongs to another transaction")
        faults.append(taken.select("place", reason=pl.lit("seq_taken"), detail=same_seq))
    return faults


def _in_order(batch: Batch, content: Sequence[str], out: pl.Series, folder: Path, size: int) -> Iterator[pl.DataFrame]:
    """TRANSACTIONS with `place`, in order of time: rows are numbered by it unless they are already.

    Parameters
    ----------
    out
        Places of good rows that are left out.
    """
    order = next(by for by in (["ts", "transaction_id"], ["seq"], ["transaction_id"]) if set(by) <= set(content))
    good = pl.col("reason").is_null() & ~pl.col("place").is_in(out.implode())
    pieces = [piece.filter(good).select(*content, "place") for piece in batch.scans()]
    number = 0
    for piece in in_order(pieces, order, size, folder / "order"):
        yield piece if "seq" in content else _numbered(piece, number)
        number += piece.height


def _numbered(rows: pl.DataFrame, first: int) -> pl.DataFrame:
    after = rows.columns.index("labelled") + 1
    seq = pl.int_range(first, first + rows.height, eager=True, dtype=pl.Int64).alias("seq")
    return rows.insert_column(after, seq)


class _Stems:
    """First parts of made-up transaction ids: the start of a file's SHA-256."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def of(self, table: RawTable) -> str:
        stem = files.digest(table.path)[:12]
        same = self._files.setdefault(stem, table.name)
        if same != table.name:
            raise DataError(
                f"the same file as {same}, and its rows have no ids to tell them apart by",
                hint="Remove one of the two.",
            )
        return stem


def _nothing_left(thing: str, quarantine: pl.DataFrame) -> EmptyDataError:
    reasons = quarantine["reason"].value_counts().sort("count", "reason", descending=[True, False]).head(3)
    listed = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.iter_rows())
    first = quarantine.filter(pl.col("reason") == reasons["reason"][0])["detail"][0]
    return EmptyDataError(
        f"{thing}: none of {quarantine.height:,} rows could be taken: {listed}; for instance {cards.mask(first)}",
        hint="Check prepare.mapping against the file: its columns, its formats of amounts, times and labels.",
    )


def _check_account(read: int, kept: int, repeated: int, quarantined: int) -> None:
    if kept + repeated + quarantined != read:
        raise RuntimeError(f"{read} rows read, but {(kept, repeated, quarantined)} kept, duplicate and quarantined")


def _named(paths: Sequence[object]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"
