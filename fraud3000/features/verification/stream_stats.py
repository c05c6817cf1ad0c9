"""What a stream of transactions holds that the rules of time speak of: counted, so that a proof says what it proved."""

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
"""How many microseconds before t a window begins or ends, and the bucket that is cut to, 1 where to none."""


def census(transactions: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    """Count what is in a stream, in the order to tell it.

    Parameters
    ----------
    transactions
        TRANSACTIONS, in any order.
    ledger
        LEDGER.
    catalogue
        Whose edges and horizon are meant.

    Examples
    --------
    >>> rows = pl.DataFrame({"transaction_id": ["a", "b"], "amount": [5, 0], "status": ["approved", "refund"],
    ...                      "labelled": True, "seq": [0, 1]})
    >>> census(rows, pl.DataFrame(), Catalogue((), label_delay=0))
    {'rows': 2, 'refunds': 1, 'of amount 0': 1}
    """
    counts = {"rows": transactions.height, **_odd(transactions)}
    if "ts" in transactions.columns:
        counts |= _keyed(transactions, catalogue) | _edged(transactions, catalogue)
        counts |= _recorded(transactions, ledger, catalogue)
    return {name: count for name, count in counts.items() if count}


def edges(features: tuple[Feature, ...]) -> set[Edge]:
    """Where windows begin and end."""
    return set(chain.from_iterable(_edges_of(feature) for feature in features if isinstance(feature, Stateful)))


def _edges_of(feature: Stateful) -> set[Edge]:
    bucket = durations.seconds(feature.bucket) * SECOND if feature.bucket else 1
    ends = {feature.lookback, durations.seconds(feature.delay)}
    ends |= {feature.recent.lookback} if isinstance(feature, Shift) else set()
    return {(back * SECOND, bucket) for back in ends}


def _odd(rows: pl.DataFrame) -> dict[str, int]:
    passed = pl.all().exclude("is_fraud", "reported_at", "^.*_id$", "^.*_(lat|long)$")
    found = {
        "declined": pl.col("status") == DECLINED,
        "refunds": pl.col("status") == REFUND,
        "of amount 0": pl.col("amount") == 0,
        "of the largest amount": pl.col("amount").abs() == LARGEST,
        "without a label from their source": ~pl.col("labelled"),
        "without a card or terminal": pl.any_horizontal(pl.col("^(card|terminal)_id$").is_null()),
        "without a coordinate": pl.any_horizontal(pl.col("^.*_(lat|long)$").is_null()),
        "without another value": pl.any_horizontal(passed.is_null()),
    }
    return rows.select(which.sum().alias(name) for name, which in found.items()).row(0, named=True)


def _keyed(rows: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    """Ties and order of arrival, key by key."""
    counts: dict[str, int] = {}
    for column, key in (("card_id", "card"), ("terminal_id", "terminal")):
        if column not in rows.columns:
            continue
        ordered = rows.select("ts", "seq", column).drop_nulls(column).sort("seq")
        late = ordered.select((pl.col("ts").cum_max().shift(1).over(column) - pl.col("ts")).dt.total_microseconds())
        horizon = catalogue.late_horizon * SECOND
        counts |= {
            f"{key}s": ordered[column].n_unique(),
            f"at the time of another of their {key}": int(ordered.select("ts", column).is_duplicated().sum()),
            f"in after a later one of their {key}": _count(late, pl.first() > 0),
            f"exactly the horizon late for their {key}": _count(late, pl.first() == horizon) if horizon else 0,
            f"later than the horizon for their {key}": _count(late, pl.first() > horizon),
        }
    return counts


def _edged(rows: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    """How many different edges there are, and on how many some row has an event of its key."""
    stateful = [feature for feature in catalogue.features if isinstance(feature, Stateful)]
    every = {(feature.keys, edge) for feature in stateful for edge in _edges_of(feature)}
    hit = [_on_edge(rows, keys, edge) for keys, edge in sorted(every)]
    return {
        "edges of windows": len(hit),
        "edges with events exactly on them": sum(count > 0 for count in hit),
        "rows with an event on an edge, over all edges": sum(hit),
    }


def _on_edge(rows: pl.DataFrame, keys: tuple[str, ...], edge: Edge) -> int:
    back, bucket = edge
    events = rows.select(*keys, "seq", moment=pl.col("ts").dt.epoch("us")).drop_nulls(keys)
    first = events.group_by(*keys, "moment").agg(pl.col("seq").min().alias("event"))
    of_row = events.with_columns(moment=(pl.col("moment") - back) // bucket * bucket)
    return of_row.join(first, on=[*keys, "moment"]).filter(pl.col("event") < pl.col("seq")).height


def _recorded(rows: pl.DataFrame, ledger: pl.DataFrame, catalogue: Catalogue) -> dict[str, int]:
    of_row = ledger.join(rows.select("transaction_id", "ts"), on="transaction_id")
    mature, recorded = pl.col("ts") + timedelta(seconds=catalogue.label_delay), pl.col("recorded_at")
    before = pl.col("is_fraud").shift(1).over("transaction_id", order_by="recorded_at")
    return {
        "label records": ledger.height,
        "sources of labels": ledger["source"].n_unique(),
        "records a month after the label delay or later": _count(of_row, recorded > mature + timedelta(days=30)),
        "records before the label delay is over": _count(of_row, recorded < mature),
        "records before their transaction": _count(of_row, recorded < pl.col("ts")),
        "records that take back the one before": _count(of_row, before != pl.col("is_fraud")),
        "records at the moment of another of their transaction": int(
            of_row.select("transaction_id", "recorded_at").is_duplicated().sum()
        ),
        "records at the time of a transaction": ledger.join(
            rows, left_on="recorded_at", right_on="ts", how="semi"
        ).height,
    }


def _count(rows: pl.DataFrame, which: pl.Expr) -> int:
    return int(rows.select(which.sum()).item() or 0)
