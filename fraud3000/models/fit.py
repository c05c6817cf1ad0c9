"""Fit an estimator, and undo in its log-odds what was done about imbalance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.features.spec import Feature
from fraud3000.models import estimators
from fraud3000.models.encoder import Encoder, Floats
from fraud3000.params import TrainModelParams

Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Model:
    """A fitted pipeline, the encoder before it and the correction after it.

    Attributes
    ----------
    shift
        Added to the pipeline's log-odds so that they speak of the prevalence in the data, whatever
        was done about imbalance.
    """

    encoder: Encoder
    pipeline: Pipeline
    shift: float

    def log_odds(self, featured: pl.DataFrame) -> Floats:
        """Log-odds of fraud, one for each row of FEATURED, not yet calibrated."""
        return self.log_odds_of(self.encoder.matrix(featured))

    def log_odds_of(self, matrix: Floats) -> Floats:
        """Log-odds of fraud for rows already encoded."""
        return estimators.log_odds(self.pipeline, matrix) + self.shift

    @property
    def converged(self) -> bool:
        """Whether an iterative solver came to its end; true for estimators that have none."""
        estimator = self.pipeline[-1]
        return not hasattr(estimator, "coef_") or bool(estimator.n_iter_.max() < estimator.max_iter)


def fit(featured: pl.DataFrame, is_fraud: Labels, features: Sequence[Feature], params: TrainModelParams) -> Model:
    """Fit the estimator that the params name.

    Parameters
    ----------
    featured
        FEATURED, the rows of the fit only.
    is_fraud
        0 or 1 for each row.
    features
        The catalogue's features.

    Raises
    ------
    EmptyDataError
        No feature says anything in these rows.
    ParamsError
        Estimator params that do not go together, or not with these features.

    References
    ----------
    Dal Pozzolo, Caelen, Johnson, Bontempi (2015): Calibrating Probability with Undersampling for
    Unbalanced Classification. With legitimate rows kept at rate β, p = β·pₛ / (β·pₛ − pₛ + 1),
    which is log-odds plus ln β.
    """
    kept, weights, shift = _treat(is_fraud, params)
    rows, labels = (featured, is_fraud) if kept is None else (featured[kept], is_fraud[kept])
    encoder = Encoder.learn(rows, features)
    if not encoder.columns:
        raise EmptyDataError(
            f"training: none of the {len(features)} features has more than one value",
            hint="Give more history, or map columns that differ between transactions.",
        )
    pipeline = estimators.build(params.estimator, params.estimator_params, encoder, seed=params.seed)
    try:
        _fit(pipeline, encoder.matrix(rows), labels, weights)
    except ValueError as error:
        if not params.estimator_params:
            raise
        raise ParamsError(
            f"train.estimator_params: {params.estimator} cannot be fitted with these ({str(error).splitlines()[0]})",
            hint="Correct them, or leave them out for their defaults.",
        ) from error
    return Model(encoder, pipeline, shift)


def cross_fitted(
    featured: pl.DataFrame, is_fraud: Labels, features: Sequence[Feature], params: TrainModelParams, *, folds: int = 3
) -> Floats:
    """Log-odds of each row by a model that was fitted without it.

    Returns
    -------
    numpy.ndarray
        Of shape (n_rows,).
    """
    answers = np.empty(len(is_fraud))
    cuts = StratifiedKFold(folds, shuffle=True, random_state=params.seed).split(is_fraud, is_fraud)
    for inside, outside in cuts:
        model = fit(featured[inside], is_fraud[inside], features, params)
        answers[outside] = model.log_odds(featured[outside])
    return answers


def _treat(is_fraud: Labels, params: TrainModelParams) -> tuple[npt.NDArray[np.int64] | None, Floats | None, float]:
    """Which rows to fit on, with which weights, and what it does to the log-odds."""
    frauds = int(is_fraud.sum())
    legitimate = len(is_fraud) - frauds
    if params.imbalance == "balanced":
        weights = np.where(is_fraud == 1, len(is_fraud) / (2 * frauds), len(is_fraud) / (2 * legitimate))
        return None, weights, math.log(frauds / legitimate)
    wanted = max(1, round(frauds * (1 - params.undersample_to) / params.undersample_to))
    if params.imbalance == "undersample" and wanted < legitimate:
        drawn = np.random.default_rng(params.seed).choice(np.flatnonzero(is_fraud == 0), wanted, replace=False)
        return np.sort(np.concatenate([np.flatnonzero(is_fraud == 1), drawn])), None, math.log(wanted / legitimate)
    return None, None, 0.0


def _fit(pipeline: Pipeline, matrix: Floats, is_fraud: Labels, weights: Floats | None) -> None:
    estimator = pipeline[-1]
    threaded = "n_jobs" in estimator.get_params() and hasattr(estimator, "n_estimators")
    if threaded:
        estimator.set_params(n_jobs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told through Model.converged
        pipeline.fit(matrix, is_fraud, estimator__sample_weight=weights)
    if threaded:
        estimator.set_params(n_jobs=1)  # threads add up a forest's votes in any order
