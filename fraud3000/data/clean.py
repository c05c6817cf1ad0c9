"""Raw files to TRANSACTIONS, quarantine and label ledger: every row is kept, a duplicate, or refused with a reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from fraud3000 import labels
from fraud3000.data import cards, currency, duplicates, files, prepared, roles
from fraud3000.data.batch import DUPLICATE, KEPT, QUARANTINED, Batch
from fraud3000.data.faults import first_faults
from fraud3000.data.raw import DataFile, RawFile
from fraud3000.errors import DataError, EmptyDataError
from fraud3000.params import AmountFormat, Mapping


@dataclass(frozen=True)
class Ingested:
    """What became of the rows of a set of files.

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


def ingest(
    paths: Sequence[DataFile | Path],
    mapping: Mapping,
    *,
    label_delay: timedelta,
    earliest: datetime,
    latest: datetime,
    card_key: roles.KeyLoader | None = None,
    optional: Collection[str] = (),
) -> Ingested:
    """Bring raw files, or files that already are TRANSACTIONS, to TRANSACTIONS.

    Parameters
    ----------
    mapping
        How raw files are read; a file that has the required columns of TRANSACTIONS is taken as it is.
    label_delay
        How long after its time a transaction's label can be known.
    earliest, latest
        Times outside [earliest, latest) are quarantined; UTC where no offset is given.
    card_key
        Gives the key for card numbers, called only if there are any; by default read from the
        environment.
    optional
        Mapped roles that a file may lack, such as `is_fraud` when it is to be scored.

    Raises
    ------
    DataError
        A file as a whole cannot be taken.
    EmptyDataError
        No row is left.
    """
    rules = roles.Rules(mapping, earliest, latest, card_key or partial(cards.load_key, os.environ), optional)
    raws = [files.read(path) for path in paths]
    if not sum(raw.height for raw in raws):
        raise EmptyDataError(f"{_named(paths)}: no rows, only a header", hint="Export the file again.")
    stems = _Stems()
    cleaned = {
        number: prepared.clean(raw, rules)
        if prepared.is_prepared(raw.rows)
        else roles.clean(raw, rules, partial(stems.of, raw))
        for number, raw in enumerate(raws)
        if raw.rows.width
    }
    if not cleaned:
        raise _nothing_left(_named(paths), pl.concat([raw.refused for raw in raws]))
    lost = Counter[str]()
    for part in cleaned.values():
        lost.update(part.lost)
    unused = tuple(dict.fromkeys(name for part in cleaned.values() for name in part.unused))
    batch = Batch.of(raws, cleaned, one_arrival=mapping.columns.seq is not None)
    return _settled(batch, mapping.amount, label_delay, unused, dict(lost))


def _settled(
    batch: Batch, form: AmountFormat, label_delay: timedelta, unused: tuple[str, ...], lost: dict[str, int]
) -> Ingested:
    """Bring amounts to one currency and every transaction to one row, and give account of all rows."""
    try:
        rows, bad = _in_base_currency(batch.rows, batch.bad, form)
    except DataError as error:
        named = _named([raw.name for raw in batch.raws])
        raise type(error)(f"{named}: {error.message}", hint=error.hint) from error
    content = [name for name in rows.columns if name not in {"place", "currency"}]
    good = rows.filter(~rows["place"].is_in(bad["place"].implode()))
    settled, taken = duplicates.settle_arrivals(good, content)
    kept = settled.kept
    bad = pl.concat([bad, *_late_faults(settled.conflicts, taken)])
    transactions = _finished(kept.select(content))
    quarantine = batch.quarantine(bad)
    if transactions.is_empty():
        raise _nothing_left(_named([raw.name for raw in batch.raws]), quarantine)
    ledger = labels.merge(
        labels.ledger_of(transactions, label_delay),
        duplicates.differing_labels(kept, settled.duplicates, label_delay),
    )
    outcomes = batch.outcomes(settled.duplicates["place"], bad["place"])
    ingested = Ingested(transactions, quarantine, ledger, outcomes, unused, lost)
    _check_account(ingested, sum(raw.height for raw in batch.raws))
    return ingested


def _in_base_currency(rows: pl.DataFrame, bad: pl.DataFrame, form: AmountFormat) -> tuple[pl.DataFrame, pl.DataFrame]:
    if "currency" not in rows.columns:
        return rows, bad
    good = ~rows["place"].is_in(bad["place"].implode())
    currency.check(rows["currency"].filter(good), form)
    ts = rows["ts"] if "ts" in rows.columns else None
    amounts, faults = currency.convert(rows["amount"], rows["currency"].set(~good, None), ts, form)
    more = first_faults(faults).rename({"row": "place"})
    return rows.with_columns(amounts), pl.concat([bad, more])


def _late_faults(conflicts: pl.DataFrame, taken: pl.DataFrame) -> list[pl.DataFrame]:
    """The faults that show only when rows are seen beside each other."""
    same_id = pl.lit("transaction ") + pl.col("transaction_id") + pl.lit(" came before with other content")
    faults = [conflicts.select("place", reason=pl.lit("conflicting_duplicate"), detail=same_id)]
    if "seq" in taken.columns:
        same_seq = pl.lit("seq ") + pl.col("seq").cast(pl.String) + pl.lit(" belongs to another transaction")
        faults.append(taken.select("place", reason=pl.lit("seq_taken"), detail=same_seq))
    return faults


def _finished(kept: pl.DataFrame) -> pl.DataFrame:
    """TRANSACTIONS: rows in order of arrival are numbered unless they are already, then put in order of time."""
    if "seq" in kept.columns:
        return kept.sort("ts", "transaction_id") if "ts" in kept.columns else kept
    after = kept.columns.index("labelled") + 1
    return kept.insert_column(after, pl.int_range(kept.height, eager=True, dtype=pl.Int64).alias("seq"))


class _Stems:
    """First parts of made-up transaction ids: the start of a file's SHA-256."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def of(self, raw: RawFile) -> str:
        stem = files.digest(raw.path)[:12]
        same = self._files.setdefault(stem, raw.name)
        if same != raw.name:
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


def _check_account(ingested: Ingested, read: int) -> None:
    told = (ingested.kept, ingested.duplicates, ingested.quarantined)
    if sum(told) != read or told[0] != ingested.transactions.height or told[2] != ingested.quarantine.height:
        raise RuntimeError(f"{read} rows read, but {told} kept, duplicate and quarantined")


def _named(paths: Sequence[object]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"
