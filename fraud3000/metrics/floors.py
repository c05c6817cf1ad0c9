"""What no model at all would reach: the floors that stand beside every metric."""

from __future__ import annotations

import numpy as np

from fraud3000.metrics.intervals import Draw
from fraud3000.metrics.measures import Measures
from fraud3000.metrics.sample import BoolArray, FloatArray, Sample
from fraud3000.params import EvaluateModelParams, PolicyParams

SHUFFLES = 20
"""Random orders that are averaged."""


def floors(sample: Sample, policy: PolicyParams, evaluate: EvaluateModelParams) -> dict[str, dict[str, float]]:
    """Measure four ways to alert that look at no model.

    ``random`` and ``largest_amount`` alert as many rows as the sample does, and rank by chance
    (the mean of `SHUFFLES` seeded orders) and by amount. ``always`` and ``never`` alert every row
    and none; they rank nothing, so only what alerts catch and save is there.

    Returns
    -------
    Metrics by floor and name; NaN where the rows do not determine one.
    """
    source = np.random.default_rng([evaluate.seed, SHUFFLES])
    shuffled = [_ranked(sample, source.random(sample.rows), policy, evaluate) for _ in range(SHUFFLES)]
    return {
        "random": {name: float(np.mean([one[name] for one in shuffled])) for name in shuffled[0]},
        "largest_amount": _ranked(sample, sample.amount, policy, evaluate),
        "always": _alerting(sample, np.ones(sample.rows, dtype=np.bool_), policy, evaluate),
        "never": _alerting(sample, np.zeros(sample.rows, dtype=np.bool_), policy, evaluate),
    }


def _ranked(sample: Sample, score: FloatArray, policy: PolicyParams, evaluate: EvaluateModelParams) -> dict[str, float]:
    alert = np.zeros(sample.rows, dtype=np.bool_)
    alert[np.argsort(-score, kind="stable")[: int(sample.alert.sum())]] = True
    measures = Measures(sample.rescored(score, alert), policy, evaluate)
    return measures.decisive(Draw("row", np.ones(0), np.ones(sample.rows)))


def _alerting(
    sample: Sample, alert: BoolArray, policy: PolicyParams, evaluate: EvaluateModelParams
) -> dict[str, float]:
    measures = Measures(sample.rescored(sample.score, alert), policy, evaluate)
    return measures.alerts(np.ones(sample.rows))
