"""Rows that come twice: retries, re-sent rows with a label, and ids used for different things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from fraud3000.labels.visibility import FILE_SOURCE
from fraud3000.schema import LEDGER

NOT_CONTENT = ("is_fraud", "reported_at", "labelled", "seq")
"""What may differ between two rows that are the same transaction: the label and the arrival."""


@dataclass(frozen=True)
class Deduplicated:
    """Rows with every transaction once.

    Attributes
    ----------
    kept
        In order of arrival.
    duplicates
        Rows that say the same again, with the label they bring.
    conflicts
        Rows with an id of another transaction.
    """

    kept: pl.DataFrame
    duplicates: pl.DataFrame
    conflicts: pl.DataFrame


def arrival_order(columns: Sequence[str]) -> list[str]:
    """The columns that order rows by arrival: seq where it is given, else time, id, then all other content.

    Rows of equal content stand in the order of their labels, so that the order of a file's lines
    never matters.

    Examples
    --------
    >>> arrival_order(["card_id", "amount", "transaction_id", "is_fraud"])
    ['transaction_id', 'card_id', 'amount', 'is_fraud']
    """
    leading = [name for name in ("seq", "ts", "transaction_id") if name in columns]
    content = [name for name in columns if name not in leading and name not in NOT_CONTENT]
    return [*leading, *content, *(name for name in ("reported_at", "is_fraud") if name in columns)]


def settle(rows: pl.DataFrame, content: Sequence[str]) -> Deduplicated:
    """Keep the first row by arrival of every transaction id.

    Parameters
    ----------
    rows
        TRANSACTIONS, perhaps without seq, and columns that say where the row comes from.
    content
        The columns of TRANSACTIONS and passthrough, in schema order.

    Examples
    --------
    >>> rows = pl.DataFrame({"transaction_id": ["a", "a", "a"], "amount": [5, 5, 7], "is_fraud": [1, 0, 0]})
    >>> settled = settle(rows, rows.columns)
    >>> settled.kept.rows(), settled.duplicates.rows(), settled.conflicts.rows()
    ([('a', 5, 0)], [('a', 5, 1)], [('a', 7, 0)])
    """
    order = arrival_order(content)
    if rows["transaction_id"].n_unique() == rows.height:
        leading = order[: order.index("transaction_id") + 1]
        return Deduplicated(rows.sort(leading, maintain_order=True), rows.clear(), rows.clear())
    ordered = rows.sort(order, maintain_order=True)
    first = ordered["transaction_id"].is_first_distinct()
    kept, repeats = ordered.filter(first), ordered.filter(~first)
    compared = [name for name in content if name not in NOT_CONTENT]
    firsts = kept.select("transaction_id", *(pl.col(name).alias(f"{name}:first") for name in compared))
    paired = repeats.join(firsts, on="transaction_id", how="left", maintain_order="left")
    same = paired.select(
        pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}:first")) for name in compared)
    ).to_series()
    return Deduplicated(kept, repeats.filter(same), repeats.filter(~same))


def settle_arrivals(rows: pl.DataFrame, content: Sequence[str]) -> tuple[Deduplicated, pl.DataFrame]:
    """Settle rows as `settle` does, but none at a `seq` that is another transaction's.

    Returns
    -------
    tuple
        The settled rows, and those whose `seq` is taken. A row that repeats one of these stands for
        itself, so that no duplicate is left without the row it repeats.
    """
    settled, taken = settle(rows, content), rows.clear()
    while "seq" in rows.columns and settled.kept["seq"].n_unique() < settled.kept.height:
        late = settled.kept.filter(~settled.kept["seq"].is_first_distinct())
        taken = pl.concat([taken, late])
        rows = rows.join(late, on="place", how="anti", maintain_order="left")
        settled = settle(rows, content)
    return settled, taken


def differing_labels(kept: pl.DataFrame, repeats: pl.DataFrame, label_delay: timedelta) -> pl.DataFrame:
    """The label records that duplicates bring because their label differs from the kept row's.

    Returns
    -------
    polars.DataFrame
        LEDGER, in order of arrival.
    """
    told = ["is_fraud", "reported_at"]
    firsts = kept.select("transaction_id", *(pl.col(name).alias(f"{name}:first") for name in told))
    differ = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}:first")) for name in told)
    paired = repeats.join(firsts, on="transaction_id", how="inner", maintain_order="left")
    new = paired.filter(differ & pl.col("is_fraud").is_not_null())
    return new.select(
        "transaction_id",
        "is_fraud",
        source=pl.lit(FILE_SOURCE),
        reported_at="reported_at",
        recorded_at=recorded_at(new, label_delay),
    )


def recorded_at(rows: pl.DataFrame, label_delay: timedelta) -> pl.Expr:
    """When a file's label could be known: `max(reported_at, ts + label_delay)`."""
    mature = pl.col("ts") + label_delay if "ts" in rows.columns else pl.lit(None, dtype=LEDGER["recorded_at"])
    return pl.max_horizontal(pl.col("reported_at"), mature)
