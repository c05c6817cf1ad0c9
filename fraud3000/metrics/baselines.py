"""What no model at all would reach: the floors that stand beside every metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fraud3000.metrics.scored_arrays import FloatArray, ScoredArrays
from fraud3000.metrics.weighted_metrics import WeightedMetrics
from fraud3000.params import EvaluateModelParams, PolicyParams

SHUFFLES = 10
"""Random orders that are averaged."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """The rows under a floor's scores and alerts, its metrics by name, and whether it ranks rows at all."""

    sample: ScoredArrays
    values: Mapping[str, float]
    ranks: bool


def measure_baselines(sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams) -> dict[str, Baseline]:
    """Measure four ways to alert that look at no model.

    ``random`` and ``largest_amount`` alert as many rows as the sample does, and rank by chance
    (the mean of `SHUFFLES` seeded orders) and by amount. ``always`` and ``never`` alert every row
    and none; they rank nothing, so only what alerts catch and save is there. A value is NaN where
    the rows do not determine it.
    """
    source = np.random.default_rng([evaluate.seed, SHUFFLES])
    shuffled = [_ranked(sample, source.random(sample.rows), policy, evaluate) for _ in range(SHUFFLES)]
    means = {name: float(np.mean([one.values[name] for one in shuffled])) for name in shuffled[0].values}
    return {
        "random": Baseline(shuffled[0].sample, means, ranks=True),
        "largest_amount": _ranked(sample, sample.amount, policy, evaluate),
        "always": _alerting(sample, policy, evaluate, every=True),
        "never": _alerting(sample, policy, evaluate, every=False),
    }


def _ranked(sample: ScoredArrays, score: FloatArray, policy: PolicyParams, evaluate: EvaluateModelParams) -> Baseline:
    alert = np.zeros(sample.rows, dtype=np.bool_)
    alert[np.argsort(-score, kind="stable")[: int(sample.alert.sum())]] = True
    rescored = sample.with_scores(score, alert)
    return Baseline(rescored, WeightedMetrics(rescored, policy, evaluate).without_calibration(), ranks=True)


def _alerting(sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams, *, every: bool) -> Baseline:
    rescored = sample.with_scores(sample.score, np.full(sample.rows, every))
    return Baseline(rescored, WeightedMetrics(rescored, policy, evaluate).alert_metrics(), ranks=False)
