"""Custom features in params: the declarations they become, and invalid entries."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from fraud3000 import params
from fraud3000.errors import LeakageError, ParamsError
from fraud3000.features.custom_features import declare
from fraud3000.features.default_features import default_catalogue
from fraud3000.features.spec.base import Condition, Feature
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import FromLast, LabelWindow, NotSeen, Shift, SinceLast, Versus, Window
from fraud3000.schema import TRANSACTIONS
from tests.streams import PASSTHROUGH

WEEK = 604_800
SCHEMA = {**TRANSACTIONS, **PASSTHROUGH}
TRAVEL = {"column": "category", "is": "travel"}


def declared(entry: dict[str, Any], schema: dict[str, pl.DataType] | None = None) -> Feature:
    """Declare one entry beside the default features."""
    entry = {"key": "device_id", "length": "1h", **entry}
    featurize = params.parse({"featurize": {"features": [entry]}}).featurize
    schema = SCHEMA if schema is None else schema
    all_features = default_catalogue(list(schema), label_delay=WEEK)
    return declare(all_features, featurize.features, (), schema).features[-1]


@pytest.mark.parametrize(
    ("entry", "feature"),
    [
        ({"aggregate": "count"}, Window("device_id", "1h", "count")),
        ({"aggregate": "sum", "bucket": "5m"}, Window("device_id", "1h", "sum", bucket="5m")),
        ({"aggregate": "mean", "column": "risk"}, Window("device_id", "1h", "mean", column="risk")),
        ({"aggregate": "min", "length": "60m"}, Window("device_id", "60m", "min")),
        (
            {"aggregate": "distinct", "column": "card_id", "cap": 9, "delay": "1d"},
            Window("device_id", "1h", "distinct", column="card_id", cap=9, delay="1d"),
        ),
        (
            {"aggregate": "share", "where": {"column": "category", "is": ["travel", "food"]}},
            Window("device_id", "1h", "share", where=Condition("category", "is", ("travel", "food"))),
        ),
        (
            {"aggregate": "max", "where": {"column": "amount", "at_most": 50_000}},
            Window("device_id", "1h", "max", where=Condition("amount", "at_most", (50_000.0,))),
        ),
        ({"aggregate": "ratio", "column": "risk"}, Versus("device_id", "1h", "ratio", column="risk")),
        ({"aggregate": "zscore", "delay": "2d"}, Versus("device_id", "1h", "zscore", delay="2d")),
        ({"aggregate": "max", "over": "7d"}, Shift("device_id", "1h", "max", "7d")),
        ({"aggregate": "std", "column": "risk", "over": "2h"}, Shift("device_id", "1h", "std", "2h", column="risk")),
        ({"aggregate": "since_last"}, SinceLast("device_id", "1h")),
        ({"aggregate": "not_seen", "key": ["card_id", "device_id"]}, NotSeen(("card_id", "device_id"), "1h")),
        ({"aggregate": "not_seen", "key": ["device_id"]}, NotSeen("device_id", "1h")),
        ({"aggregate": "speed"}, FromLast("device_id", "1h", "speed")),
        ({"aggregate": "rate"}, LabelWindow("device_id", "1h", "rate", delay="7d")),
        ({"aggregate": "frauds", "delay": "9d"}, LabelWindow("device_id", "1h", "frauds", delay="9d")),
        (
            {"aggregate": "smoothed", "prior": 0.1, "strength": 5},
            LabelWindow("device_id", "1h", "smoothed", delay="7d", prior=0.1, strength=5.0),
        ),
        (
            {"aggregate": "count", "where": {"column": "status", "is": "declined"}},
            Window("device_id", "1h", "count", where=Condition("status", "is", ("declined",))),
        ),
    ],
)
def test_an_entry_becomes_a_feature(entry: dict[str, Any], feature: Feature) -> None:
    assert declared(entry) == feature


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"key": "devise_id"}, "key: the data has no column 'devise_id'; nearest: 'device_id'"),
        ({"key": "risk"}, "key: 'risk' is a number column, not a text column"),
        ({"key": "ts"}, "key: 'ts' is a time column, not a text column"),
        ({"key": "transaction_id"}, "key: 'transaction_id' is different in every row"),
        ({"key": ["card_id", "card_id"]}, "key: [card_id, card_id]"),
        ({"key": []}, "key: []"),
        ({"aggregate": "sum", "column": "category"}, "column: 'category' is a text column, not a number column"),
        ({"aggregate": "sum", "column": "seq"}, "column: 'seq' is the order of arrival"),
        ({"aggregate": "distinct"}, "'distinct' needs a column and has none"),
        ({"aggregate": "distinct", "column": "amount"}, "column: 'amount' is a number column, not a text column"),
        ({"aggregate": "distinct", "column": "card_id", "cap": 0}, "cap is 0, it must be from 1 to 1000"),
        ({"aggregate": "share"}, "a share needs a condition"),
        ({"column": "amount"}, "'count' takes no column"),
        ({"aggregate": "since_last", "delay": "1d", "bucket": "1h"}, "'since_last' takes no delay, no bucket"),
        ({"aggregate": "rate", "cap": 5}, "'rate' takes no cap"),
        ({"aggregate": "smoothed", "prior": 2}, "prior is 2.0"),
        ({"aggregate": "count", "over": "7d"}, "'count' takes no over"),
        ({"aggregate": "mean", "over": "60m"}, "over is 60m, it must be longer than the length, 1h"),
        ({"where": {"column": "amount", "is": "5"}}, "where.column: 'amount' is a number column, not a text column"),
        (
            {"where": {"column": "category", "above": 5}},
            "where.column: 'category' is a text column, not a number column",
        ),
        ({"where": {"column": "colour", "is": "red"}}, "where.column: the data has no column 'colour'"),
        ({"length": "0d"}, "length is 0d, it must be longer than 0s"),
        ({"bucket": "0s"}, "bucket is 0s, it must be longer than 0s"),
        ({"key": "card_id"}, "feature 'card_count_1h' already exists"),
    ],
)
def test_an_invalid_entry_is_refused_with_its_index(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        declared({"aggregate": "count", **entry})
    assert caught.value.message.startswith("featurize.features.0: ")
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"aggregate": "rate", "delay": "6d"}, "its delay of 6d is shorter than the label delay of 7d"),
        ({"aggregate": "sum", "column": "is_fraud"}, "column: 'is_fraud' is the label of the transaction"),
        ({"aggregate": "count", "where": {"column": "is_fraud", "above": 0}}, "where.column: 'is_fraud' is the label"),
    ],
)
def test_no_entry_reads_a_label_before_it_is_known(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(LeakageError, match=f"featurize.features.0: .*{message}"):
        declared(entry)


def test_roles_that_an_aggregate_needs_are_named() -> None:
    schema = {name: kind for name, kind in SCHEMA.items() if name != "terminal_lat"}
    with pytest.raises(ParamsError, match=r"features.0: the data has no 'terminal_lat'"):
        declared({"aggregate": "distance"}, schema)


def test_two_entries_of_one_name_are_refused() -> None:
    entry = {"key": "device_id", "aggregate": "count", "length": "1h"}
    custom = params.parse({"featurize": {"features": [entry, entry]}}).featurize.features
    with pytest.raises(ParamsError, match=r"features.1: feature 'device_id_count_1h' already exists"):
        declare(Catalogue((), label_delay=WEEK), custom, (), SCHEMA)


def test_default_features_can_be_left_out() -> None:
    all_features = default_catalogue(list(TRANSACTIONS), categorical=["category"], label_delay=WEEK)
    fewer = declare(all_features, (), ["card_count_1h", "category"], SCHEMA)
    assert set(all_features.names) - set(fewer.names) == {"card_count_1h", "category"}
    assert fewer.hash != all_features.hash


def test_a_feature_that_the_data_has_no_columns_for_may_be_left_out() -> None:
    assert declare(default_catalogue(["amount"], label_delay=WEEK), (), ["home_distance"], {}).names == ["amount"]


def test_unknown_names_are_listed_with_the_nearest() -> None:
    with pytest.raises(
        ParamsError, match=r"featurize.without: 'card_count_2h' is not a feature; nearest: 'card_count_1h'"
    ):
        declare(default_catalogue(list(TRANSACTIONS), label_delay=WEEK), (), ["card_count_2h"], SCHEMA)


def test_a_custom_feature_can_replace_a_default_one() -> None:
    entry = {"key": "terminal_id", "aggregate": "count", "length": "1h"}
    custom = params.parse({"featurize": {"features": [entry]}}).featurize.features
    catalogue = declare(
        default_catalogue(list(TRANSACTIONS), label_delay=WEEK), custom, ["terminal_count_1h_by_5m"], SCHEMA
    )
    assert "terminal_count_1h" in catalogue.names
    assert "terminal_count_1h_by_5m" not in catalogue.names


def test_the_names_of_conditions_hold_every_digit() -> None:
    feature = declared({"aggregate": "count", "where": {"column": "amount", "above": 1_234_567}})
    assert feature.name == "device_id_count_1h_where_amount_above_1234567"
