"""Clean raw files into TRANSACTIONS, a quarantine and a label ledger.

Every row is kept, counted as a duplicate, or quarantined with a reason. Rows are processed slice by slice and
stored on disk in between. To find rows that share their id or their `seq`, the hashes of one part of the ids are in
memory at a time; only the rows found are compared in memory.
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
from fraud3000.data.cleaning.file_rows import DUPLICATE, ERROR_COLUMNS, KEPT, QUARANTINED, Batch
from fraud3000.data.cleaning.row_errors import Rejections, first_errors
from fraud3000.data.reading import files
from fraud3000.data.reading.raw_table import DataFile, RawTable
from fraud3000.data.storage.external_sort import sort_pieces
from fraud3000.data.storage.spill import SLICE, Spill
from fraud3000.errors import DataError, EmptyDataError
from fraud3000.labels import visibility
from fraud3000.params import AmountFormat, ColumnMapping
from fraud3000.schema import LEDGER, QUARANTINE

COMPARED = 10_000_000
"""Number of rows whose ids are compared at a time."""


@dataclass(frozen=True)
class Ingested:
    """Result of cleaning a set of files, in memory.

    Attributes
    ----------
    transactions
        TRANSACTIONS.
    quarantine
        QUARANTINE, in input order.
    ledger
        LEDGER: the label records of the files' own rows.
    rows
        One row for each row read, in input order: source_file String, source_row Int64,
        transaction_id String (null for a line that could not be read as a row), outcome ``kept``,
        ``duplicate`` or ``quarantined``. A duplicate has the id of the row it repeats.
    unused
        Raw columns that the mapping does not mention.
    nulled
        Passthrough column to the number of its values that could not be read and became null.
    """

    transactions: pl.DataFrame
    quarantine: pl.DataFrame
    ledger: pl.DataFrame
    rows: pl.DataFrame
    unused: tuple[str, ...]
    nulled: dict[str, int]

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
class CleanedData:
    """Result of cleaning a set of files, on disk.

    Attributes
    ----------
    indexed
        TRANSACTIONS and `row_index`, the row's index in input order.
    quarantine, ledger, unused, nulled
        As in `Ingested`.
    read, kept, duplicates
        Numbers of rows.
    duplicate_rows
        `row_index` of each duplicate.
    duplicate_ids
        The ids of the duplicates.
    rejections
        Rejected rows among frauds and among other rows.
    """

    indexed: Spill
    quarantine: Spill
    ledger: Spill
    unused: tuple[str, ...]
    nulled: dict[str, int]
    read: int
    duplicate_rows: pl.Series
    duplicate_ids: pl.Series
    rejections: Rejections
    _batch: Batch
    _refused: pl.Series

    @property
    def transactions(self) -> pl.LazyFrame:
        """TRANSACTIONS."""
        return self.indexed.rows.drop("row_index")

    @property
    def kept(self) -> int:
        return self.indexed.height

    @property
    def duplicates(self) -> int:
        return len(self.duplicate_rows)

    def outcomes(self) -> Iterator[pl.DataFrame]:
        """Yield `Ingested.rows` slice by slice, with `row_index`."""
        return self._batch.outcomes(self.duplicate_rows, self._refused)

    def collect(self) -> Ingested:
        """Load everything into memory."""
        return Ingested(
            self.transactions.collect(),
            self.quarantine.rows.collect(),
            self.ledger.rows.collect(),
            pl.concat(self.outcomes()).drop("row_index"),
            self.unused,
            self.nulled,
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
    """Clean raw files, or files that already are TRANSACTIONS, into memory; see `ingest_to_disk`."""
    rules = roles.CleaningRules(mapping, earliest, latest, card_key or cards.key_from_environment, optional)
    with tempfile.TemporaryDirectory() as folder:
        return ingest_to_disk(paths, rules, Path(folder), label_delay=label_delay, size=size).collect()


def ingest_to_disk(
    paths: Sequence[DataFile | Path | RawTable],
    rules: roles.CleaningRules,
    folder: Path,
    *,
    label_delay: timedelta,
    size: int = SLICE,
) -> CleanedData:
    """Clean raw files, or files that already are TRANSACTIONS, and store the result on disk.

    Parameters
    ----------
    paths
        Files, or raw tables that are already open.
    rules
        How raw files are read; a file that has the required columns of TRANSACTIONS is used as it is.
    folder
        Where rows are stored; the result reads from it.
    label_delay
        Time from a transaction until its label can be known.
    size
        Rows held in memory at a time; the result does not depend on it.

    Raises
    ------
    DataError
        A whole file cannot be used.
    EmptyDataError
        No row is accepted.
    """
    tables = [
        path if isinstance(path, RawTable) else files.scan(path, folder / f"read-{number}", rules.mapping.csv)
        for number, path in enumerate(paths)
    ]
    name = _describe([table.name for table in tables])
    if not sum(table.height for table in tables):
        raise EmptyDataError(f"{name}: no rows, only a header", hint="Export the file again.")
    batch, stems = Batch(tables, folder, size), _Stems()
    for number, table in enumerate(tables):
        if table.schema:
            already_clean = prepared.is_prepared(table.schema)
            stem = partial(stems.stem, table)
            cleaner = prepared.make_cleaner(table, rules) if already_clean else roles.make_cleaner(table, rules, stem)
            batch.clean(number, cleaner)
    if not any(table.schema for table in tables):
        raise _no_rows_error(name, pl.concat([table.refused for table in tables]))
    batch.close(one_arrival=rules.mapping.columns.seq is not None)
    return _consolidate(batch, rules.mapping.amount, label_delay, folder, size)


def _consolidate(batch: Batch, form: AmountFormat, label_delay: timedelta, folder: Path, size: int) -> CleanedData:
    """Convert amounts to the base currency, reduce every transaction to one row, and account for all rows."""
    thing = _describe([table.name for table in batch.tables])
    try:
        _to_base_currency(batch, form)
    except DataError as error:
        raise type(error)(f"{thing}: {error.message}", hint=error.hint) from error
    content = [name for name in batch.names if name != "currency"]
    unique, seq_taken = duplicates.deduplicate_arrivals(_rows_to_compare(batch, content), content)
    late = pl.concat(_cross_row_errors(unique.conflicts, seq_taken)).cast(pl.Schema(ERROR_COLUMNS))
    quarantine = Spill(folder / "quarantine", QUARANTINE)
    for part in batch.quarantine(late):
        quarantine.add(part)
    indexed, ledger = Spill(folder / "transactions"), Spill(folder / "ledger", LEDGER)
    for part in _in_order(batch, content, pl.concat([late["row_index"], unique.duplicates["row_index"]]), folder, size):
        indexed.add(part)
        ledger.add(visibility.ledger_from_rows(part, label_delay))
    if not indexed.height:
        raise _no_rows_error(thing, quarantine.rows.select("reason", "detail").collect())
    ledger.add(duplicates.differing_labels(unique.first_rows, unique.duplicates, label_delay))
    read = sum(table.height for table in batch.tables)
    duplicate_rows, duplicate_ids = unique.duplicates["row_index"], unique.duplicates["transaction_id"].unique()
    _check_counts(read, indexed.height, len(duplicate_rows), quarantine.height)
    return CleanedData(
        indexed,
        quarantine,
        ledger,
        batch.unused,
        batch.nulled,
        read,
        duplicate_rows,
        duplicate_ids,
        _count_rejections(batch, late),
        batch,
        late["row_index"],
    )


def _count_rejections(batch: Batch, late: pl.DataFrame) -> Rejections:
    rejected = pl.col("reason").is_not_null() | pl.col("row_index").is_in(late["row_index"].implode())
    fraud = (pl.col("is_fraud") == 1).fill_null(value=False)
    counts = batch.rows.select(fraud.sum(), (fraud & rejected).sum().alias("a"), pl.len(), rejected.sum().alias("b"))
    frauds, frauds_rejected, rows, all_rejected = counts.collect(engine="streaming").row(0)
    return Rejections(frauds, frauds_rejected, rows - frauds, all_rejected - frauds_rejected)


def _to_base_currency(batch: Batch, form: AmountFormat) -> None:
    if "currency" in batch.names:
        good = batch.rows.filter(pl.col("reason").is_null())
        currency.check(good.select("currency"), form)
        batch.change(partial(_convert, form=form))


def _convert(rows: pl.DataFrame, *, form: AmountFormat) -> pl.DataFrame:
    if "currency" not in rows.columns:
        return rows
    codes = rows["currency"].set(rows["reason"].is_not_null(), None)
    amounts, errors = currency.convert(rows["amount"], codes, rows["ts"] if "ts" in rows.columns else None, form)
    new = first_errors(errors).rename({"reason": "new_reason", "detail": "new_detail"})
    joined = rows.with_columns(amounts).with_row_index("row").join(new, on="row", how="left", maintain_order="left")
    return joined.with_columns(
        reason=pl.coalesce("reason", "new_reason"), detail=pl.coalesce("detail", "new_detail")
    ).select(rows.columns)


def _rows_to_compare(batch: Batch, content: Sequence[str]) -> pl.DataFrame:
    """The valid rows that share their id or their seq with another row; hash collisions may add some that do not."""
    good = batch.rows.filter(pl.col("reason").is_null())
    parts = 1 + sum(table.count for table in batch.tables) // COMPARED
    keys = [name for name in ("transaction_id", "seq") if name in content]
    repeated = [_repeated(good, name, number, parts) for name in keys for number in range(parts)]
    shared = pl.concat(repeated).unique() if repeated else pl.Series(dtype=pl.UInt32)
    rows = good.select("row_index", *content)
    return rows.filter(pl.col("row_index").is_in(shared.implode())).collect(engine="streaming").sort("row_index")


def _repeated(rows: pl.LazyFrame, name: str, number: int, parts: int) -> pl.Series:
    """`row_index` of the rows that share a value with another row, for part `number` of the `parts` of all values."""
    key = pl.col(name).hash()
    in_part = rows.filter(key % parts == number) if parts > 1 else rows
    keys = in_part.select("row_index", key=key if name == "transaction_id" else name).collect(engine="streaming")
    ordered = keys["key"].sort()
    twice = ordered.filter(ordered == ordered.shift(1)).unique()
    return keys.filter(pl.col("key").is_in(twice.implode()))["row_index"]


def _cross_row_errors(conflicts: pl.DataFrame, seq_taken: pl.DataFrame) -> list[pl.DataFrame]:
    """The errors that only a comparison of rows reveals."""
    same_id = pl.lit("transaction ") + pl.col("transaction_id") + pl.lit(" came before with other content")
    errors = [conflicts.select("row_index", reason=pl.lit("conflicting_duplicate"), detail=same_id)]
    if "seq" in seq_taken.columns:
        same_seq = pl.lit("seq ") + pl.col("seq").cast(pl.String) + pl.lit(" belongs to another transaction")
        errors.append(seq_taken.select("row_index", reason=pl.lit("seq_taken"), detail=same_seq))
    return errors


def _in_order(
    batch: Batch, content: Sequence[str], excluded: pl.Series, folder: Path, size: int
) -> Iterator[pl.DataFrame]:
    """Yield TRANSACTIONS with `row_index` in time order; rows without seq get their number in this order as seq.

    Parameters
    ----------
    excluded
        `row_index` of valid rows to leave out.
    """
    order = next(by for by in (["ts", "transaction_id"], ["seq"], ["transaction_id"]) if set(by) <= set(content))
    good = pl.col("reason").is_null() & ~pl.col("row_index").is_in(excluded.implode())
    pieces = [piece.filter(good).select(*content, "row_index") for piece in batch.scans()]
    number = 0
    for piece in sort_pieces(pieces, order, size, folder / "order"):
        yield piece if "seq" in content else _add_seq(piece, number)
        number += piece.height


def _add_seq(rows: pl.DataFrame, first: int) -> pl.DataFrame:
    after = rows.columns.index("labelled") + 1
    seq = pl.int_range(first, first + rows.height, eager=True, dtype=pl.Int64).alias("seq")
    return rows.insert_column(after, seq)


class _Stems:
    """Prefixes of generated transaction ids: the first 12 hex digits of a file's SHA-256."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def stem(self, table: RawTable) -> str:
        stem = table.digest()[:12]
        first = self._files.setdefault(stem, table.name)
        if first != table.name:
            raise DataError(
                f"identical to {first}, and its rows have no transaction ids",
                hint="Remove one of the two files, or map a column as transaction_id.",
            )
        return stem


def _no_rows_error(thing: str, quarantine: pl.DataFrame) -> EmptyDataError:
    reasons = quarantine["reason"].value_counts().sort("count", "reason", descending=[True, False]).head(3)
    listed = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.iter_rows())
    first = quarantine.filter(pl.col("reason") == reasons["reason"][0])["detail"][0]
    return EmptyDataError(
        f"{thing}: all {quarantine.height:,} rows were rejected: {listed}; for example {cards.mask(first)}",
        hint="Compare prepare.mapping with the file: columns, and the formats of amounts, times and labels.",
    )


def _check_counts(read: int, kept: int, repeated: int, quarantined: int) -> None:
    if kept + repeated + quarantined != read:
        raise RuntimeError(f"{read} rows read, but {(kept, repeated, quarantined)} kept, duplicate and quarantined")


def _describe(paths: Sequence[object]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"
