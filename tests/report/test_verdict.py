"""The verdict says what the figures say, good or bad."""

from __future__ import annotations

import copy

import polars as pl
import pytest

from fraud3000.report.formatting import per_day, percent
from fraud3000.report.verdict import best_floor, verdict


def changed(evidence, **values):
    metrics = copy.deepcopy(evidence.metrics)
    for name, value in values.items():
        metrics["metrics"][name] = {**metrics["metrics"][name], "value": value}
    return metrics


def test_it_leads_with_what_is_caught_and_its_intervals(make):
    evidence = make()
    said, found = verdict(evidence.metrics), evidence.metrics["metrics"]
    recall = found["recall"]
    daily = per_day(evidence.metrics["alerts_a_day"]["mean"])
    assert said.headline.startswith(f"With {daily} cards alerted a day, the model catches")
    assert f"{percent(recall['value'])} (" in said.headline
    assert said.headline.endswith("of their money.")
    assert "the alert budget, hold" in said.budget
    assert percent(best_floor(evidence.metrics, "recall")[1]) in said.against
    assert not said.bad


def test_a_model_below_a_floor_is_called_no_better(make):
    said = verdict(changed(make(), recall=0.01, value_detection_rate=0.02))
    assert said.bad.startswith("The model is no better than no model: 1.0 % of frauds against".replace(" %", "\u00a0%"))
    assert "average precision" not in said.bad


def test_alerts_that_cost_more_than_they_save_are_told(make):
    assert verdict(changed(make(), savings=-0.3)).bad == "The alerts cost more than they save."


def test_no_fraud_no_rows_and_no_alerts_are_told(make, scored):
    assert (
        verdict(make(scored.with_columns(is_fraud=pl.lit(0))).metrics).headline
        == "There is no verdict: no known fraud."
    )
    empty = verdict(make(scored.with_columns(evaluated=False)).metrics)
    assert empty.headline == "There is no verdict: no row with a known label."
    assert "label_date" in empty.bad
    silent = verdict(make(scored.with_columns(alert=False)).metrics)
    assert "alerts none of the" in silent.headline
    assert silent.bad


def test_few_frauds_and_a_random_split_are_doubts(make, scored):
    frauds = scored.filter(pl.col("evaluated") & (pl.col("is_fraud") == 1)).head(3)
    few = pl.concat([frauds, scored.filter(pl.col("is_fraud") == 0)])
    assert "Only 3 frauds were measured" in verdict(make(few).metrics).doubt
    timeless = verdict(make(scored.drop("ts")).metrics)
    assert "random" in timeless.doubt
    assert "of transactions alerted" in timeless.headline
    assert not timeless.budget


@pytest.mark.parametrize(("floors", "expected"), [({}, None), ({"random": {"recall": {"value": None}}}, None)])
def test_a_floor_without_a_value_is_none(floors, expected):
    assert best_floor({"floors": floors}, "recall") is expected
