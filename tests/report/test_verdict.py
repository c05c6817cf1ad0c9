"""The conclusion states the results, good or bad."""

from __future__ import annotations

import polars as pl
import pytest

from fraud3000.metrics.evaluation import best_baseline
from fraud3000.report.formatting import per_day, percent
from fraud3000.report.verdict import verdict
from tests.evaluations import metrics


def changed(evidence, **values):
    own = evidence.evaluation.metrics
    metrics = own | {name: own[name].model_copy(update={"value": value}) for name, value in values.items()}
    return evidence.evaluation.model_copy(update={"metrics": metrics})


def test_headline_states_the_catch_with_intervals(make):
    evidence = make()
    conclusion, recall = verdict(evidence.evaluation), evidence.evaluation.metrics["recall"]
    daily = per_day(evidence.evaluation.alerts_a_day.mean)
    assert conclusion.headline.startswith(f"With {daily} cards alerted a day, the model catches")
    assert f"{percent(recall.value)} (" in conclusion.headline
    assert conclusion.headline.endswith("of their money.")
    assert "(the alert budget) would catch" in conclusion.budget
    assert percent(best_baseline(evidence.evaluation.baselines, "recall")[1]) in conclusion.baseline
    assert not conclusion.warning


def test_a_model_below_a_baseline_gets_a_warning(make):
    warning = verdict(changed(make(), recall=0.01, value_detection_rate=0.02)).warning
    expected = "The model does not beat the best baseline: 1.0 % of frauds against"
    assert warning.startswith(expected.replace(" %", "\u00a0%"))
    assert "average precision" not in warning


def test_warns_of_alerts_that_cost_more_than_they_save(make):
    assert verdict(changed(make(), savings=-0.3)).warning == "The alerts cost more than they save."


def test_states_missing_frauds_rows_and_alerts(make, scored):
    assert (
        verdict(make(scored.with_columns(is_fraud=pl.lit(0))).evaluation).headline
        == "The model cannot be evaluated: no known fraud."
    )
    empty = verdict(make(scored.with_columns(evaluated=False)).evaluation)
    assert empty.headline == "The model cannot be evaluated: no row with a known label."
    assert "label_date" in empty.warning
    silent = verdict(make(scored.with_columns(alert=False)).evaluation)
    assert "alerts on none of the" in silent.headline
    assert silent.warning


def test_few_frauds_and_a_random_split_are_caveats(make, scored):
    frauds = scored.filter(pl.col("evaluated") & (pl.col("is_fraud") == 1)).head(3)
    few = pl.concat([frauds, scored.filter(pl.col("is_fraud") == 0)])
    assert "Only 3 frauds were evaluated" in verdict(make(few).evaluation).caveat
    timeless = verdict(make(scored.drop("ts")).evaluation)
    assert "random" in timeless.caveat
    assert "of transactions alerted" in timeless.headline
    assert not timeless.budget


@pytest.mark.parametrize("baselines", [{}, {"random": metrics(recall=None)}])
def test_a_baseline_without_a_value_is_none(baselines):
    assert best_baseline(baselines, "recall") is None
