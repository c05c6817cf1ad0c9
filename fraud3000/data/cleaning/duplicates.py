"""Find repeated rows: retries, rows sent again with a label, and ids used for several transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from fraud3000.labels.visibility import FILE_SOURCE
from fraud3000.schema import LEDGER

NOT_CONTENT = ("is_fraud", "reported_at", "labelled", "seq")
"""Columns that may differ between two rows of the same transaction: the label and the arrival."""


@dataclass(frozen=True)
class Deduplicated:
    """Result of removing duplicates.

    Attributes
    ----------
    first_rows
        The first row of every transaction id, in order of arrival.
    duplicates
        Later rows with the same content; their labels may differ.
    conflicts
        Later rows with the same id but other content.
    """

    first_rows: pl.DataFrame
    duplicates: pl.DataFrame
    conflicts: pl.DataFrame


def arrival_order(columns: Sequence[str]) -> list[str]:
    """The columns that order rows by arrival: seq if there is one, else time, id, then all other content.

    Rows of equal content are ordered by their labels, so that the order of a file's lines never matters.

    Examples
    --------
    >>> arrival_order(["card_id", "amount", "transaction_id", "is_fraud"])
    ['transaction_id', 'card_id', 'amount', 'is_fraud']
    """
    leading = [name for name in ("seq", "ts", "transaction_id") if name in columns]
    content = [name for name in columns if name not in leading and name not in NOT_CONTENT]
    return [*leading, *content, *(name for name in ("reported_at", "is_fraud") if name in columns)]


def deduplicate(rows: pl.DataFrame, content: Sequence[str]) -> Deduplicated:
    """Separate the first row by arrival of every transaction id from its repetitions.

    Parameters
    ----------
    rows
        TRANSACTIONS, possibly without seq, and columns that state the source of the row.
    content
        The columns of TRANSACTIONS and passthrough, in schema order.

    Examples
    --------
    >>> rows = pl.DataFrame({"transaction_id": ["a", "a", "a"], "amount": [5, 5, 7], "is_fraud": [1, 0, 0]})
    >>> unique = deduplicate(rows, rows.columns)
    >>> unique.first_rows.rows(), unique.duplicates.rows(), unique.conflicts.rows()
    ([('a', 5, 0)], [('a', 5, 1)], [('a', 7, 0)])
    """
    order = arrival_order(content)
    if rows["transaction_id"].n_unique() == rows.height:
        leading = order[: order.index("transaction_id") + 1]
        return Deduplicated(rows.sort(leading, maintain_order=True), rows.clear(), rows.clear())
    ordered = rows.sort(order, maintain_order=True)
    first = ordered["transaction_id"].is_first_distinct()
    first_rows, repeats = ordered.filter(first), ordered.filter(~first)
    compared = [name for name in content if name not in NOT_CONTENT]
    renamed = first_rows.select("transaction_id", *(pl.col(name).alias(f"{name}:first") for name in compared))
    paired = repeats.join(renamed, on="transaction_id", how="left", maintain_order="left")
    same = paired.select(
        pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}:first")) for name in compared)
    ).to_series()
    return Deduplicated(first_rows, repeats.filter(same), repeats.filter(~same))


def deduplicate_arrivals(rows: pl.DataFrame, content: Sequence[str]) -> tuple[Deduplicated, pl.DataFrame]:
    """Remove duplicates as `deduplicate` does, and separate rows whose `seq` belongs to another transaction.

    Returns
    -------
    tuple
        The deduplicated rows, and the rows whose `seq` is taken. If such a row has a repetition, that
        repetition becomes the first row of its id, so that no duplicate lacks the row it repeats.
    """
    unique, seq_taken = deduplicate(rows, content), rows.clear()
    while "seq" in rows.columns and unique.first_rows["seq"].n_unique() < unique.first_rows.height:
        late = unique.first_rows.filter(~unique.first_rows["seq"].is_first_distinct())
        seq_taken = pl.concat([seq_taken, late])
        rows = rows.join(late, on="row_index", how="anti", maintain_order="left")
        unique = deduplicate(rows, content)
    return unique, seq_taken


def differing_labels(first_rows: pl.DataFrame, repeats: pl.DataFrame, label_delay: timedelta) -> pl.DataFrame:
    """The label records of duplicates whose label differs from that of the first row.

    Returns
    -------
    polars.DataFrame
        LEDGER, in order of arrival.
    """
    compared = ["is_fraud", "reported_at"]
    renamed = first_rows.select("transaction_id", *(pl.col(name).alias(f"{name}:first") for name in compared))
    differ = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}:first")) for name in compared)
    paired = repeats.join(renamed, on="transaction_id", how="inner", maintain_order="left")
    new = paired.filter(differ & pl.col("is_fraud").is_not_null())
    return new.select(
        "transaction_id",
        "is_fraud",
        source=pl.lit(FILE_SOURCE),
        reported_at="reported_at",
        recorded_at=recorded_at(new, label_delay),
    )


def recorded_at(rows: pl.DataFrame, label_delay: timedelta) -> pl.Expr:
    """When the label of a file row counts as known: `max(reported_at, ts + label_delay)`."""
    mature = pl.col("ts") + label_delay if "ts" in rows.columns else pl.lit(None, dtype=LEDGER["recorded_at"])
    return pl.max_horizontal(pl.col("reported_at"), mature)
