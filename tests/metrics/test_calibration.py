"""Calibration figures against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fraud3000.metrics import calibration
from fraud3000.metrics.calibration import Probabilities
from fraud3000.metrics.scored_arrays import ScoredArrays


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(7)
    odds = np.sort(source.normal(-3, 1.5, 4_000))[::-1]
    fraud = (source.random(4_000) < 1 / (1 + np.exp(-(0.4 + 0.7 * odds)))).astype(float)
    return odds, fraud


def sample_of(score: np.ndarray, fraud: np.ndarray, amount: np.ndarray | None = None) -> ScoredArrays:
    amount = np.ones(len(score)) if amount is None else amount
    place = np.arange(len(score))
    return ScoredArrays(score, fraud, amount, score > 0.5, score > 1, place, {}, None).sort_by_score()


def test_slope_and_intercept_equal_an_unpenalised_logistic_regression(drawn):
    odds, fraud = drawn
    weight = np.random.default_rng(8).integers(0, 3, len(odds)).astype(float)
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(odds[:, None], fraud, sample_weight=weight)
    slope, intercept = calibration.slope_intercept(odds, weight * fraud, weight)
    assert slope == pytest.approx(fitted.coef_[0, 0], rel=1e-5)
    assert intercept == pytest.approx(fitted.intercept_[0], rel=1e-4)


def test_narrow_groups_give_the_fit_of_the_rows(drawn):
    odds, fraud = drawn
    starts, middle = calibration.group_odds(odds)
    rows, frauds = (np.add.reduceat(part, starts) for part in (np.ones(len(odds)), fraud))
    assert len(starts) < len(odds)
    exact = calibration.slope_intercept(odds, fraud, np.ones(len(odds)))
    assert calibration.slope_intercept(middle, frauds, rows) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(
    ("odds", "fraud"),
    [
        ([-1.0, 0.0, 1.0], [0, 0, 0]),
        ([-1.0, 0.0, 1.0], [1, 1, 1]),
        ([0.3, 0.3, 0.3, 0.3], [0, 1, 0, 1]),
        ([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1]),
    ],
    ids=["no fraud", "all fraud", "one score", "divided"],
)
def test_what_does_not_determine_a_line(odds, fraud):
    slope, intercept = calibration.slope_intercept(np.array(odds), np.array(fraud, dtype=float), np.ones(len(odds)))
    assert np.isnan(slope)
    assert np.isnan(intercept)


def test_a_far_off_start_still_finds_the_line(drawn):
    odds, fraud = drawn
    near = calibration.slope_intercept(odds, fraud, np.ones(len(odds)))
    assert calibration.slope_intercept(odds, fraud, np.ones(len(odds)), (40.0, 30.0)) == pytest.approx(near, rel=1e-6)


def test_log_odds_stay_finite_at_the_ends():
    assert np.isfinite(calibration.log_odds(np.array([0.0, 1.0]))).all()
    assert calibration.log_odds(np.array([0.5]))[0] == 0.0


def test_brier_skill_by_hand():
    assert calibration.brier_skill(squared=2.0 * 0.25, frauds=2, rows=4) == pytest.approx(0.5)
    assert calibration.brier_skill(squared=1.0, frauds=2, rows=4) == pytest.approx(0.0)
    assert np.isnan(calibration.brier_skill(squared=0.0, frauds=0, rows=4))
    assert np.isnan(calibration.brier_skill(squared=0.0, frauds=0, rows=0))


def test_calibration_error_by_hand():
    gap = np.array([0.2, 0.0, -0.1, -0.3])  # two bins of two: |0.2| + |−0.4| over four rows
    assert calibration.calibration_error(gap, np.ones(4), bins=2) == pytest.approx(0.15)
    assert np.isnan(calibration.calibration_error(np.empty(0), np.empty(0)))


def test_observed_over_expected_in_the_top_by_hand():
    score = np.concatenate([[0.8, 0.4], np.full(198, 0.01)])
    fraud, amount = np.zeros(200), np.full(200, 10.0)
    fraud[0], amount[0] = 1, 30.0
    figures = Probabilities(sample_of(score, fraud, amount))(np.ones(200))
    assert figures["observed_over_expected_frauds_top_0.01"] == pytest.approx(1 / 1.2)
    assert figures["observed_over_expected_money_top_0.01"] == pytest.approx(30 / (24 + 4))


def test_in_the_top_equal_scores_count_in_proportion():
    fraud = np.zeros(400)
    fraud[:4] = 1
    for labels in (fraud, fraud[::-1]):
        figures = Probabilities(sample_of(np.full(400, 0.02), labels))(np.ones(400))
        assert figures["observed_over_expected_frauds_top_0.01"] == pytest.approx(0.5)
