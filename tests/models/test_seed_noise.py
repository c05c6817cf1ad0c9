"""Standard deviation of metrics over random seeds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fraud3000.models.training import estimators, fit, seed_noise
from fraud3000.models.training.seed_noise import SeedNoise
from fraud3000.models.training.training_rows import TrainingRows
from fraud3000.params import PolicyParams, TrainModelParams

FOREST = TrainModelParams(estimator="random_forest", estimator_params={"n_estimators": 5, "min_samples_leaf": 5})
LINE = TrainModelParams(estimator="logistic_regression", calibration="platt")
COST = PolicyParams(threshold="cost", review_cost=200)


def rows(featured: pl.DataFrame) -> TrainingRows:
    return TrainingRows(featured.drop("is_fraud"), featured["is_fraud"], {})


def measured(featured: pl.DataFrame, catalogue, params: TrainModelParams) -> SeedNoise:
    train, valid = rows(featured.head(2_000)), rows(featured.tail(1_000))
    model = fit.fit(*train.known, catalogue.features, params)
    return seed_noise.measure(model, train, valid, catalogue, params, COST)


def test_a_forest_varies_with_its_seed_and_a_regression_does_not(small_featured, small_catalogue) -> None:
    forest = measured(small_featured, small_catalogue, FOREST)
    assert set(forest.values) == {"average_precision", "savings"}
    assert 0 < forest.values["average_precision"] < 0.2
    assert (forest.rows, forest.seeds, forest.reason) == (2_000, 3, None)
    still = measured(small_featured, small_catalogue, LINE)
    assert still.values == {"average_precision": 0.0, "savings": 0.0}
    assert (still.seeds, still.reason) == (0, "the learner is deterministic")


def test_bags_of_different_seeds_share_no_seed(small_featured, small_catalogue, monkeypatch) -> None:
    seen: list[int] = []
    fitted = fit.fit

    def watched(featured, labels, features, params):
        seen.append(params.seed)
        return fitted(featured, labels, features, params)

    bagged = FOREST.model_copy(update={"bags": 4, "seed": 10})
    monkeypatch.setattr(seed_noise.fit, "fit", watched)
    measured(small_featured, small_catalogue, bagged)
    assert seen == [10, 14, 18]


def test_every_seed_is_fitted_on_the_same_sample_of_many_rows(small_featured, small_catalogue, monkeypatch) -> None:
    monkeypatch.setattr(seed_noise, "MOST_ROWS", 1_500)
    monkeypatch.setattr(seed_noise, "FEWEST_ROWS", 900)
    first, again = (measured(small_featured, small_catalogue, FOREST) for _ in range(2))
    assert first.rows == 900
    assert first == again


@pytest.mark.parametrize(("part", "message"), [("train", "training rows"), ("valid", "validation rows")])
def test_too_few_frauds_are_reported(part: str, message: str, small_featured, small_catalogue) -> None:
    forest = fit.fit(*rows(small_featured).known, small_catalogue.features, FOREST)
    honest = small_featured.with_columns(is_fraud=pl.lit(0, dtype=pl.Int8))
    train, valid = (rows(honest if name == part else small_featured) for name in ("train", "valid"))
    found = seed_noise.measure(forest, train, valid, small_catalogue, FOREST, COST)
    assert found.values == {}
    assert message in str(found.reason)
    assert np.isfinite(found.seeds)


@pytest.mark.parametrize("learner", ["hist_gradient_boosting", "logistic_regression", "lightgbm"])
def test_a_learner_declared_deterministic_is_deterministic(learner: str, small_featured, small_catalogue) -> None:
    train, valid = rows(small_featured.head(2_000)), small_featured.tail(1_000)
    params = TrainModelParams(estimator=learner)  # type: ignore[arg-type]
    assert not estimators.is_random(params)
    one, other = (
        fit.fit(*train.known, small_catalogue.features, params.model_copy(update={"seed": seed})).log_odds(valid)
        for seed in (1, 2)
    )
    assert one.tolist() == other.tolist()
