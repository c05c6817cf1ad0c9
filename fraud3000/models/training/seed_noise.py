"""How far a measure moves when nothing but the seed changes: a difference below that says nothing about a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from fraud3000.features.spec.declarations import Catalogue
from fraud3000.metrics.report import metric_values
from fraud3000.models.inference import calibrate
from fraud3000.models.policy import choose_threshold
from fraud3000.models.training import estimators, fit
from fraud3000.models.training.fit import Labels, Model
from fraud3000.models.training.training_rows import TrainingRows
from fraud3000.params import EvaluateModelParams, PolicyParams, TrainModelParams

SEEDS = 3
MOST_ROWS = 50_000
"""Training rows that are all fitted; and of validation rows how many, the newest, are measured."""
FEWEST_ROWS, PART = 20_000, 1 / 15
"""Of more training rows this part is fitted, at least so many and at most `MOST_ROWS`: all seeds together cost a fifth of a fit."""
FEWEST_FRAUDS = 5
MEASURES = ("average_precision", "savings")


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviations over seeds (n − 1), on validation rows with a known label.

    Attributes
    ----------
    values
        By measure; empty where it could not be measured.
    rows, seeds
        Training rows that each fit saw, and how many fits there were.
    reason
        Why there are no values, or why nothing was fitted for them.
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
    """Fit the recipe by several seeds and measure each on validation.

    A learner that draws nothing by chance is not fitted again. Of many rows a part is fitted, drawn once for all
    seeds; where there are few, the model that was trained is the first of them. Calibration and threshold are set on the same validation rows, for every seed alike.

    Parameters
    ----------
    model
        What was trained on the known rows of `train`.
    train, valid
        Rows of the two splits, labels as known on the day.
    """
    if not estimators.is_random(params):
        return SeedNoise(dict.fromkeys(MEASURES, 0.0), reason="the learner draws nothing by chance")
    rows, labels = train.known
    some = _drawn(len(labels), params.seed)
    known = valid.is_fraud.is_not_null()
    judged = valid.featured.filter(known).with_columns(is_fraud=valid.is_fraud.filter(known)).tail(MOST_ROWS)
    reason = _missing(labels[some], judged["is_fraud"])
    if reason is not None:
        return SeedNoise(reason=reason)
    whole = len(some) == len(labels)
    models = _models(model if whole else None, rows if whole else rows[some], labels[some], catalogue, params)
    found = [_measured(one, judged, params, policy) for one in models]
    spread = {name: float(np.std([one[name] for one in found], ddof=1)) for name in MEASURES}
    return SeedNoise({name: one for name, one in spread.items() if np.isfinite(one)}, len(some), len(found))


def _drawn(rows: int, seed: int) -> fit.Places:
    """Places of the rows that are fitted, in their order."""
    if rows <= MOST_ROWS:
        return np.arange(rows)
    most = max(FEWEST_ROWS, min(MOST_ROWS, int(rows * PART)))
    return np.sort(np.random.default_rng([seed, SEEDS]).choice(rows, most, replace=False))


def _missing(labels: Labels, is_fraud: pl.Series) -> str | None:
    frauds, known = int(labels.sum()), int((is_fraud == 1).sum())
    if frauds < FEWEST_FRAUDS or frauds == len(labels):
        return f"{frauds} frauds among the {len(labels):,} rows to be fitted"
    if known < FEWEST_FRAUDS or known == len(is_fraud):
        return f"{known} frauds among the {len(is_fraud):,} rows of validation with a known label"
    return None


def _models(
    first: Model | None, rows: pl.DataFrame, labels: Labels, catalogue: Catalogue, params: TrainModelParams
) -> Iterator[Model]:
    """One model after the other, so that only one is held; their bags' seeds do not meet."""
    step = sum(learner.bags for learner in params.learners)
    for number in range(SEEDS):
        if number == 0 and first is not None:
            yield first
        else:
            other = params.model_copy(update={"seed": params.seed + number * step})
            yield fit.fit(rows, labels, catalogue.features, other)


def _measured(model: Model, judged: pl.DataFrame, params: TrainModelParams, policy: PolicyParams) -> dict[str, float]:
    log_odds = model.log_odds(judged)
    calibrator = calibrate.fit(params.calibration, log_odds, judged["is_fraud"].to_numpy().astype(np.int8))
    scored = judged.with_columns(score=pl.Series(calibrator.probability(log_odds)))
    threshold = choose_threshold(scored, policy)
    alert = threshold.policy.alerts(scored["score"].to_numpy(), scored["amount"].to_numpy())
    found = metric_values(
        scored.with_columns(alert=pl.Series(alert)), policy=policy, evaluate=EvaluateModelParams(top_k=())
    )
    return {name: np.nan if found[name]["value"] is None else float(found[name]["value"]) for name in MEASURES}
