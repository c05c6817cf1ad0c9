"""Declarations: names, hashes, and invalid declarations."""

import json

import pytest

from fraud3000.errors import LeakageError, ParamsError, ScorerError
from fraud3000.features.default_features import default_catalogue
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.describe import describe
from fraud3000.features.spec.kinds import Column, LabelWindow, NotSeen, Window

ALL = ["ts", "card_id", "terminal_id", "amount", "card_lat", "card_long", "terminal_lat", "terminal_long"]
WEEK = 604_800


def test_names_come_from_the_declaration():
    assert Window("card_id", "7d", "sum").name == "card_amount_sum_7d"
    assert Window("terminal_id", "7d", "count", delay="7d").name == "terminal_count_7d_delayed_7d"
    assert NotSeen(("card_id", "terminal_id"), "90d").name == "card_terminal_not_seen_90d"
    assert LabelWindow("terminal_id", "30d", "rate", delay="7d").name == "terminal_fraud_rate_30d_delayed_7d"


def test_the_default_catalogue_survives_json_and_keeps_its_hash():
    catalogue = default_catalogue(
        ALL, numeric=["age"], categorical=["country"], label_delay=WEEK, precedence=["analyst"]
    )
    again = Catalogue.from_dict(json.loads(json.dumps(catalogue.to_dict())))
    assert again == catalogue
    assert again.hash == catalogue.hash


def test_repr_of_a_catalogue_is_short():
    catalogue = Catalogue((Column("amount"), Column("country"), Window("card_id", "7d", "sum")), label_delay=WEEK)
    expected = "<Catalogue of 3 features: Column 2, Window 1; label delay 7d, late horizon 1d, zone UTC>"
    assert repr(catalogue) == expected
    assert len(repr(default_catalogue(ALL, label_delay=WEEK))) < 300


@pytest.mark.parametrize("change", [{"zone": "Europe/Paris"}, {"late_horizon": 3600}, {"precedence": ["analyst"]}])
def test_every_setting_is_part_of_the_hash(change):
    assert default_catalogue(ALL, label_delay=WEEK, **change).hash != default_catalogue(ALL, label_delay=WEEK).hash


def test_every_feature_has_a_description():
    for feature in default_catalogue(ALL, label_delay=WEEK).features:
        assert describe(feature).words
        assert describe(feature).family
        assert feature.needs <= set(ALL)


def test_features_whose_columns_are_missing_are_left_out():
    names = default_catalogue(["ts", "card_id", "amount"], label_delay=WEEK).names
    assert "card_count_7d" in names
    assert not any("terminal" in name or "distance" in name for name in names)
    assert default_catalogue(["amount"], label_delay=WEEK).names == ["amount"]


def test_a_label_window_that_looks_into_immature_days_is_refused():
    with pytest.raises(LeakageError, match="terminal_frauds_1d_delayed_6d: its delay of 6d is shorter"):
        Catalogue((LabelWindow("terminal_id", "1d", "frauds", delay="6d"),), label_delay=WEEK)


def test_calendar_months_are_refused():
    with pytest.raises(ParamsError, match="'1mo' is not a duration"):
        Catalogue((Window("card_id", "1mo", "count"),), label_delay=WEEK)


def test_two_features_of_one_name_are_refused():
    with pytest.raises(ParamsError, match="'amount' is declared twice"):
        Catalogue((Column("amount"), Column("amount")), label_delay=WEEK)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ScorerError, match="unknown kind of feature 'Oracle'"):
        Catalogue.from_dict({"features": [{"kind": "Oracle"}], "label_delay": WEEK})
