"""Label visibility: the label of a transaction as known at a time.

A label is not a column but the state of the ledger at a time t. Until `ts + label_delay` it is unknown.
After that, the deciding record with `recorded_at < t` determines it. Without a record the transaction is
presumed legitimate, unless it was declined or has no label although its source has a label column: the
label of these stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from fraud3000.schema import DECLINED, LEDGER

FILE_SOURCE = "file"


def ledger_from_rows(transactions: pl.DataFrame, label_delay: timedelta, *, source: str = FILE_SOURCE) -> pl.DataFrame:
    """Create the label records of a file's own rows.

    A row has a record if `is_fraud` is 1, or 0 with a `reported_at`. `recorded_at` is
    `max(reported_at, ts + label_delay)`, and `ts + label_delay` without a report time.

    Parameters
    ----------
    transactions
        TRANSACTIONS.
    label_delay
        Time from a transaction until its label can be known.

    Returns
    -------
    polars.DataFrame
        LEDGER, in row order.
    """
    has_record = (pl.col("is_fraud") == 1) | (pl.col("is_fraud").is_not_null() & pl.col("reported_at").is_not_null())
    mature = pl.col("ts") + label_delay if "ts" in transactions.columns else pl.lit(None, dtype=LEDGER["recorded_at"])
    return transactions.filter(has_record).select(
        "transaction_id",
        "is_fraud",
        source=pl.lit(source),
        reported_at="reported_at",
        recorded_at=pl.max_horizontal(pl.col("reported_at"), mature),
    )


def merge(*ledgers: pl.DataFrame) -> pl.DataFrame:
    """Concatenate ledgers; records keep their order, which decides between equal records."""
    return pl.concat([ledger.select(*LEDGER) for ledger in ledgers])


def changes(ledger: pl.DataFrame, precedence: Sequence[str] = ()) -> pl.DataFrame:
    """The times at which the known label of a transaction changes.

    The deciding record at t is the one of the most trusted source, then the greatest (`recorded_at`,
    `reported_at`, position in the ledger), among the records with `recorded_at` before t.

    Parameters
    ----------
    ledger
        LEDGER.
    precedence
        Sources, the most trusted first; all other sources rank equally after them.

    Returns
    -------
    polars.DataFrame
        `transaction_id, is_fraud, since, until`: the label is `is_fraud` for every t with
        `since < t <= until`; `until` is null for the last. Sorted by (transaction_id, since).
    """
    trust = pl.col("source").replace_strict(
        list(precedence), list(range(len(precedence), 0, -1)), default=0, return_dtype=pl.Int64
    )
    ranked = (
        ledger.with_row_index("position")
        .with_columns(trust=trust if precedence else pl.lit(0))
        .sort("trust", "recorded_at", "reported_at", "position", nulls_last=False)
        .with_row_index("strength")
        .sort("transaction_id", "recorded_at", "strength")
    )
    deciding = ranked.with_columns(strength=pl.col("strength").cum_max().over("transaction_id"))
    labels = ranked.select("strength", "is_fraud")
    label_at = (
        deciding.drop("is_fraud")
        .join(labels, on="strength", how="left", maintain_order="left")
        .unique(["transaction_id", "recorded_at"], keep="last", maintain_order=True)
    )
    same = pl.col("transaction_id") == pl.col("transaction_id").shift(1)
    changed = label_at.filter((~same | (pl.col("is_fraud") != pl.col("is_fraud").shift(1))).fill_null(value=True))
    again = pl.col("transaction_id") == pl.col("transaction_id").shift(-1)
    return changed.select(
        "transaction_id",
        "is_fraud",
        since="recorded_at",
        until=pl.when(again).then(pl.col("recorded_at").shift(-1)),
    )


def presumed(transactions: pl.DataFrame) -> pl.Series:
    """Whether a mature row without a record is presumed legitimate; otherwise its label stays unknown."""
    return transactions.select((pl.col("status") != DECLINED) & pl.col("labelled")).to_series().alias("presumed")


def known_at(
    transactions: pl.DataFrame,
    ledger: pl.DataFrame,
    at: datetime | None,
    *,
    label_delay: timedelta,
    precedence: Sequence[str] = (),
) -> pl.Series:
    """Each transaction's label as known at a time.

    Parameters
    ----------
    transactions
        TRANSACTIONS or FEATURED: needs transaction_id, status, labelled and, if the data has times, ts.
    ledger
        LEDGER.
    at
        The time; None for data without time, in which every label is known.

    Returns
    -------
    polars.Series
        `is_fraud` Int8, one for each row of `transactions`; null where unknown.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = lambda d: datetime(2024, 1, d, tzinfo=UTC)
    >>> transactions = pl.DataFrame({"transaction_id": ["a", "b", "c"], "ts": [day(1), day(1), day(9)],
    ...                              "status": "approved", "labelled": True})
    >>> ledger = pl.DataFrame({"transaction_id": ["a"], "is_fraud": [1], "source": ["file"],
    ...                        "reported_at": [day(5)], "recorded_at": [day(8)]}, schema=LEDGER)
    >>> known_at(transactions, ledger, day(10), label_delay=timedelta(days=7)).to_list()
    [1, 0, None]
    """
    recorded = changes(ledger, precedence)
    if at is not None:
        recorded = recorded.filter((pl.col("since") < at) & (pl.col("until").is_null() | (pl.col("until") >= at)))
    else:
        recorded = recorded.unique("transaction_id", keep="last", maintain_order=True)
    default = pl.when(presumed(transactions)).then(pl.lit(0, pl.Int8))
    mature = pl.col("ts") + label_delay < at if at is not None else pl.lit(value=True)
    return (
        transactions.select("transaction_id", mature=mature, default=default)
        .join(recorded.select("transaction_id", "is_fraud"), on="transaction_id", how="left", maintain_order="left")
        .select(pl.when("mature").then(pl.coalesce("is_fraud", "default")).alias("is_fraud"))
        .to_series()
        .cast(pl.Int8)
    )
