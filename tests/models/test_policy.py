"""Thresholds by capacity and by cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fraud3000.errors import DataError, EmptyDataError, ParamsError
from fraud3000.models.policy import NEVER, Policy, Threshold, choose_threshold
from fraud3000.params import PolicyParams

START = datetime(2018, 7, 11, tzinfo=UTC)


def scored(rows: list[tuple[int, str, float]]) -> pl.DataFrame:
    """Rows of (day, card, score)."""
    return pl.DataFrame(
        {
            "ts": [START + timedelta(days=day, minutes=place) for place, (day, *_) in enumerate(rows)],
            "card_id": [card for _, card, _ in rows],
            "amount": [1_000] * len(rows),
            "score": [score for *_, score in rows],
        },
        schema_overrides={"score": pl.Float64, "ts": pl.Datetime("us", "UTC")},
    )


def cards_alerted(frame: pl.DataFrame, threshold: float) -> float:
    alerted = frame.filter(pl.col("score") >= threshold)
    return alerted.select(pl.col("ts").dt.date(), "card_id").unique().height / frame["ts"].dt.date().n_unique()


def test_capacity_counts_cards_not_rows():
    frame = scored([(0, "a", 0.9), (0, "a", 0.8), (0, "b", 0.7), (1, "a", 0.6), (1, "c", 0.1), (1, "c", 0.2)])
    chosen = choose_threshold(frame, PolicyParams(cards_per_day=1))
    assert chosen.value == pytest.approx(0.65)  # between b's 0.7, the second card-day that fits, and a's 0.6
    assert (chosen.unit, chosen.expected_per_day, chosen.rows, chosen.days) == ("cards", 1.0, 6, 2)
    assert chosen.daily_spread == pytest.approx(np.sqrt(2))
    assert chosen.binding


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from("abcde"), st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0])),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 4),
)
@example([(0, "a", 0.2), (0, "a", 0.6), (0, "b", 0.0)], 1)
def test_capacity_is_kept_and_used_as_far_as_ties_allow(rows, per_day):
    frame = scored(rows)
    chosen = choose_threshold(frame, PolicyParams(cards_per_day=per_day))
    assert chosen.value is not None
    assert chosen.expected_per_day == pytest.approx(cards_alerted(frame, chosen.value))
    assert chosen.expected_per_day <= per_day
    best = frame.group_by(pl.col("ts").dt.date(), "card_id").agg(pl.col("score").max())
    lower = best.filter(pl.col("score") < chosen.value)["score"].max()
    assert lower is None or cards_alerted(frame, float(lower)) > per_day


def test_tied_cards_at_the_edge_are_left_out_together():
    frame = scored([(0, "a", 0.9), (0, "b", 0.5), (0, "c", 0.5), (0, "d", 0.1)])
    chosen = choose_threshold(frame, PolicyParams(cards_per_day=2))
    assert chosen.value == pytest.approx(0.7)
    assert chosen.expected_per_day == 1.0


@pytest.mark.parametrize("score", [0.3, 1.0])
def test_equal_scores_that_do_not_fit_are_never_alerted(score):
    frame = scored([(0, card, score) for card in "abc"])
    chosen = choose_threshold(frame, PolicyParams(cards_per_day=2))
    assert chosen.expected_per_day == 0.0
    assert chosen.value is not None
    assert score < chosen.value <= NEVER


def test_capacity_above_the_number_of_cards_alerts_all_with_a_warning():
    chosen = choose_threshold(scored([(0, "a", 0.2), (1, "b", 0.0)]), PolicyParams(cards_per_day=100))
    assert chosen.value == 0.0
    assert not chosen.binding
    assert chosen.expected_per_day == 1.0


def test_without_cards_rows_are_counted():
    frame = scored([(0, "a", 0.9), (0, "a", 0.8), (0, "a", 0.1)]).drop("card_id")
    chosen = choose_threshold(frame, PolicyParams(cards_per_day=2))
    assert (chosen.unit, chosen.expected_per_day, chosen.daily_spread) == ("rows", 2.0, None)
    assert chosen.value == pytest.approx(0.45)


def test_refunds_use_no_capacity():
    frame = scored([(0, "a", 0.9), (0, "b", 0.8)]).with_columns(status=pl.Series(["refund", "approved"]))
    chosen = choose_threshold(frame, PolicyParams(cards_per_day=1))
    assert chosen.rows == 1
    assert not chosen.binding


def test_capacity_needs_days():
    with pytest.raises(ParamsError, match=r"policy.threshold: 'capacity'.*no time") as caught:
        choose_threshold(scored([(0, "a", 0.9)]).drop("ts"), PolicyParams())
    assert "'cost'" in str(caught.value)


def test_cost_needs_no_days():
    chosen = choose_threshold(scored([(0, "a", 0.9)]).drop("ts"), PolicyParams(threshold="cost"))
    assert (chosen.value, chosen.expected_per_day, chosen.days, chosen.binding) == (None, None, None, False)


@pytest.mark.parametrize("score", [float("nan"), None, 1.5, -0.1])
def test_scores_that_are_no_probabilities_are_refused(score):
    with pytest.raises(DataError, match="not between 0 and 1"):
        choose_threshold(scored([(0, "a", 0.5), (0, "b", score)]), PolicyParams())


def test_a_threshold_needs_rows():
    with pytest.raises(EmptyDataError, match="no validation row"):
        choose_threshold(scored([]), PolicyParams())


COSTS = st.fixed_dictionaries(
    {
        "review_cost": st.integers(0, 10_000),
        "fee": st.integers(0, 1_000),
        "review_stops": st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        "friction": st.integers(0, 1_000),
        "lost_sale": st.none() | st.integers(0, 5_000),
        "lost_margin": st.sampled_from([0.0, 0.02, 1.0]),
        "price": st.sampled_from([0.0, 12.5, 3_000.0]),
    }
)


@given(p=st.floats(0, 1), amount=st.integers(-1_000, 10**9), costs=COSTS)
def test_by_cost_the_decision_is_the_cheapest(p, amount, costs):
    policy = Policy("cost", None, **costs)
    [decision] = policy.decisions(np.array([p]), np.array([amount]))
    loss, paid = max(amount, 0) + costs["fee"], max(amount, 0)
    work = costs["review_cost"] + costs["price"]
    expected = {
        "approve": p * loss,
        "review": work + p * (1 - costs["review_stops"]) * loss + (1 - p) * costs["friction"],
    }
    if costs["lost_sale"] is not None:
        expected["decline"] = (1 - p) * (costs["lost_sale"] + costs["lost_margin"] * paid)
    cheapest = min(expected.values())
    assert expected[decision] <= cheapest + 1e-9 * max(cheapest, loss, 1.0)  # apart from rounding
    assert (decision != "approve") == policy.alerts(np.array([p]), np.array([amount])).tolist()[0]


@given(p=st.floats(0, 1), amount=st.integers(0, 10**6), costs=COSTS, value=st.floats(0, 1))
def test_by_capacity_nothing_below_the_threshold_is_decided(p, amount, costs, value):
    policy = Policy("capacity", value, **{**costs, "price": 0.0})
    [decision] = policy.decisions(np.array([p]), np.array([amount]))
    assert (decision == "approve") == (p < value)
    if decision == "decline":
        assert (
            Policy("cost", None, **{**costs, "price": 0.0}).decisions(np.array([p]), np.array([amount]))[0] == "decline"
        )


def reviewed_a_day(frame: pl.DataFrame, policy: Policy) -> float:
    decisions = policy.decisions(frame["score"].to_numpy(), frame["amount"].to_numpy())
    cards = frame.filter(decisions == "review").select(pl.col("ts").dt.date(), "card_id").unique()
    return cards.height / frame["ts"].dt.date().n_unique()


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from("abcde"), st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0])),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 4),
    st.sampled_from(["capacity", "cost"]),
    st.sampled_from([None, 0, 300]),
)
def test_no_more_cards_are_reviewed_than_there_is_capacity_for(rows, per_day, kind, lost_sale):
    frame = scored(rows)
    params = PolicyParams(threshold=kind, cards_per_day=per_day, review_cost=100, lost_sale=lost_sale)
    chosen = choose_threshold(frame, params)
    assert chosen.expected_per_day == pytest.approx(reviewed_a_day(frame, chosen.policy))
    assert chosen.expected_per_day <= per_day


def test_scarce_reviews_go_to_the_largest_savings():
    frame = scored([(0, "a", 0.9), (0, "b", 0.5), (0, "c", 0.3)]).with_columns(amount=pl.Series([1_000, 10_000, 5_000]))
    chosen = choose_threshold(frame, PolicyParams(threshold="cost", cards_per_day=1, review_cost=500))
    assert chosen.policy.price == pytest.approx((5_000 - 500 + 1_500 - 500) / 2)  # between b's worth and c's
    decided = chosen.policy.decisions(frame["score"].to_numpy(), frame["amount"].to_numpy())
    assert decided.to_list() == ["approve", "review", "approve"]
    assert chosen.binding


def test_where_capacity_is_plenty_a_review_has_no_price():
    chosen = choose_threshold(scored([(0, "a", 0.9), (0, "b", 0.2)]), PolicyParams(threshold="cost", cards_per_day=9))
    assert (chosen.policy.price, chosen.expected_per_day, chosen.binding) == (0.0, 1.0, False)


def test_declined_rows_use_no_capacity():
    frame = scored([(0, "a", 0.95), (0, "b", 0.6), (0, "c", 0.5)])
    chosen = choose_threshold(frame, PolicyParams(cards_per_day=1, review_cost=200, lost_sale=600))
    decided = chosen.policy.decisions(frame["score"].to_numpy(), frame["amount"].to_numpy())
    assert decided.to_list() == ["decline", "review", "approve"]
    assert (chosen.expected_per_day, chosen.declined_per_day) == (1.0, 1.0)


def test_cost_ties_approve():
    policy = Policy("cost", None, review_cost=500)
    assert policy.alerts(np.array([0.5, np.nextafter(0.5, 1)]), np.array([1_000, 1_000])).tolist() == [False, True]


def test_where_no_review_pays_the_threshold_is_out_of_reach_but_finite():
    policy = Policy("cost", None, review_cost=500, review_stops=0.0)
    assert policy.thresholds(np.array([10_000])).tolist() == [NEVER]
    assert not policy.alerts(np.array([1.0]), np.array([10_000])).any()


def test_free_reviews_alert_whatever_could_be_fraud():
    policy = Policy("cost", None)
    assert policy.alerts(np.array([0.0, 1e-9, 0.5]), np.array([100, 100, 0])).tolist() == [False, True, False]


def test_a_threshold_survives_json():
    for params in (PolicyParams(cards_per_day=1), PolicyParams(threshold="cost", fee=30)):
        chosen = choose_threshold(scored([(0, "a", 0.9), (0, "b", 0.2), (1, "a", 0.1)]), params)
        assert Threshold.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
        assert Policy.from_dict(json.loads(json.dumps(chosen.policy.to_dict()))) == chosen.policy
