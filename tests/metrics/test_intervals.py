"""The clustered bootstrap: weights stand for resampled rows, and intervals are as wide as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from fraud3000.metrics.intervals import FEWEST_CLUSTERS, Draw, bootstrap, draws, usable_keys
from fraud3000.metrics.scored_arrays import ScoredArrays
from fraud3000.metrics.weighted_metrics import WeightedMetrics
from fraud3000.params import EvaluateModelParams, PolicyParams

POLICY = PolicyParams(cards_per_day=3, review_cost=50)
EVALUATE = EvaluateModelParams(top_k=(2, 5), fpr=(0.05,), alert_rate=(0.03,))
APPROXIMATE = {"calibration_slope", "calibration_intercept", "calibration_error"}
"""Fitted over groups, or cut into bins at whole rows."""


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    source = np.random.default_rng(3)
    rows = 1_200
    fraud = source.random(rows) < 0.08
    score = 1 / (1 + np.exp(-source.normal(-3 + 2.5 * fraud, 1.2)))
    score[::7] = np.round(score[::7], 1).clip(0.05, 0.95)  # some ties
    return pl.DataFrame(
        {
            "ts": pl.Series(source.integers(0, 4 * 86_400, rows)).cast(pl.Duration("ms")) * 1_000
            + datetime(2018, 8, 8, tzinfo=UTC),
            "card_id": [f"c{card:02}" for card in source.integers(0, 40, rows)],
            "terminal_id": [f"t{terminal:02}" for terminal in source.integers(0, 30, rows)],
            "amount": source.integers(0, 9_000, rows),
            "score": score,
            "alert": score > 0.3,
            "is_fraud": fraud.astype(np.int8),
        }
    )


def resampled(scored: pl.DataFrame, key: str, copies: np.ndarray) -> pl.DataFrame:
    """Copy rows as often as their cluster was drawn, each copy of a card a card of its own."""
    ids = scored[f"{key}_id"].unique().sort()
    times = pl.DataFrame({f"{key}_id": ids, "times": copies.astype(int)})
    copied = (
        scored.with_row_index("row")
        .join(times, on=f"{key}_id", how="left", maintain_order="left")
        .with_columns(copy=pl.int_ranges("times"))
        .explode("copy")
        .drop_nulls("copy")
    )
    name = pl.col("card_id") + pl.col("copy").cast(pl.String) if key == "card" else pl.col("card_id")
    return copied.with_columns(card_id=name)


@pytest.mark.parametrize("key", ["card", "terminal"])
def test_a_weighted_replicate_equals_measuring_resampled_rows(scored, key):
    sample = ScoredArrays.from_frame(scored)
    measures = WeightedMetrics(sample, POLICY, EVALUATE)
    for draw in draws({key: sample.keys[key]}, sample.rows, replicates=4, seed=5):
        drawn = measures(draw)
        naive = WeightedMetrics(ScoredArrays.from_frame(resampled(scored, key, draw.copies)), POLICY, EVALUATE).values()
        fixed_by_design = {"value_detection_rate_by_card"} if key == "terminal" else set()
        assert drawn.keys() == naive.keys()
        for name in drawn.keys() - APPROXIMATE - fixed_by_design:
            assert drawn[name] == pytest.approx(naive[name], rel=1e-9), name
        for name in APPROXIMATE:
            assert drawn[name] == pytest.approx(naive[name], rel=0.02, abs=0.002), name


def mean_of(values: np.ndarray):
    def statistics(draw: Draw) -> Mapping[str, float]:
        return {"mean": float(draw.weight @ values / draw.weight.sum())}

    return statistics


def test_an_interval_by_row_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(1).normal(size=2_000)
    interval = bootstrap(mean_of(values), {}, 2_000, replicates=600, seed=2)["mean"]
    assert interval.by == "row"
    assert interval.width == pytest.approx(2 * 1.96 * values.std() / np.sqrt(2_000), rel=0.1)


def test_the_key_whose_rows_stand_together_gives_the_wider_interval():
    source = np.random.default_rng(1)
    card, terminal = np.repeat(np.arange(100), 20), np.tile(np.arange(20), 100)
    values = source.normal(size=100)[card] + 0.1 * source.normal(size=2_000)
    keys = {"card": card, "terminal": terminal}
    both = bootstrap(mean_of(values), keys, 2_000, replicates=300, seed=2)["mean"]
    assert both.by == "card"
    assert both.width == pytest.approx(2 * 1.96 * values.reshape(100, 20).mean(axis=1).std() / 10, rel=0.15)
    alone = bootstrap(mean_of(values), {"card": card}, 2_000, replicates=300, seed=2)["mean"]
    assert alone == both  # the draws of one key do not depend on the other


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    source = np.random.default_rng(4)
    card = np.repeat(np.arange(60), 5)
    hits = 0
    for trial in range(200):
        values = source.normal(size=60)[card] + source.normal(size=300)
        interval = bootstrap(mean_of(values), {"card": card}, 300, replicates=100, seed=trial)["mean"]
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_a_seed_gives_the_same_draws():
    values = np.random.default_rng(1).normal(size=100)
    first, same, other = (bootstrap(mean_of(values), {}, 100, replicates=50, seed=seed)["mean"] for seed in (1, 1, 2))
    assert first == same != other


def test_few_clusters_are_not_drawn():
    few, enough = np.arange(200) % (FEWEST_CLUSTERS - 1), np.arange(200) % FEWEST_CLUSTERS
    assert list(usable_keys({"card": few, "terminal": enough}, 200)) == ["terminal"]
    assert list(usable_keys({"card": few}, 200)) == ["row"]


def test_replicates_that_do_not_determine_a_metric():
    def sometimes(draw: Draw) -> Mapping[str, float]:
        rare = float(draw.copies[0])
        return {"often": 1.0 if draw.copies[:3].sum() else np.nan, "rarely": 1.0 if rare > 2 else np.nan}

    found = bootstrap(sometimes, {}, 50, replicates=200, seed=1)
    assert "often" in found
    assert "rarely" not in found


def test_a_centre_moves_an_interval_and_keeps_its_width():
    values = (np.arange(400) % 2).astype(float)
    plain = bootstrap(mean_of(values), {}, 400, replicates=200, seed=3)["mean"]
    moved = bootstrap(mean_of(values), {}, 400, replicates=200, seed=3, centres={("mean", "row"): 0.3})["mean"]
    assert moved.low < 0.3 < moved.high
    assert moved.width == pytest.approx(plain.width)
    edge = bootstrap(mean_of(values), {}, 400, replicates=200, seed=3, centres={("mean", "row"): 1.0})["mean"]
    assert edge.high == 1.0


def test_no_rows_give_no_intervals():
    assert bootstrap(mean_of(np.empty(0)), {}, 0, replicates=20, seed=1) == {}
