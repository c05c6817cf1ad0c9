"""Calibration keeps the order and comes near the truth."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from fraud3000.errors import ScorerError
from fraud3000.metrics.report import metric_values
from fraud3000.models.inference import calibrate
from fraud3000.models.inference.calibrate import Beta, Isotonic, Platt
from fraud3000.models.training import calibration
from fraud3000.params import EvaluateModelParams, PolicyParams

METHODS = ("platt", "beta", "isotonic")
LOG_ODDS = st.floats(-40, 40).map(lambda z: round(z, 4))


def sample(n=20_000, *, slope=0.6, shift=-1.0, seed=0):
    """Scores that are too sure of themselves."""
    source = np.random.default_rng(seed)
    log_odds = source.normal(-3, 2.5, n)
    return log_odds, (source.random(n) < expit(slope * log_odds + shift)).astype(np.int8)


FITTED = {method: calibration.fit(method, *sample(2_000)) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_come_near_the_observed_rates(method):
    log_odds, is_fraud = sample()
    calibrator = calibration.fit(method, log_odds, is_fraud)
    assert calibrator.method == method
    fresh, answers = sample(seed=1)
    probability = calibrator.probability(fresh)
    assert probability.sum() == pytest.approx(answers.sum(), rel=0.1)
    top = probability > np.quantile(probability, 0.95)
    assert probability[top].sum() == pytest.approx(answers[top].sum(), rel=0.1)


def test_platt_finds_slope_and_shift():
    calibrator = calibration.fit("platt", *sample(60_000))
    assert calibrator.slope == pytest.approx(0.6, abs=0.03)
    assert calibrator.intercept == pytest.approx(-1.0, abs=0.06)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None)
@given(data=st.data())
def test_distinct_scores_stay_distinct_and_in_order(method, data):
    fitted = FITTED[method]
    log_odds = np.unique(data.draw(st.lists(LOG_ODDS, min_size=2, max_size=50, unique=True)))
    probability = fitted.probability(log_odds)
    assert (np.diff(probability) > 0).all()
    assert probability[0] > 0
    assert probability[-1] < 1


@pytest.mark.parametrize("method", METHODS)
def test_scores_that_fall_with_fraud_are_not_reversed(method):
    log_odds, is_fraud = sample()
    probability = calibration.fit(method, -log_odds, is_fraud).probability(np.linspace(-8, 8, 100))
    assert (np.diff(probability) > 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("frauds", [0, 1, 5, 19, 1000])
def test_few_frauds_or_only_frauds_give_finite_probabilities(method, frauds):
    log_odds = np.linspace(-6, 2, 1000)
    is_fraud = np.zeros(1000, np.int8)
    is_fraud[1000 - frauds :] = 1
    calibrator = calibration.fit(method, log_odds, is_fraud)
    assert calibrator.method == "platt"
    probability = calibrator.probability(log_odds)
    assert ((probability > 0) & (probability < 1)).all()
    if frauds < calibration.FEWEST_FOR_SLOPE:
        assert calibrator.slope == 1


def test_without_frauds_scores_are_unchanged():
    assert calibration.fit("beta", np.array([-3.0, -2.0]), np.zeros(2, np.int8)) == Platt(1.0, 0.0)
    assert calibration.fit("beta", np.empty(0), np.empty(0, np.int8)) == Platt(1.0, 0.0)


def test_isotonic_interpolates_between_block_centres():
    calibrator = Isotonic((-2.0, 0.0), (0.1, 0.3))
    assert calibrator.probability(np.array([-2.0, -1.0, 0.0])) == pytest.approx([0.1, 0.2, 0.3], abs=1e-6)


def test_isotonic_blocks_rise_and_stay_off_the_ends():
    log_odds, is_fraud = sample()
    calibrator = calibration.fit("isotonic", log_odds, is_fraud)
    assert (np.diff(calibrator.centres) > 0).all()
    assert (np.diff(calibrator.rates) >= 0).all()
    assert calibrator.rates[0] > 0
    assert calibrator.rates[-1] < 1


@pytest.mark.parametrize("method", METHODS)
def test_floats_survive_json_to_the_last_bit(method):
    calibrator = calibration.fit(method, *sample(3_000))
    again = calibrate.from_dict(json.loads(json.dumps(calibrator.to_dict())))
    assert again == calibrator


def test_an_unknown_method_is_refused():
    with pytest.raises(ScorerError, match="unknown calibration 'magic'"):
        calibrate.from_dict({"method": "magic"})


def test_beta_of_ones_is_the_identity():
    log_odds = np.linspace(-10, 10, 50)
    assert Beta(1.0, 1.0, 0.0).probability(log_odds) == pytest.approx(expit(log_odds), abs=1e-6)


@pytest.mark.parametrize("method", ["platt", "beta", "isotonic"])
@pytest.mark.parametrize("seed", range(4))
def test_probabilities_sum_to_the_frauds_they_were_fitted_on(method, seed):
    source = np.random.default_rng(seed)
    log_odds = source.normal(-5, 2, 4_000)
    is_fraud = (source.random(4_000) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
    predicted = calibration.fit(method, log_odds, is_fraud).probability(log_odds).sum()
    assert predicted == pytest.approx(is_fraud.sum(), rel=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_ranking_and_card_precision_are_those_of_the_raw_scores(method):
    source = np.random.default_rng(11)
    n = 6_000
    log_odds = np.round(source.normal(-3, 2, n), 2)  # with ties, which must stay ties and no more
    is_fraud = (source.random(n) < expit(0.7 * log_odds)).astype(np.int8)
    hour = source.integers(0, 24 * 7, n)
    rows = pl.DataFrame(
        {
            "ts": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=int(one)) for one in hour],
            "card_id": source.integers(0, 400, n).astype(str),
            "alert": False,
            "is_fraud": is_fraud,
            "amount": source.integers(1, 9_000, n),
        }
    )
    probability = calibration.fit(method, log_odds, is_fraud).probability(log_odds)
    assert len(np.unique(probability)) == len(np.unique(log_odds))
    told = EvaluateModelParams(replicates=20)
    raw, calibrated = (
        metric_values(rows.with_columns(score=score), policy=PolicyParams(), evaluate=told)
        for score in (log_odds, probability)
    )
    for name in ("average_precision", "auc_roc", "card_precision_at_100", "recall_at_alert_budget"):
        assert raw[name] == calibrated[name], name
