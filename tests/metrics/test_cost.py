"""Money: hand-computed costs, savings and the card view."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fraud3000.metrics.cost import Costs, from_first_caught, savings, share
from fraud3000.metrics.scored_arrays import ScoredArrays
from fraud3000.params import PolicyParams


def test_costs_by_hand():
    prices = PolicyParams(review_cost=500, fee=100, review_stops=0.75, friction=50, lost_sale=300, lost_margin=0.1)
    costs = Costs.from_rows(np.array([1.0, 1.0, 0.0]), np.array([10_000.0, 0.0, 4_000.0]), prices)
    assert costs.approved.tolist() == [10_100, 100, 0]
    assert costs.reviewed.tolist() == [500 + 2_525, 500 + 25, 550]
    assert costs.declined.tolist() == [0, 0, 300 + 400]
    alert, decline = np.array([True, False, True]), np.array([False, False, True])
    assert costs.paid(alert, decline).tolist() == [3_025, 100, 700]


def test_where_nothing_is_declined_declining_costs_infinitely_much():
    costs = Costs.from_rows(np.array([1.0, 0.0]), np.array([100.0, 100.0]), PolicyParams())
    assert costs.declined.tolist() == [np.inf, np.inf]
    assert costs.paid(np.array([False, True]), np.zeros(2, dtype=bool)).tolist() == [100, 500]


def test_declines_without_a_price_of_the_sale_leave_savings_undetermined():
    """A model may decline by a policy of its own, while the params that measure it have no price for that."""
    costs = Costs.from_rows(np.array([0.0, 1.0]), np.array([100.0, 100.0]), PolicyParams())
    paid = costs.paid(np.array([True, False]), np.array([True, False]))
    assert np.isnan(paid).tolist() == [True, False]
    assert np.isnan(savings(cost=float(paid.sum()), alert_all=200, alert_none=100))


def test_a_refund_loses_no_more_than_the_fee():
    assert Costs.from_rows(np.ones(1), np.array([-900.0]), PolicyParams(fee=100)).approved.tolist() == [100]


def test_savings_compare_with_the_better_of_all_and_none():
    assert savings(cost=50, alert_all=200, alert_none=100) == 0.5
    assert savings(cost=50, alert_all=40, alert_none=100) == pytest.approx(-0.25)
    assert np.isnan(savings(cost=0, alert_all=0, alert_none=100))


def test_share_of_nothing_is_undetermined():
    assert share(1.0, 4.0) == 0.25
    assert np.isnan(share(0.0, 0.0))


def test_the_card_view_counts_from_the_first_alerted_fraud():
    scored = pl.DataFrame(
        {
            "card_id": ["a", "a", "a", "b", "a", "b"],
            "score": [0.9, 0.2, 0.8, 0.7, 0.1, 0.1],
            "alert": [True, False, True, True, False, False],
            "is_fraud": [0, 1, 1, 0, 1, 1],  # a: false alert, missed, caught, then saved; b: only a false alert
            "amount": [100] * 6,
        }
    )
    sample = ScoredArrays.from_frame(scored)
    saved = from_first_caught(sample)[np.argsort(sample.time_rank)]
    assert saved.tolist() == [False, False, True, False, True, False]
