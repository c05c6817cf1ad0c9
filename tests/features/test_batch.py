"""The batch engine against the oracle, cell by cell, on streams made to hit every edge."""

import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.errors import SchemaError
from fraud3000.features import batch, formulas
from fraud3000.features.spec import (
    Calendar,
    Catalogue,
    Column,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    SinceLast,
    Versus,
    Window,
)
from fraud3000.schema import LEDGER, TIME, TRANSACTIONS
from tests import oracle

SECOND = 1_000_000
LABEL_DELAY, LATE_HORIZON = 2, 4
PAIR = ("card_id", "terminal_id")
CATALOGUE = Catalogue(
    features=(
        Column("amount"),
        *(
            Window("card_id", length, agg)
            for length in ("1s", "3s", "9s")
            for agg in ("count", "sum", "mean", "max", "std")
        ),
        *(Window("card_id", "3s", agg, "2s") for agg in ("count", "sum", "mean", "max", "std")),
        *(Versus("card_id", "9s", how) for how in ("ratio", "zscore")),
        SinceLast("card_id", "5s"),
        NotSeen(PAIR, "6s"),
        FromLast("card_id", "5s", "distance"),
        FromLast("card_id", "5s", "speed"),
        Window("terminal_id", "3s", "count"),
        *(
            LabelWindow("terminal_id", "4s", agg, delay)
            for agg in ("frauds", "labelled", "rate")
            for delay in ("2s", "3s")
        ),
    ),
    label_delay=LABEL_DELAY,
    late_horizon=LATE_HORIZON,
    precedence=("analyst",),
)

moments = st.integers(0, 16)
events = st.lists(
    st.fixed_dictionaries(
        {
            "ts": moments,
            "card_id": st.sampled_from(["a", "b", None]),
            "terminal_id": st.sampled_from(["x", "y"]),
            "amount": st.sampled_from([0, 1, 250, 999, 10**13]),
            "status": st.sampled_from(["approved", "approved", "approved", "declined", "refund"]),
            "labelled": st.sampled_from([True, True, True, False]),
            "place": st.integers(0, 3),
        }
    ),
    max_size=24,
)
records = st.lists(
    st.fixed_dictionaries(
        {
            "event": st.integers(0, 23),
            "is_fraud": st.sampled_from([1, 1, 0]),
            "source": st.sampled_from(["file", "analyst"]),
            "reported_at": st.none() | moments,
            "recorded_at": moments,
        }
    ),
    max_size=12,
)


