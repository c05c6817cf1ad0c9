"""What is known about a transaction's label, and since when.

A label is never a column: it is what the ledger says as of a moment. Until `ts + label_delay` it
is unknown; after that the deciding record with `recorded_at < t` speaks, and where there is none
the transaction is presumed legitimate, unless it was declined or came without a label from a
source that has them: those stay unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from fraud3000.schema import DECLINED, LEDGER

FILE_SOURCE = "file"


def ledger_of(transactions: pl.DataFrame, label_delay: timedelta, *, source: str = FILE_SOURCE) -> pl.DataFrame:
    """The label records that a file's own rows make.

    A row makes one if `is_fraud` is 1, or 0 with a `reported_at`. `recorded_at` is
    `max(reported_at, ts + label_delay)`, and `ts + label_delay` without a report time.

    Parameters
    ----------
    transactions
        TRANSACTIONS.
    label_delay
        How long a label takes to be counted on.

    Returns
    -------
    polars.DataFrame
        LEDGER, in the order of the rows.
    """
    says_something = (pl.col("is_fraud") == 1) | (
        pl.col("is_fraud").is_not_null() & pl.col("reported_at").is_not_null()
    )
    mature = pl.col("ts") + label_delay if "ts" in transactions.columns else pl.lit(None, dtype=LEDGER["recorded_at"])
    return transactions.filter(says_something).select(
        "transaction_id",
        "is_fraud",
        source=pl.lit(source),
        reported_at="reported_at",
        recorded_at=pl.max_horizontal(pl.col("reported_at"), mature),
    )


def merge(*ledgers: pl.DataFrame) -> pl.DataFrame:
    """Ledgers one after the other: the place in the ledger is the order in which records are given."""
    return pl.concat([ledger.select(*LEDGER) for ledger in ledgers])


def changes(ledger: pl.DataFrame, precedence: Sequence[str] = ()) -> pl.DataFrame:
    """The moments at which what is known of a transaction changes.

    Deciding is the record of the most trusted source, then the greatest (`recorded_at`,
    `reported_at`, place in the ledger) among those recorded before t.

    Parameters
    ----------
    ledger
        LEDGER.
    precedence
        Sources, the most trusted first; all others come after them, as equals.

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
        ledger.with_row_index("place")
        .with_columns(trust=trust if precedence else pl.lit(0))
        .sort("trust", "recorded_at", "reported_at", "place", nulls_last=False)
        .with_row_index("strength")
        .sort("transaction_id", "recorded_at", "strength")
    )
    deciding = ranked.with_columns(strength=pl.col("strength").cum_max().over("transaction_id"))
    labels = ranked.select("strength", "is_fraud")
    said = (
        deciding.drop("is_fraud")
        .join(labels, on="strength", how="left", maintain_order="left")
        .unique(["transaction_id", "recorded_at"], keep="last", maintain_order=True)
    )
    same = pl.col("transaction_id") == pl.col("transaction_id").shift(1)
    changed = said.filter((~same | (pl.col("is_fraud") != pl.col("is_fraud").shift(1))).fill_null(value=True))
    again = pl.col("transaction_id") == pl.col("transaction_id").shift(-1)
    return changed.select(
        "transaction_id",
        "is_fraud",
        since="recorded_at",
        until=pl.when(again).then(pl.col("recorded_at").shift(-1)),
    )


def presumed(transactions: pl.DataFrame) -> pl.Series:
    """Whether a mature row without a record is presumed legitimate; else it is unknown for ever."""
    return transactions.select((pl.col("status") != DECLINED) & pl.col("labelled")).to_series().alias("presumed")


def known_at(
    transactions: pl.DataFrame,
    ledger: pl.DataFrame,
    at: datetime | None,
    *,
    label_delay: timedelta,
    precedence: Sequence[str] = (),
) -> pl.Series:
    """Each transaction's label as known at a moment.

    Parameters
    ----------
    transactions
        TRANSACTIONS or FEATURED: needs transaction_id, status, labelled and, unless the data has no
        time, ts.
    ledger
        LEDGER.
    at
        The moment; None for data without time, where every label is known.

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
    spoken = changes(ledger, precedence)
    if at is not None:
        spoken = spoken.filter((pl.col("since") < at) & (pl.col("until").is_null() | (pl.col("until") >= at)))
    else:
        spoken = spoken.unique("transaction_id", keep="last", maintain_order=True)
    silence = pl.when(presumed(transactions)).then(pl.lit(0, pl.Int8))
    mature = pl.col("ts") + label_delay < at if at is not None else pl.lit(value=True)
    return (
        transactions.select("transaction_id", mature=mature, silence=silence)
        .join(spoken.select("transaction_id", "is_fraud"), on="transaction_id", how="left", maintain_order="left")
        .select(pl.when("mature").then(pl.coalesce("is_fraud", "silence")).alias("is_fraud"))
        .to_series()
        .cast(pl.Int8)
    )
