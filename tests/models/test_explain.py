"""Reasons name what raised the score, in words."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from fraud3000.features.spec.kinds import Column, LabelWindow, NotSeen, Window
from fraud3000.models.inference.explain import Explainer, Reason, UsualValues
from fraud3000.models.inference.value_text import format_value
from fraud3000.models.training.fit import fit
from fraud3000.params import TrainModelParams

LOGISTIC = TrainModelParams(estimator="logistic_regression")


def reasons(model, typical, features, featured):
    return Explainer(model, typical, features).explain(model.encoder.matrix(featured))


@pytest.fixture(scope="module")
def trained(small_featured, small_catalogue):
    labels = small_featured["is_fraud"].to_numpy()
    model = fit(small_featured, labels, small_catalogue.features, LOGISTIC)
    typical = UsualValues.learn(model.encoder, small_featured.filter(pl.col("is_fraud") == 0), small_catalogue.features)
    return model, typical


def row(**changes):
    usual = {
        "amount": 3_400,
        "category": "food",
        "card_count_7d": 3.0,
        "card_terminal_not_seen_90d": False,
        "terminal_fraud_rate_7d_delayed_7d": 0.02,
    }
    return pl.DataFrame({**usual, **changes})


def test_the_family_that_raised_the_score_comes_first(trained, small_catalogue):
    (told,) = reasons(*trained, small_catalogue.features, row(amount=123_456))
    usual = trained[1].values["amount"] / 100
    assert told[0] == Reason("AMOUNT", f"amount: 1,234.56; typically {usual:,.2f}")
    (told,) = reasons(*trained, small_catalogue.features, row(terminal_fraud_rate_7d_delayed_7d=0.9))
    assert told[0].code == "TERMINAL_FRAUDS"
    assert told[0].text.startswith("share of known fraud of this terminal in 7d up to 7d ago: 90.0 %; typically ")


def test_at_most_three_and_only_what_raises_the_score(trained, small_catalogue, small_featured):
    told = reasons(*trained, small_catalogue.features, small_featured)
    assert len(told) == len(small_featured)
    assert max(map(len, told)) <= 3
    lowest = row(amount=0, terminal_fraud_rate_7d_delayed_7d=0.0)
    (few,) = reasons(*trained, small_catalogue.features, lowest)
    assert not {"AMOUNT", "TERMINAL_FRAUDS"} & {reason.code for reason in few}


def test_a_model_of_one_family_gives_that_family_and_no_other():
    source = np.random.default_rng(0)
    count = source.poisson(3, 2_000).astype(float)
    fraud = (count > 6).astype(np.int8)
    features = [Window("card_id", "7d", "count"), Column("amount"), NotSeen(("card_id", "terminal_id"), "90d")]
    rows = pl.DataFrame(
        {"card_count_7d": count, "amount": source.permutation(2_000), "card_terminal_not_seen_90d": False}
    )
    rows = rows.with_columns(card_terminal_not_seen_90d=pl.Series(source.random(2_000) < 0.5))
    model = fit(rows, fraud, features, TrainModelParams(estimator_params={"max_iter": 5, "max_leaf_nodes": 2}))
    typical = UsualValues.learn(model.encoder, rows.filter(fraud == 0), features)
    told = reasons(model, typical, features, rows.filter(fraud == 1))
    assert {tuple(reason.code for reason in reasons) for reasons in told} == {("CARD_ACTIVITY",)}
    assert all(reasons[0].text.endswith("; typically 3") for reasons in told)


def test_a_family_counts_by_the_sum_of_its_contributions(trained, small_catalogue):
    """The order of reasons is that of the families' sums; what adds less than a tenth of the strongest is not told."""
    model, typical = trained
    rows = row(amount=[9_000, 70_000, 2_000], terminal_fraud_rate_7d_delayed_7d=[0.4, 0.1, 0.9])
    values = model.contributions_of(model.encoder.matrix(rows)).values
    families = ["AMOUNT", "CATEGORY", "CARD_ACTIVITY", "NEW_CARD_AND_TERMINAL", "TERMINAL_FRAUDS"]
    for told, added in zip(reasons(model, typical, small_catalogue.features, rows), values, strict=True):
        ranked = [(families[place], added[place]) for place in np.argsort(-added)]
        assert [one.code for one in told] == [code for code, sum_ in ranked if sum_ >= 0.1 * ranked[0][1]][:3]


def told_of(features, columns, fraud, asked):
    """Codes and texts of one row, by trees fitted on others."""
    rows = pl.DataFrame(columns)
    model = fit(rows, fraud, features, TrainModelParams(estimator_params={"max_iter": 20, "min_samples_leaf": 5}))
    typical = UsualValues.learn(model.encoder, rows.filter(fraud == 0), features)
    (told,) = reasons(model, typical, features, pl.DataFrame(asked))
    return {reason.code: reason.text for reason in told}