def at(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def frames(stream: list[dict], notes: list[dict], *, in_order: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [
        {
            **event,
            "transaction_id": str(place),
            "ts": at(event["ts"]),
            "terminal_lat": float(event["place"]),
            "terminal_long": 0.0,
        }
        for place, event in enumerate(stream)
    ]
    schema = {name: TRANSACTIONS[name] for name in ("ts", "card_id", "terminal_id", "amount", "status", "labelled")}
    schema |= {"transaction_id": pl.String, "terminal_lat": pl.Float64, "terminal_long": pl.Float64}
    transactions = pl.DataFrame(rows, schema=schema)
    if in_order:
        transactions = transactions.sort("ts", maintain_order=True)
    transactions = transactions.with_row_index("seq").with_columns(pl.col("seq").cast(pl.Int64))
    told = [
        {
            "transaction_id": str(n["event"]),
            **{k: n[k] for k in ("is_fraud", "source")},
            "reported_at": at(n["reported_at"]),
            "recorded_at": at(n["recorded_at"]),
        }
        for n in notes
    ]
    return transactions, pl.DataFrame(told, schema=LEDGER)


def expected(transactions: pl.DataFrame, ledger: pl.DataFrame) -> list[dict]:
    """Every cell of the catalogue by the oracle."""
    micro = lambda frame, *names: frame.with_columns(pl.col(names).dt.epoch("us")).to_dicts()  # noqa: E731
    rows, told = micro(transactions, "ts"), micro(ledger, "reported_at", "recorded_at")
    return [{f.name: cell(f, x, rows, told) for f in CATALOGUE.features} for x in rows]


def cell(feature, x: dict, rows: list[dict], told: list[dict]):
    if isinstance(feature, Column):
        return float(x[feature.column])
    key = tuple(x[column] for column in feature.keys)
    if None in key:
        return None
    keyed = [{**e, "key": tuple(e[column] for column in feature.keys)} for e in rows]
    kept, late = oracle.stored(keyed, key, LATE_HORIZON * SECOND)
    if x["transaction_id"] in {e["transaction_id"] for e in late}:
        return None
    delay = int(getattr(feature, "delay", "0s")[:-1]) * SECOND
    seen = oracle.window(kept, x, int(feature.length[:-1]) * SECOND, delay)
    return VALUES[type(feature)](feature, x, seen, told)


def window_value(feature, x, seen, told):
    spent = oracle.amounts(seen)
    return {
        "count": lambda: float(len(oracle.counted(seen))),
        "sum": lambda: float(sum(spent)),
        "mean": lambda: oracle.mean(spent),
        "max": lambda: float(max(spent)) if spent else None,
        "std": lambda: oracle.deviation(spent),
    }[feature.agg]()


def versus_value(feature, x, seen, told):
    mean, deviation = oracle.mean(oracle.amounts(seen)), oracle.deviation(oracle.amounts(seen))
    if feature.how == "ratio":
        return x["amount"] / mean if mean else None
    return (x["amount"] - mean) / deviation if deviation else None


def last_value(feature, x, seen, told):
    past = oracle.counted(seen)
    if isinstance(feature, NotSeen):
        return not past
    if not past:
        return None
    elapsed = (x["ts"] - past[-1]["ts"]) / SECOND
    if isinstance(feature, SinceLast):
        return elapsed
    metres = round(abs(x["terminal_lat"] - past[-1]["terminal_lat"]) * 3.141592653589793 / 180 * formulas.EARTH_RADIUS)
    return metres / 1000 if feature.how == "distance" else metres * 3.6 / elapsed


def label_value(feature, x, seen, told):
    known = [oracle.label(e, told, x["ts"], LABEL_DELAY * SECOND, ("analyst",)) for e in oracle.counted(seen)]
    frauds, labelled = known.count(1), known.count(1) + known.count(0)
    return {"frauds": float(frauds), "labelled": float(labelled), "rate": frauds / labelled if labelled else None}[
        feature.agg
    ]


VALUES = {
    Window: window_value,
    Versus: versus_value,
    SinceLast: last_value,
    NotSeen: last_value,
    FromLast: last_value,
    LabelWindow: label_value,
}


def assert_equal(found: pl.DataFrame, wanted: list[dict]) -> None:
    for place, (mine, theirs) in enumerate(zip(found.to_dicts(), wanted, strict=True)):
        for name, value in theirs.items():
            rounded = name.startswith(("card_amount_std", "card_amount_zscore")) and None not in (value, mine[name])
            same = math.isclose(mine[name], value, rel_tol=1e-12) if rounded else mine[name] == value
            assert same, f"row {place}, {name}: {mine[name]} instead of {value}"


@settings(max_examples=150, deadline=None)
@given(events, records, st.booleans())
def test_every_cell_equals_the_oracle(stream, notes, in_order):
    transactions, ledger = frames(stream, notes, in_order=in_order)
    found = batch.featurize(transactions, ledger, CATALOGUE)
    assert_equal(found.drop("history_days"), expected(transactions, ledger))


def test_rows_come_back_in_their_own_order():
    stream = [
        {"ts": ts, "card_id": "a", "terminal_id": "x", "amount": 5, "status": "approved", "labelled": True, "place": 0}
        for ts in (3, 1, 2)
    ]
    transactions, ledger = frames(stream, [], in_order=True)
    backwards = transactions.reverse()
    found = batch.featurize(backwards, ledger, CATALOGUE).with_columns(backwards["transaction_id"])
    in_order = batch.featurize(transactions, ledger, CATALOGUE).with_columns(transactions["transaction_id"])
    assert found.sort("transaction_id").equals(in_order.sort("transaction_id"))


def test_empty_frames_give_empty_features():
    transactions, ledger = frames([], [], in_order=True)
    assert batch.featurize(transactions, ledger, CATALOGUE).columns == ["history_days", *CATALOGUE.names]


def test_columns_that_the_catalogue_needs_are_named():
    transactions, ledger = frames([], [], in_order=True)
    with pytest.raises(SchemaError, match="column 'terminal_id' is missing"):
        batch.featurize(transactions.drop("terminal_id"), ledger, CATALOGUE)


def test_data_without_time_gives_what_needs_none():
    transactions, ledger = frames([], [], in_order=True)
    catalogue = Catalogue((Column("amount"),), label_delay=LABEL_DELAY)
    assert batch.featurize(transactions.drop("ts"), ledger, catalogue).columns == ["amount"]


def test_calendar_features_use_the_local_zone():
    transactions = pl.DataFrame(
        {
            "ts": [datetime(2024, 1, 7, 23, 30, tzinfo=UTC)],
            "seq": [0],
            "transaction_id": ["a"],
            "amount": [1],
            "status": ["approved"],
            "labelled": [True],
        },
        schema_overrides={"ts": TIME},
    )
    catalogue = Catalogue((Calendar("hour"), Calendar("weekday")), label_delay=LABEL_DELAY, zone="Europe/Paris")
    found = batch.featurize(transactions, pl.DataFrame(schema=LEDGER), catalogue)
    assert found.select("hour", "weekday").row(0) == (0.0, 0.0)


def test_a_missing_coordinate_gives_no_distance():
    frame = pl.DataFrame(
        {"card_lat": [48.0, None], "card_long": [2.0, 2.0], "terminal_lat": [48.0, 48.0], "terminal_long": [2.0, 2.0]}
    )
    found = batch.featurize(frame, pl.DataFrame(schema=LEDGER), Catalogue((FromHome(),), label_delay=LABEL_DELAY))
    assert found["home_distance"].to_list() == [0.0, None]


def test_a_label_recorded_at_the_very_moment_is_not_known_even_to_a_row_out_of_order():
    event = {"card_id": "a", "terminal_id": "x", "amount": 5, "status": "approved", "labelled": True, "place": 0}
    stream = [{**event, "ts": ts} for ts in (0, 5, 3)]  # the last arrives after one that it precedes
    note = {"event": 0, "is_fraud": 1, "source": "file", "reported_at": None, "recorded_at": 5}
    for recorded_at, frauds in ((5, 0.0), (4, 1.0)):
        transactions, ledger = frames(stream, [{**note, "recorded_at": recorded_at}], in_order=False)
        found = batch.featurize(transactions, ledger, CATALOGUE)
        assert found["terminal_frauds_4s_delayed_3s"].to_list()[1] == frauds
        assert_equal(found.drop("history_days"), expected(transactions, ledger))
