"""Folds by hand: where they lie, what they learn from, how they are summed up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.errors import DataError, ParamsError
from fraud3000.evaluation import rolling_backtest
from fraud3000.metrics.report import measure, metric_values
from fraud3000.models.training.training_rows import TrainingRows
from fraud3000.params import BacktestParams, EvaluateModelParams, PolicyParams, TrainModelParams

WEEK = timedelta(days=7)
BEGIN = datetime(2018, 5, 8, tzinfo=UTC)
TEST = (datetime(2018, 8, 8, tzinfo=UTC), datetime(2018, 9, 5, tzinfo=UTC))


def plan(span=TEST, begin=BEGIN, **told):
    return rolling_backtest.plan_folds(BacktestParams(**told), span, begin, WEEK)


def test_the_folds_of_the_handbook():
    folds = plan(window="7d")
    assert [fold.name for fold in folds] == ["2018-08-08", "2018-08-15", "2018-08-22", "2018-08-29"]
    assert all(fold.train == (fold.test[0] - 2 * WEEK, fold.test[0] - WEEK) for fold in folds)
    assert all(fold.test[1] - fold.test[0] == WEEK for fold in folds)
    assert all(fold.boundaries(timedelta(0)).as_of == fold.test[0] for fold in folds)


def test_any_history_begins_where_rows_have_history_enough():
    assert {fold.train[0] for fold in plan()} == {BEGIN}
    settled = plan(valid="7d")
    assert {fold.train[0] for fold in settled} == {BEGIN + 2 * WEEK}
    assert {fold.valid for fold in settled} == {(BEGIN, BEGIN + WEEK)}


def test_validation_moves_with_a_window():
    for fold in plan(window="7d", valid="7d"):
        assert fold.valid == (fold.train[0] - 2 * WEEK, fold.train[0] - WEEK)


def test_a_test_span_that_begins_at_noon_is_cut_into_whole_days():
    folds = plan((TEST[0] + timedelta(hours=12), TEST[1]))
    assert [fold.name for fold in folds] == ["2018-08-09", "2018-08-16", "2018-08-23"]
    assert folds[0].test[0].hour == 0


def test_one_fold_is_made_of_a_test_span_shorter_than_it():
    assert len(plan((TEST[0], TEST[0] + timedelta(days=3)))) == 1


def test_what_the_params_say_goes_before_the_split():
    folds = plan(first=datetime(2018, 7, 4), folds=4, step="7d", test="1d", delay="10d", window="14d")
    assert [fold.name for fold in folds] == ["2018-07-04", "2018-07-11", "2018-07-18", "2018-07-25"]
    assert folds[0].train == (datetime(2018, 6, 10, tzinfo=UTC), datetime(2018, 6, 24, tzinfo=UTC))
    assert folds[0].test[1] == datetime(2018, 7, 5, tzinfo=UTC)


def test_a_fold_without_time_to_train_is_refused_by_name():
    with pytest.raises(ParamsError, match="the fold of 2018-05-15 has nothing to train on"):
        plan(first=datetime(2018, 5, 15))


@given(
    window=st.none() | st.integers(1, 60),
    valid=st.none() | st.integers(1, 10),
    delay=st.none() | st.integers(0, 20),
    step=st.integers(1, 14),
    folds=st.integers(1, 8),
)
def test_no_fold_learns_from_its_test_or_after(window, valid, delay, step, folds):
    days = {"window": window, "valid": valid, "delay": delay, "step": step, "test": step}
    told = {name: timedelta(days=span) for name, span in days.items() if span is not None}
    for fold in plan(folds=folds, **told):
        assert fold.train[0] < fold.train[1] <= fold.test[0] - (WEEK if delay is None else timedelta(days=delay))
        assert fold.valid is None or fold.valid[1] <= fold.train[0] - WEEK


def test_errors_name_their_fold(small_featured, small_catalogue):
    (fold, *_) = plan()
    counts = {"rows": 9, "history too short": 0, "refunds": 0, "label unknown": 0, "legitimate": 9, "fraud": 0}
    rows = TrainingRows(small_featured.head(9), pl.Series([0] * 9, dtype=pl.Int8), counts)
    with pytest.raises(DataError, match="fold 2018-08-08: training: all 9 known labels are legitimate"):
        rolling_backtest.fit_fold(fold, rows, None, small_catalogue, timedelta(0), TrainModelParams(), PolicyParams())


def fold(name, seed, **metrics):
    return {"fold": name, "seed": seed, "metrics": metrics}


def test_means_are_over_seeds_of_means_over_folds():
    told = [
        fold("a", 1, auc_roc={"value": 0.7}, p={"value": 0.1, "ceiling": 0.4}),
        fold("b", 1, auc_roc={"value": 0.9}, p={"value": 0.3, "ceiling": 0.6}),
        fold("a", 2, auc_roc={"value": 0.72}, p={"value": 0.1, "ceiling": 0.4}),
        fold("b", 2, auc_roc={"value": 0.94}, p={"value": 0.3, "ceiling": 0.6}),
    ]
    over = rolling_backtest.summarize_folds(told)
    assert over["auc_roc"]["mean"] == pytest.approx(0.815)
    assert over["auc_roc"]["sd_seeds"] == pytest.approx(np.std([0.8, 0.83], ddof=1))
    assert over["auc_roc"]["sd_folds"] == pytest.approx(np.std([0.71, 0.92], ddof=1))
    assert over["p"]["ceiling"] == pytest.approx(0.5)
    assert "ceiling" not in over["auc_roc"]


def test_folds_that_do_not_determine_a_metric_are_left_out_and_counted():
    nothing = {"value": None, "reason": "no known fraud"}
    told = [fold("a", 1, auc_roc=nothing, p=nothing), fold("b", 1, auc_roc={"value": 0.8}, p=nothing)]
    over = rolling_backtest.summarize_folds(told)
    assert over["auc_roc"] == {"mean": 0.8, "sd_folds": None, "sd_seeds": None, "folds": 1}
    assert over["p"] == {"mean": None, "reason": "no known fraud", "folds": 0}


def test_a_metric_of_alerts_needs_a_threshold():
    scored = pl.DataFrame({"score": [0.9, 0.2, 0.3], "alert": False, "is_fraud": [1, 0, 1], "amount": [500, 100, 300]})
    told = EvaluateModelParams(replicates=20)
    without = rolling_backtest.measure_fold(scored, PolicyParams(), told, decided=False)
    assert not {"savings", "recall", "precision", "value_detection_rate", "brier_skill"} & set(without)
    assert {"average_precision", "auc_roc", "recall_at_fpr_0.01"} <= set(without)
    assert {"savings", "recall", "brier_skill"} <= set(
        rolling_backtest.measure_fold(scored, PolicyParams(), told, decided=True)
    )


def test_values_are_those_of_the_measure_with_intervals():
    source = np.random.default_rng(4)
    n = 400
    scored = pl.DataFrame(
        {
            "ts": [BEGIN + timedelta(hours=int(hour)) for hour in range(n)],
            "card_id": source.integers(0, 40, n).astype(str),
            "score": source.random(n),
            "alert": source.random(n) < 0.1,
            "is_fraud": (source.random(n) < 0.1).astype(np.int8),
            "amount": source.integers(1, 9_000, n),
        }
    )
    told = EvaluateModelParams(replicates=20, top_k=(3,))
    whole = measure(scored, policy=PolicyParams(), evaluate=told).metrics
    alone = metric_values(scored, policy=PolicyParams(), evaluate=told)
    assert {name: entry.value for name, entry in whole.items()} == {name: entry.value for name, entry in alone.items()}
    assert alone["card_precision_at_3"].ceiling == whole["card_precision_at_3"].ceiling
