"""Hypothesis strategies for streams that hit every edge of the rules of time, and a catalogue with every kind of feature.

A stream is a pair of lists of dicts, transactions and label records, as the oracle reads them; times are in microseconds.
Transactions are in any order, their order of arrival is `seq`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

from fraud3000.features.spec.base import Condition, Feature
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import (
    Calendar,
    Column,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    Shift,
    SinceLast,
    Versus,
    Window,
)
from fraud3000.schema import LEDGER, TRANSACTIONS

Row = dict[str, Any]
Stream = tuple[list[Row], list[Row]]

SECOND = 1_000_000
LABEL_DELAY, LATE_HORIZON = 2, 4
PASSTHROUGH: dict[str, pl.DataType] = {"device_id": pl.String(), "category": pl.String(), "risk": pl.Float64()}
"""Passthrough columns of a stream."""

PAIR = ("card_id", "terminal_id")
TRIPLE = ("card_id", "terminal_id", "device_id")
TRAVEL, FOOD_OR_FUEL = Condition("category", "is", ("travel",)), Condition("category", "is", ("food", "fuel"))
DECLINED, REFUNDED = Condition("status", "is", ("declined",)), Condition("status", "is", ("refund", "approved"))
COMPARISONS = ("above", "at_least", "below", "at_most")
VALUE_AGGREGATES = ("sum", "mean", "max", "min", "std")

FEATURES: tuple[Feature, ...] = (
    *(Column("amount"), Column("risk"), Column("category", categorical=True)),
    *(Calendar(part) for part in ("hour", "weekday", "night", "weekend")),
    FromHome(),
    *(Window("card_id", length, agg) for length in ("1s", "3s", "9s") for agg in ("count", *VALUE_AGGREGATES)),
    *(Window("card_id", "3s", agg, delay="2s") for agg in ("count", *VALUE_AGGREGATES)),
    *(Window("card_id", "4s", agg, bucket="2s") for agg in ("count", *VALUE_AGGREGATES)),
    *(Window("terminal_id", "5s", agg, delay="1s", bucket="3s") for agg in ("count", *VALUE_AGGREGATES)),
    *(Window("terminal_id", "1s", agg, bucket="7s") for agg in ("count", "sum")),
    *(Window("card_id", "6s", agg, column="risk") for agg in VALUE_AGGREGATES),
    *(Window("device_id", "6s", agg, column="risk", delay="1s", bucket="2s", where=TRAVEL) for agg in VALUE_AGGREGATES),
    *(Window("card_id", "9s", "distinct", column="terminal_id", cap=cap, delay=f"{cap}s") for cap in (1, 2)),
    Window("terminal_id", "6s", "distinct", column="device_id", bucket="3s"),
    Window("device_id", "9s", "distinct", column="category", cap=2, where=Condition("amount", "above", (1.0,))),
    *(Window("card_id", "6s", agg, where=where) for agg in ("share", "count") for where in (TRAVEL, DECLINED)),
    *(Window("card_id", "6s", agg, where=where) for agg in ("sum", "count") for where in (REFUNDED, FOOD_OR_FUEL)),
    Window("terminal_id", "6s", "share", where=REFUNDED, delay="1s", bucket="2s"),
    *(Window("card_id", "6s", "count", where=Condition("amount", how, (250.0,))) for how in COMPARISONS),
    *(Window("card_id", "6s", "share", where=Condition("risk", how, (0.25,))) for how in COMPARISONS),
    *(Versus("card_id", "9s", how, column=column) for how in ("ratio", "zscore") for column in ("amount", "risk")),
    *(Versus("terminal_id", "6s", how, delay="1s", bucket="2s") for how in ("ratio", "zscore")),
    Versus("card_id", "6s", "ratio", where=DECLINED),
    *(Shift("card_id", "3s", agg, "9s", column=column) for agg in VALUE_AGGREGATES for column in ("amount", "risk")),
    *(Shift("card_id", "5s", agg, "7s", delay="1s") for agg in ("mean", "max")),
    *(Shift("terminal_id", "5s", agg, "6s", delay="1s", bucket="3s") for agg in VALUE_AGGREGATES),
    Shift("device_id", "2s", "max", "8s", where=TRAVEL),
    *(SinceLast("card_id", "5s", where=where) for where in (None, TRAVEL, REFUNDED)),
    *(NotSeen(key, "6s") for key in ("device_id", PAIR, TRIPLE)),
    NotSeen("terminal_id", "3s", where=Condition("amount", "at_least", (999.0,))),
    *(FromLast("card_id", "5s", how, where=where) for how in ("distance", "speed") for where in (None, DECLINED)),
    *(Window(key, "6s", "count") for key in (PAIR, TRIPLE)),
    *(
        LabelWindow(key, "4s", agg, delay=delay, bucket=bucket)
        for key, delay, bucket in (("terminal_id", "2s", None), ("terminal_id", "3s", "2s"), (PAIR, "2s", "3s"))
        for agg in ("frauds", "labelled", "rate")
    ),
    LabelWindow("card_id", "9s", "smoothed", delay="2s"),
    LabelWindow("terminal_id", "9s", "smoothed", delay="4s", bucket="2s", prior=0.3, strength=2.5),
    *(LabelWindow("card_id", "9s", "rate", delay="2s", where=where) for where in (TRAVEL, REFUNDED, DECLINED)),
)
CATALOGUE = Catalogue(
    features=FEATURES,
    label_delay=LABEL_DELAY,
    late_horizon=LATE_HORIZON,
    zone="Europe/Paris",
    precedence=("analyst", "issuer"),
)
"""Every kind of feature, with windows of a few seconds."""

STARTS = (
    1_704_067_200,  # 2024-01-01 00:00 UTC, a midnight
    -8,  # around the epoch, from which buckets are counted
    1_711_846_794,  # 2024-03-31 00:59:54 UTC: in Paris the clock goes from 2 to 3
    1_729_990_794,  # 2024-10-27 00:59:54 UTC: in Paris it goes from 3 back to 2
    1_709_247_594,  # 2024-02-29 22:59:54 UTC: in Paris the leap day ends
)
RISKS = (1.25, -0.5, 0.25, 0.1, 0.30000000000000004, 0.00005, 0.0, 1e9, 1e9 + 1, float("nan"), None)
COORDINATES = (
    (48.8566, 2.3522),
    (51.5074, -0.1278),
    (0.0, 179.9),
    (0.0, -179.9),
    (-90.0, 0.0),
    (None, 2.0),
    (1.0, float("nan")),
)

_moments = st.integers(0, 16).map(lambda second: second * SECOND) | st.builds(
    lambda second, off: second * SECOND + off, st.integers(0, 16), st.sampled_from((-1, 1, 500_000))
)
_events = st.fixed_dictionaries(
    {
        "ts": _moments,
        "lag": st.sampled_from((0, 0, 0, 1, 2, 4, 5, 9)),
        "card_id": st.sampled_from(("a", "a", "a", "a", "b", None)),
        "terminal_id": st.sampled_from(("x", "x", "x", "y", "y", None)),
        "device_id": st.sampled_from(("p", "p", "p", "q", "", None)),
        "amount": st.sampled_from((0, 1, 250, 251, 999, 10**13, -3)),
        "status": st.sampled_from(("approved", "approved", "approved", "approved", "declined", "refund")),
        "labelled": st.sampled_from((True, True, True, False)),
        "category": st.sampled_from(("travel", "travel", "food", "fuel", None)),
        "risk": st.sampled_from(RISKS),
        "card_location": st.sampled_from(COORDINATES),
        "terminal_location": st.sampled_from(COORDINATES),
    }
)
_records = st.fixed_dictionaries(
    {
        "transaction_id": st.integers(0, 24).map(str),
        "is_fraud": st.sampled_from((1, 1, 0)),
        "source": st.sampled_from(("file", "desk", "issuer", "analyst")),
        "reported_at": st.none() | _moments,
        "recorded_at": _moments | st.sampled_from((-20 * SECOND, 40 * SECOND)),
    }
)


@st.composite
def streams(draw: st.DrawFn, *, rows: int = 24, records: int = 16) -> Stream:
    """Draw transactions that arrive in order of time, or some of them late, and their label records."""
    start = draw(st.sampled_from(STARTS)) * SECOND
    fewest = draw(st.sampled_from((0, rows // 2, rows)))  # by default most lists are too short to fill a window
    events = draw(st.lists(_events, min_size=fewest, max_size=rows))
    lagging = draw(st.booleans())
    arrival = sorted(
        range(len(events)), key=lambda index: events[index]["ts"] + events[index]["lag"] * SECOND * lagging
    )
    seq = {index: 3 * rank + 5 for rank, index in enumerate(arrival)}
    label_records = draw(st.lists(_records, min_size=fewest * records // rows // 2, max_size=records))
    return [_transaction(event, index, seq[index], start) for index, event in enumerate(events)], [
        {
            **record,
            **{name: None if record[name] is None else record[name] + start for name in ("reported_at", "recorded_at")},
        }
        for record in label_records
    ]


def transactions(*rows: Mapping[str, Any]) -> list[Row]:
    """Build transactions in order of arrival; `at` is the time in seconds, missing columns have default values."""
    defaults = {
        "card_id": "a",
        "terminal_id": "x",
        "device_id": "p",
        "amount": 100,
        "status": "approved",
        "labelled": True,
        "category": "travel",
        "risk": 1.0,
        "card_location": (0.0, 0.0),
        "terminal_location": (0.0, 0.0),
    }
    return [
        _transaction(
            {**defaults, "ts": round(row["at"] * SECOND), **{k: v for k, v in row.items() if k != "at"}},
            index,
            index,
            0,
        )
        for index, row in enumerate(rows)
    ]


def record(
    transaction_id: str, at: float, is_fraud: int = 1, source: str = "file", reported: float | None = None
) -> Row:
    """Build a label record; times in seconds."""
    reported_at = None if reported is None else round(reported * SECOND)
    label = {"transaction_id": transaction_id, "is_fraud": is_fraud, "source": source}
    return {**label, "reported_at": reported_at, "recorded_at": round(at * SECOND)}


def frames(rows: Sequence[Row], records: Sequence[Row]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Convert a stream to TRANSACTIONS, in the order of its rows, and LEDGER."""
    return pl.DataFrame(rows, schema={**TRANSACTIONS, **PASSTHROUGH}), pl.DataFrame(records, schema=LEDGER)


def _transaction(event: Row, index: int, seq: int, start: int) -> Row:
    row = {name: value for name, value in event.items() if name not in {"card_location", "terminal_location", "lag"}}
    row |= {"transaction_id": str(index), "seq": seq, "ts": event["ts"] + start, "is_fraud": None, "reported_at": None}
    row |= dict(zip(("card_lat", "card_long"), event["card_location"], strict=True))
    return row | dict(zip(("terminal_lat", "terminal_long"), event["terminal_location"], strict=True))


REGRESSIONS: dict[str, Stream] = {
    "a record about a transaction without a key": (transactions({"at": 0, "terminal_id": None}), [record("0", 1)]),
    "a numeric column that is not a number": (transactions({"at": 0, "risk": float("nan")}), []),
}
"""Smallest streams that found a bug in an engine."""
