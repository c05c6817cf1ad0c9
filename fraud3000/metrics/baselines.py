"""Naive baselines, which alert without a model: random rows, largest amounts, every row, no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fraud3000.metrics.scored_arrays import FloatArray, ScoredArrays
from fraud3000.metrics.weighted_metrics import WeightedMetrics
from fraud3000.params import EvaluateModelParams, PolicyParams

SHUFFLES = 10
"""Number of random orders that are averaged."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """The rows with a baseline's scores and alerts, its metrics by name, and whether it ranks rows."""

    sample: ScoredArrays
    values: Mapping[str, float]
    ranks: bool


def measure_baselines(sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams) -> dict[str, Baseline]:
    """Measure four ways to alert without a model.

    ``random`` and ``largest_amount`` alert as many rows as the sample does, and rank by chance
    (the mean of `SHUFFLES` seeded orders) and by amount. ``always`` and ``never`` alert every row
    and none; they do not rank rows, so they have only the metrics of alerts. A value is NaN if
    the rows do not determine it.
    """
    source = np.random.default_rng([evaluate.seed, SHUFFLES])
    shuffled = [_ranking_baseline(sample, source.random(sample.rows), policy, evaluate) for _ in range(SHUFFLES)]
    means = {name: float(np.mean([order.values[name] for order in shuffled])) for name in shuffled[0].values}
    return {
        "random": Baseline(shuffled[0].sample, means, ranks=True),
        "largest_amount": _ranking_baseline(sample, sample.amount, policy, evaluate),
        "always": _alerting_baseline(sample, policy, evaluate, every=True),
        "never": _alerting_baseline(sample, policy, evaluate, every=False),
    }


def _ranking_baseline(
    sample: ScoredArrays, score: FloatArray, policy: PolicyParams, evaluate: EvaluateModelParams
) -> Baseline:
    alert = np.zeros(sample.rows, dtype=np.bool_)
    alert[np.argsort(-score, kind="stable")[: int(sample.alert.sum())]] = True
    rescored = sample.with_scores(score, alert)
    return Baseline(rescored, WeightedMetrics(rescored, policy, evaluate).without_calibration(), ranks=True)


def _alerting_baseline(
    sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams, *, every: bool
) -> Baseline:
    rescored = sample.with_scores(sample.score, np.full(sample.rows, every))
    return Baseline(rescored, WeightedMetrics(rescored, policy, evaluate).alert_metrics(), ranks=False)
