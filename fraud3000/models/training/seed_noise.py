"""Standard deviation of metrics over random seeds: smaller differences between recipes are noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.metrics.report import metric_values
from fraud3000.models.inference.model import Model
from fraud3000.models.policy import choose_threshold
from fraud3000.models.training import calibration, estimators, fit
from fraud3000.models.training.fit import Labels
from fraud3000.models.training.training_rows import TrainingRows
from fraud3000.params import EvaluateModelParams, PolicyParams, TrainModelParams

SEEDS = 3
MOST_ROWS = 50_000
"""Up to this many training rows all are fitted; and this many validation rows, the newest, are measured."""
FEWEST_ROWS, PART = 20_000, 1 / 15
"""Of more training rows this fraction is fitted, between `FEWEST_ROWS` and `MOST_ROWS`: all seeds cost a fifth of a fit."""
FEWEST_FRAUDS = 5
MEASURES = ("average_precision", "savings")


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviations over seeds (n − 1), on validation rows with a known label.

    Attributes
    ----------
    values
        Standard deviation by metric; empty if it could not be measured.
    rows, seeds
        Training rows of each fit, and the number of fits.
    reason
        Why there are no values, or why no fit was needed.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    rows: int = 0
    seeds: int = 0
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    model: Model,
    train: TrainingRows,
    valid: TrainingRows,
    catalogue: Catalogue,
    params: TrainModelParams,
    policy: PolicyParams,
) -> SeedNoise:
    """Fit the recipe with several seeds and measure each fit on validation rows.

    A deterministic learner is not fitted again. Of many rows a sample is fitted, the same for all seeds; of few rows all
    are fitted, and the trained model is the first fit. Calibration and threshold are set on the same validation rows for
    every seed.

    Parameters
    ----------
    model
        The model trained on the known rows of `train`.
    train, valid
        Rows of the two splits, with labels as known on the model's cut-off date.
    """
    if not estimators.is_random(params):
        return SeedNoise(dict.fromkeys(MEASURES, 0.0), reason="the learner is deterministic")
    rows, labels = train.known
    sample = _sample(len(labels), params.seed)
    known = valid.is_fraud.is_not_null()
    measured = valid.featured.filter(known).with_columns(is_fraud=valid.is_fraud.filter(known)).tail(MOST_ROWS)
    reason = _reason_to_skip(labels[sample], measured["is_fraud"])
    if reason is not None:
        return SeedNoise(reason=reason)
    is_complete = len(sample) == len(labels)
    models = _models(
        model if is_complete else None, rows if is_complete else rows[sample], labels[sample], catalogue, params
    )
    results = [_measure_model(fitted, measured, params, policy) for fitted in models]
    spread = {name: float(np.std([result[name] for result in results], ddof=1)) for name in MEASURES}
    finite = {name: deviation for name, deviation in spread.items() if np.isfinite(deviation)}
    return SeedNoise(finite, len(sample), len(results))


def _sample(rows: int, seed: int) -> fit.RowIndices:
    """Return the indices of the rows to fit, in order."""
    if rows <= MOST_ROWS:
        return np.arange(rows)
    most = max(FEWEST_ROWS, min(MOST_ROWS, int(rows * PART)))
    return np.sort(np.random.default_rng([seed, SEEDS]).choice(rows, most, replace=False))


def _reason_to_skip(labels: Labels, is_fraud: pl.Series) -> str | None:
    frauds, known = int(labels.sum()), int((is_fraud == 1).sum())
    if frauds < FEWEST_FRAUDS or frauds == len(labels):
        return f"{frauds} frauds among the {len(labels):,} sampled training rows"
    if known < FEWEST_FRAUDS or known == len(is_fraud):
        return f"{known} frauds among the {len(is_fraud):,} validation rows with a known label"
    return None


def _models(
    first: Model | None, rows: pl.DataFrame, labels: Labels, catalogue: Catalogue, params: TrainModelParams
) -> Iterator[Model]:
    """Yield one model at a time, so that only one is in memory; the seeds of their bags are disjoint."""
    step = sum(learner.bags for learner in params.learners)
    for number in range(SEEDS):
        if number == 0 and first is not None:
            yield first
        else:
            other = params.model_copy(update={"seed": params.seed + number * step})
            yield fit.fit(rows, labels, catalogue.features, other)


def _measure_model(
    model: Model, rows: pl.DataFrame, params: TrainModelParams, policy: PolicyParams
) -> dict[str, float]:
    log_odds = model.log_odds(rows)
    calibrator = calibration.fit(params.calibration, log_odds, rows["is_fraud"].to_numpy().astype(np.int8))
    scored = rows.with_columns(score=pl.Series(calibrator.probability(log_odds)))
    threshold = choose_threshold(scored, policy)
    alert = threshold.policy.alerts(scored["score"].to_numpy(), scored["amount"].to_numpy())
    metrics = metric_values(
        scored.with_columns(alert=pl.Series(alert)), policy=policy, evaluate=EvaluateModelParams(top_k=())
    )
    values = {name: metrics[name].value for name in MEASURES}
    return {name: np.nan if value is None else value for name, value in values.items()}