def test_within_a_family_the_feature_that_adds_most_is_shown_with_the_usual_value_of_its_key():
    source = np.random.default_rng(0)
    month = source.integers(5, 400, 2_000).astype(float)
    burst = source.poisson(0.05, 2_000).astype(float) + 5.0 * (source.random(2_000) < 0.1)
    features = [Window("card_id", "10m", "count"), Window("card_id", "30d", "count")]
    columns = {"card_count_10m": burst, "card_count_30d": month}
    fraud = (burst >= 3).astype(np.int8)
    told = told_of(features, columns, fraud, {"card_count_10m": [4.0], "card_count_30d": [400.0]})
    assert told == {"CARD_ACTIVITY": "transactions of this card in 10m: 4; usual 0.09"}
    told = told_of(features, columns, fraud, {"card_count_10m": [4.0], "card_count_30d": [None]})
    assert told == {"CARD_ACTIVITY": "transactions of this card in 10m: 4; typically 0"}


def test_an_amount_is_shown_with_the_cards_mean():
    source = np.random.default_rng(0)
    amount = source.integers(100, 10_000, 2_000)
    features = [Column("amount"), Window("card_id", "30d", "mean")]
    columns = {"amount": amount, "card_amount_mean_30d": source.permutation(amount).astype(float)}
    fraud = (amount > 9_000).astype(np.int8)
    told = told_of(features, columns, fraud, {"amount": [9_900], "card_amount_mean_30d": [1_250.0]})
    assert told["AMOUNT"] == "amount: 99.00; usual for this card 12.50"


def test_flags_categories_and_missing_values_are_described():
    source = np.random.default_rng(0)
    n = 1_000
    new, abroad = source.random(n) < 0.3, source.random(n) < 0.3
    rate = np.where(source.random(n) < 0.2, np.nan, source.random(n) / 10)
    fraud = (new | abroad | np.isnan(rate)).astype(np.int8)
    features = [
        NotSeen(("card_id", "terminal_id"), "90d"),
        Column("country", categorical=True),
        LabelWindow("terminal_id", "7d", "rate", delay="7d"),
    ]
    rows = pl.DataFrame(
        {
            "card_terminal_not_seen_90d": new,
            "country": np.where(abroad, "abroad", "home"),
            "terminal_fraud_rate_7d_delayed_7d": pl.Series(rate).fill_nan(None),
        }
    )
    model = fit(rows, fraud, features, LOGISTIC)
    typical = UsualValues.learn(model.encoder, rows.filter(fraud == 0), features)
    asked = rows.clear().vstack(
        pl.DataFrame(
            {
                "card_terminal_not_seen_90d": [True],
                "country": ["abroad"],
                "terminal_fraud_rate_7d_delayed_7d": pl.Series([None], dtype=pl.Float64),
            }
        )
    )
    (told,) = reasons(model, typical, features, asked)
    words = {reason.code: reason.text for reason in told}
    assert words["NEW_CARD_AND_TERMINAL"] == "first transaction of this card with this terminal in 90d"
    assert words["COUNTRY"] == "country: abroad; typically home"
    assert words["TERMINAL_FRAUDS"].startswith("share of known fraud of this terminal in 7d up to 7d ago: unknown; typ")


def test_usual_values_survive_json(trained):
    typical = trained[1]
    assert UsualValues.from_dict(json.loads(json.dumps(typical.to_dict()))) == typical
    empty = UsualValues({"x": math.nan})
    assert math.isnan(UsualValues.from_dict(json.loads(json.dumps(empty.to_dict()))).values["x"])


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        (1234.0, "count", "1,234"),
        (59.0, "seconds", "59 s"),
        (3600.0, "seconds", "1 h"),
        (86_400.0 * 3, "seconds", "3 d"),
        (1.26, "km", "1.3 km"),
        (912.4, "km/h", "912 km/h"),
        (-1.24, "deviations", "-1.2"),
        (23.0, "hour", "23 h"),
        (0.123456, "number", "0.1235"),
        (0.104, "count", "0.1"),
        (0.97, "count", "1.0"),
        (12.34, "count", "12.3"),
        (1234.5, "count", "1,234"),
        (0.0, "deviations", "0"),
    ],
)
def test_numbers_are_written_with_their_unit(value, unit, message):
    assert format_value(value, unit) == message


def test_money_follows_the_currencys_decimals():
    assert format_value(1234.0, "money", decimals=0) == "1,234"
