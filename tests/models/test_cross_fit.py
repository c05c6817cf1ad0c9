"""Calibration and threshold on rows outside the fit, cross-fitted against each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference import calibrate
from fraud3000.models.policy import choose_threshold
from fraud3000.models.training import calibration, cross_fit
from fraud3000.models.training.fit import cross_fitted_log_odds, fit
from fraud3000.models.training.training_rows import TrainingRows
from fraud3000.params import PolicyParams, TrainModelParams

PARAMS = TrainModelParams(estimator="logistic_regression", calibration="platt")
POLICY = PolicyParams(cards_per_day=2)
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
BOUNDARIES = Boundaries(valid=(FIRST, FIRST + timedelta(days=10)), as_of=FIRST + timedelta(days=17))


@pytest.fixture(scope="module")
def parts(small_featured, small_catalogue):
    """Train and valid; valid has a time, ten days of it."""
    step = pl.duration(seconds=pl.int_range(pl.len()) * 864)
    timed = small_featured.with_columns(ts=pl.lit(FIRST) + step)
    train, valid = small_featured[1_000:], timed[:1_000]
    model = fit(train, train["is_fraud"].to_numpy(), small_catalogue.features, PARAMS)
    return model, TrainingRows(train, train["is_fraud"], {}), TrainingRows(valid, valid["is_fraud"], {})


def test_all_of_validation_calibrates_and_each_half_sets_the_threshold_by_the_other(parts, small_catalogue):
    model, train, valid = parts
    settled = cross_fit.calibrate_and_set_threshold(model, train, valid, small_catalogue, BOUNDARIES, PARAMS, POLICY)
    log_odds, labels = model.log_odds(valid.featured), valid.is_fraud.to_numpy()
    assert settled.calibrator == calibration.fit("platt", log_odds, labels)
    halves = (slice(0, 500), slice(500, 1_000))
    scores = np.empty(1_000)
    for half, other in (halves, halves[::-1]):
        scores[half] = calibration.fit("platt", log_odds[other], labels[other]).probability(log_odds[half])
    assert settled.threshold == choose_threshold(valid.featured.with_columns(score=scores), POLICY)
    assert settled.calibrated_on == f"validation: 1,000 rows, {labels.sum()} frauds"
    assert settled.threshold_on == "validation: 1,000 rows, each half calibrated on the other"


def test_no_row_sets_the_threshold_by_a_calibrator_that_saw_its_label(parts, small_catalogue):
    """Labels of one half, turned round, change the scores of the other half only."""
    model, _, valid = parts
    log_odds, first = model.log_odds(valid.featured), np.arange(1_000) < 500
    is_fraud, known = valid.is_fraud.to_numpy(), np.ones(1_000, dtype=bool)
    scores = cross_fit._cross_calibrated_scores("beta", log_odds, is_fraud, known, first)
    turned = cross_fit._cross_calibrated_scores("beta", log_odds, np.where(first, 1 - is_fraud, is_fraud), known, first)
    np.testing.assert_array_equal(scores[first], turned[first])
    assert (scores[~first] != turned[~first]).any()


def test_rows_of_unknown_label_count_for_the_threshold_but_not_for_calibration(parts, small_catalogue):
    model, train, valid = parts
    some = pl.Series(np.arange(1_000) % 4 == 0)
    masked = TrainingRows(valid.featured, valid.is_fraud.set(some, None), {})
    settled = cross_fit.calibrate_and_set_threshold(model, train, masked, small_catalogue, BOUNDARIES, PARAMS, POLICY)
    assert "750 rows" in settled.calibrated_on
    assert settled.threshold.rows == 1_000


def test_with_few_frauds_calibration_is_cross_fitted_on_training_rows(parts, small_catalogue):
    model, train, valid = parts
    barren = TrainingRows(valid.featured, pl.zeros(1_000, pl.Int8, eager=True), {})
    settled = cross_fit.calibrate_and_set_threshold(model, train, barren, small_catalogue, BOUNDARIES, PARAMS, POLICY)
    labels = train.is_fraud.to_numpy()
    across = cross_fitted_log_odds(train.featured, labels, small_catalogue.features, PARAMS)
    assert settled.calibrator == calibration.fit("platt", across, labels)
    assert settled.calibrated_on.startswith("training rows, cross-fitted (a half of validation has 0 known frauds)")
    assert settled.threshold_on == "validation: 1,000 rows"


def test_with_few_frauds_in_all_splits_scores_are_not_calibrated(parts, small_catalogue):
    model, train, valid = parts
    few = train.is_fraud.to_frame().with_columns(
        pl.when(pl.col("is_fraud").cum_sum() <= 3).then("is_fraud").otherwise(0)
    )
    train = TrainingRows(train.featured, few.to_series().cast(pl.Int8), {})
    barren = TrainingRows(valid.featured, pl.zeros(1_000, pl.Int8, eager=True), {})
    settled = cross_fit.calibrate_and_set_threshold(model, train, barren, small_catalogue, BOUNDARIES, PARAMS, POLICY)
    assert settled.calibrator == calibrate.Platt(1.0, 0.0)


def test_halves_without_time_are_by_the_id_whatever_the_order(small_featured):
    first = cross_fit._first_half(small_featured, Boundaries())
    again = cross_fit._first_half(small_featured.reverse(), Boundaries())
    assert first.mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(first, again[::-1])


def test_halves_are_cut_at_midnight_where_there_is_more_than_a_day():
    ts = pl.DataFrame({"ts": [FIRST + timedelta(hours=h) for h in range(72)]})
    three_days = Boundaries(valid=(FIRST, FIRST + timedelta(days=3)))
    assert cross_fit._first_half(ts, three_days).sum() == 24
    one_day = Boundaries(valid=(FIRST, FIRST + timedelta(days=1)))
    assert cross_fit._first_half(ts[:24], one_day).sum() == 12


def test_validation_metrics_need_both_classes(parts):
    model, _, valid = parts
    found = cross_fit.validation_metrics(valid, model.log_odds(valid.featured))
    assert found["valid_average_precision"] > 3 * found["valid_prevalence"]
    barren = TrainingRows(valid.featured, pl.zeros(1_000, pl.Int8, eager=True), {})
    assert cross_fit.validation_metrics(barren, model.log_odds(valid.featured)) == {}
