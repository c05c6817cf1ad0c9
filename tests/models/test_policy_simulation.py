"""Operating points: by hand, and against the policies that they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud3000.models.policy_simulation import budgets, operating_points
from fraud3000.params import PolicyParams

START = datetime(2018, 7, 11, tzinfo=UTC)
ROWS = pl.DataFrame(
    {
        "ts": [START + timedelta(days=day) for day in (0, 0, 0, 1, 1, 1)],
        "card_id": ["a", "b", "c", "a", "b", "c"],
        "amount": [10_000, 2_000, 3_000, 40_000, 1_000, 500],
        "score": [0.9, 0.25, 0.1, 0.3, 0.2, 0.05],
        "is_fraud": [1, 0, 0, 1, 1, None],
        "status": ["approved"] * 6,
    },
    schema_overrides={"is_fraud": pl.Int8, "ts": pl.Datetime("us", "UTC")},
)
PRICES = PolicyParams(review_cost=500, fee=0, friction=100)


def point(points: pl.DataFrame, threshold: str, cards_per_day: int) -> dict[str, float]:
    return points.filter(threshold=threshold, cards_per_day=cards_per_day).row(0, named=True)


def test_a_capacity_policy_equals_figures_computed_by_hand():
    found = point(operating_points(ROWS, PRICES, [1]), "capacity", 1)  # reviews a on both days
    assert (found["reviewed"], found["alerts"], found["honest"]) == (1.0, 1.0, 0.0)
    assert (found["precision"], found["recall"]) == (1.0, pytest.approx(2 / 3))
    assert (found["money_caught"], found["money_lost"], found["review_cost"]) == (25_000, 500, 500)
    assert found["cost"] == 500 + 500
    assert found["saved"] == 25_500 - 1_000


def test_by_cost_scarce_reviews_go_to_the_largest_savings():
    rows = ROWS.with_columns(score=pl.Series([0.2, 0.6, 0.1, 0.3, 0.2, 0.05]))
    points = operating_points(rows, PRICES, [1])
    by_capacity, by_cost = point(points, "capacity", 1), point(points, "cost", 1)
    assert (by_capacity["money_caught"], by_cost["money_caught"]) == (20_000, 25_000)
    assert by_cost["price"] > 0 == by_capacity["price"]
    assert by_capacity["friction"] == 50  # b of the first day, over two days


def test_declined_rows_lose_their_sale_and_cost_no_review():
    prices = PRICES.model_copy(update={"lost_sale": 0})
    found = point(operating_points(ROWS, prices, [1]), "cost", 1)
    assert found["declined"] == found["alerts"] > 0
    assert (found["review_cost"], found["friction"]) == (0, 0)


def test_data_without_time_has_the_cost_policy_alone():
    points = operating_points(ROWS.drop("ts"), PRICES, [1, 5])
    assert points.select("threshold", "reviewed").rows() == [("cost", None)]


def test_figures_that_no_row_determines_are_null():
    found = point(operating_points(ROWS.with_columns(is_fraud=pl.lit(0, pl.Int8)), PRICES, [1]), "capacity", 1)
    assert (found["recall"], found["precision"]) == (None, 0.0)


def test_the_present_budget_is_always_included():
    assert budgets(PolicyParams(cards_per_day=7), [3]) == [3, 7]
    assert budgets(PolicyParams(cards_per_day=1)) == [1, 2, 4]
