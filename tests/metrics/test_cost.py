"""Money: hand-computed costs, savings and the card view."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fraud3000.metrics.cost import Costs, from_first_caught, savings, share
from fraud3000.metrics.sample import Sample
from fraud3000.params import PolicyParams


def test_costs_by_hand():
    policy = PolicyParams(review_cost=500, fee=100, review_stops=0.75, friction=50)
    costs = Costs.of(np.array([1.0, 1.0, 0.0]), np.array([10_000.0, 0.0, 4_000.0]), policy)
    assert costs.silent.tolist() == [10_100, 100, 0]
    assert costs.alerted.tolist() == [500 + 2_525, 500 + 25, 550]
    assert costs.paid(np.array([1.0, 0.0, 1.0])).tolist() == [3_025, 100, 550]


def test_a_cost_policy_alerts_where_costs_say_so():
    """The costs that savings count are those that the policy weighs: p·(missed) against p·(alerted) + (1−p)·bother."""
    policy = PolicyParams(review_cost=500, fee=100, review_stops=0.75, friction=50)
    amount = np.array([10_000.0])
    fraud, honest = (Costs.of(np.array([label]), amount, policy) for label in (1.0, 0.0))
    break_even = (500 + 50) / (0.75 * 10_100 + 50)
    approve = break_even * fraud.silent + (1 - break_even) * honest.silent
    review = break_even * fraud.alerted + (1 - break_even) * honest.alerted
    assert approve == pytest.approx(review)


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
    sample = Sample.of(scored)
    saved = from_first_caught(sample)[np.argsort(sample.place)]
    assert saved.tolist() == [False, False, True, False, True, False]
