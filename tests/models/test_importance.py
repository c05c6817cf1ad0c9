"""Importance finds what a model reads, and nothing else."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fraud3000.metrics.ranking import average_precision
from fraud3000.models.training import importance
from fraud3000.models.training.fit import fit
from fraud3000.models.training.importance import permutation_importance
from fraud3000.params import TrainModelParams


@pytest.fixture(scope="module")
def inputs(small_featured, small_catalogue):
    labels = small_featured["is_fraud"].to_numpy()
    model = fit(small_featured, labels, small_catalogue.features, TrainModelParams(estimator="logistic_regression"))
    return model, small_featured, labels, model.log_odds(small_featured)


def test_the_features_that_determine_fraud_come_first(inputs):
    table = permutation_importance(*inputs, seed=1)
    assert table["feature"][0] == "amount"
    assert set(table["feature"]) == set(inputs[0].encoder.columns)
    assert table["fall"].is_sorted(descending=True)
    assert (table["low"] <= table["fall"]).all()
    assert (table["fall"] <= table["high"]).all()
    idle = table.filter(feature="card_count_7d")["fall"].item()
    assert abs(idle) < 0.05 < table["fall"][0]


def test_a_sample_of_the_rows_gives_nearly_the_same_importance(inputs, monkeypatch):
    of_all_rows = permutation_importance(*inputs, seed=1)["fall"][0]
    for name, most in (("MOST_FRAUDS", 300), ("HIGHEST", 200), ("MOST_OTHERS", 400)):
        monkeypatch.setattr(importance, name, most)
    of_sample = permutation_importance(*inputs, seed=1)
    assert of_sample["feature"][0] == "amount"
    assert of_sample["fall"][0] == pytest.approx(of_all_rows, abs=0.1)


def test_the_weights_of_the_draw_give_the_average_precision_of_all_rows(inputs, monkeypatch):
    _, _, labels, score = inputs
    monkeypatch.setattr(importance, "HIGHEST", 600)
    monkeypatch.setattr(importance, "MOST_OTHERS", 300)
    rows, weight = importance._sample(labels, score, 1)
    assert weight.sum() == pytest.approx(len(labels))
    drawn = importance._average_precision(score[rows], labels[rows].astype(float), weight)
    assert drawn == pytest.approx(average_precision(score, labels.astype(float)), abs=0.02)


def test_the_same_seed_gives_the_same_table(inputs):
    assert permutation_importance(*inputs, seed=4).equals(permutation_importance(*inputs, seed=4))


def test_without_frauds_the_table_is_empty(inputs):
    model, featured, labels, score = inputs
    table = permutation_importance(model, featured, np.zeros_like(labels), score, seed=1)
    assert table.is_empty()
    assert table.schema["fall"] == pl.Float64
