"""Statistics of a stream: how many ties, late events, edges and label records it has, to show what a proof covers."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain

import polars as pl

from fraud3000 import durations
from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.features.spec.base import Feature, Stateful
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Shift
from fraud3000.schema import DECLINED, REFUND

SECOND = 1_000_000

Edge = tuple[int, int]
"""Start or end of a window: microseconds before t, and the bucket that it is rounded down to (1: none)."""


def stream_statistics(transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    """Count the cases of the rules of time in a stream, in the order in which reports list them.

    Parameters
    ----------
    transactions
        TRANSACTIONS, in any order.
    ledger
        LEDGER.
    catalogue
        Its windows and late horizon define edges and lateness.

    Examples
    --------
    >>> rows = pl.DataFrame({"transaction_id": ["a", "b"], "amount": [5, 0], "status": ["approved", "refund"],
    ...                      "labelled": True, "seq": [0, 1]})
    >>> stream_statistics(rows, pl.DataFrame(), Catalogue((), label_delay=0))
    {'rows': 2, 'refunds': 1, 'amount 0': 1}
    """
    counts = {"rows": transactions.height, **_count_row_values(transactions)}
    if "ts" in transactions.columns:
        counts |= _count_by_key(transactions, catalogue) | _count_edges(transactions, catalogue)
        counts |= _count_records(transactions, ledger, catalogue)
    return {name: count for name, count in counts.items() if count}


def window_edges(features: tuple[Feature, ...]) -> set[Edge]:
    """Edges of all windows of some features."""
    return set(chain.from_iterable(_feature_edges(feature) for feature in features if isinstance(feature, Stateful)))


def _feature_edges(feature: Stateful) -> set[Edge]:
    bucket = durations.seconds(feature.bucket) * SECOND if feature.bucket else 1
    offsets = {feature.lookback, durations.seconds(feature.delay)}
    offsets |= {feature.recent.lookback} if isinstance(feature, Shift) else set()
    return {(offset * SECOND, bucket) for offset in offsets}


def _count_row_values(rows: pl.DataFrame) -> dict[str, int]:
    other = pl.all().exclude("is_fraud", "reported_at", "^.*_id$", "^.*_(lat|long)$")
    conditions = {
        "declined": pl.col("status") == DECLINED,
        "refunds": pl.col("status") == REFUND,
        "amount 0": pl.col("amount") == 0,
        "largest allowed amount": pl.col("amount").abs() == LARGEST,
        "without a label in the source": ~pl.col("labelled"),
        "card or terminal missing": pl.any_horizontal(pl.col("^(card|terminal)_id$").is_null()),
        "coordinate missing": pl.any_horizontal(pl.col("^.*_(lat|long)$").is_null()),
        "other value missing": pl.any_horizontal(other.is_null()),
    }
    return rows.select(condition.sum().alias(name) for name, condition in conditions.items()).row(0, named=True)


def _count_by_key(rows: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    """Count ties and late events for each kind of key."""
    counts: dict[str, int] = {}
    for column, key in (("card_id", "card"), ("terminal_id", "terminal")):
        if column not in rows.columns:
            continue
        ordered = rows.select("ts", "seq", column).drop_nulls(column).sort("seq")
        late = ordered.select((pl.col("ts").cum_max().shift(1).over(column) - pl.col("ts")).dt.total_microseconds())
        horizon = catalogue.late_horizon * SECOND
        counts |= {
            f"{key}s": ordered[column].n_unique(),
            f"same time as another event of the {key}": int(ordered.select("ts", column).is_duplicated().sum()),
            f"arrived after a later event of the {key}": _count(late, pl.first() > 0),
            f"late by exactly the horizon for the {key}": _count(late, pl.first() == horizon) if horizon else 0,
            f"late beyond the horizon for the {key}": _count(late, pl.first() > horizon),
        }
    return counts


def _count_edges(rows: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    """Count the distinct edges, and those on which some row has an event of its key."""
    stateful = [feature for feature in catalogue.features if isinstance(feature, Stateful)]
    key_edges = {(feature.keys, edge) for feature in stateful for edge in _feature_edges(feature)}
    counts = [_rows_on_edge(rows, keys, edge) for keys, edge in sorted(key_edges)]
    return {
        "window edges": len(counts),
        "window edges with an event exactly on them": sum(count > 0 for count in counts),
        "pairs of row and edge with an event on the edge": sum(counts),
    }


def _rows_on_edge(rows: pl.DataFrame, keys: tuple[str, ...], edge: Edge) -> int:
    offset, bucket = edge
    events = rows.select(*keys, "seq", moment=pl.col("ts").dt.epoch("us")).drop_nulls(keys)
    first = events.group_by(*keys, "moment").agg(pl.col("seq").min().alias("event"))
    of_row = events.with_columns(moment=(pl.col("moment") - offset) // bucket * bucket)
    return of_row.join(first, on=[*keys, "moment"]).filter(pl.col("event") < pl.col("seq")).height


def _count_records(rows: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    of_row = ledger.join(rows.select("transaction_id", "ts"), on="transaction_id")
    mature, recorded = pl.col("ts") + timedelta(seconds=catalogue.label_delay), pl.col("recorded_at")
    previous = pl.col("is_fraud").shift(1).over("transaction_id", order_by="recorded_at")
    return {
        "label records": ledger.height,
        "label sources": ledger["source"].n_unique(),
        "recorded a month or more after the label delay": _count(of_row, recorded > mature + timedelta(days=30)),
        "recorded before the end of the label delay": _count(of_row, recorded < mature),
        "recorded before the transaction": _count(of_row, recorded < pl.col("ts")),
        "records that reverse the previous one": _count(of_row, previous != pl.col("is_fraud")),
        "recorded at the time of another record of the transaction": int(
            of_row.select("transaction_id", "recorded_at").is_duplicated().sum()
        ),
        "recorded at the time of some transaction": ledger.join(
            rows, left_on="recorded_at", right_on="ts", how="semi"
        ).height,
    }


def _count(rows: pl.DataFrame, condition: pl.Expr) -> int:
    return int(rows.select(condition.sum()).item() or 0)
