"""Fit one or several learners, and correct their log-odds for the treatment of class imbalance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.features.spec.base import Feature
from fraud3000.models.inference import contributions
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.inference.model import Member, Model
from fraud3000.models.training import estimators, predictor_import
from fraud3000.params import MemberParams, TrainModelParams

Labels = npt.NDArray[np.int8]
RowIndices = npt.NDArray[np.int64]

_ROWS_EXPLAINED = 50
"""Rows of the fit, per member, on which contributions are checked to add up before deployment."""


@dataclass(frozen=True)
class _Sample:
    """Rows that one member is fitted on: their indices (None: all), their weights, and the shift of log-odds."""

    learner: MemberParams
    seed: int
    rows: RowIndices | None
    weights: Floats | None
    shift: float


def fit(featured: pl.DataFrame, is_fraud: Labels, features: Sequence[Feature], params: TrainModelParams) -> Model:
    """Fit the learner of the params, several bags of it, or the members of an average.

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
        No feature carries information in these rows.
    ParamsError
        Params of a learner are inconsistent with each other or with these features.
    ScorerError
        The deployed form of a learner gives other scores than the learner itself, or its contributions do not add up to
        them.

    References
    ----------
    Dal Pozzolo, Caelen, Johnson, Bontempi (2015): Calibrating Probability with Undersampling for
    Unbalanced Classification. With legitimate rows sampled at rate β, p = β·pₛ / (β·pₛ − pₛ + 1),
    which is log-odds plus ln β. Wallace, Small, Brodley, Trikalinos (2011): Class Imbalance, Redux,
    for bags of under-samples.
    """
    estimators.check_monotone(params.monotone, {feature.name: feature.kind for feature in features})
    samples = list(_samples(is_fraud, params))
    union = _union(samples)
    rows, labels = (featured, is_fraud) if union is None else (featured[union], is_fraud[union])
    encoder = Encoder.learn(rows, features)
    matrix = encoder.matrix(rows)
    indices = [
        sample.rows if union is None or sample.rows is None else np.searchsorted(union, sample.rows)
        for sample in samples
    ]
    empty = _empty_columns(matrix, indices)
    if empty.any():
        names = [name for name, dropped in zip(encoder.columns, empty, strict=True) if dropped]
        encoder, matrix = encoder.without(names, "no values in one of the bags"), matrix[:, ~empty]
    if not encoder.columns:
        raise EmptyDataError(
            f"training: none of the {len(features)} features has more than one value",
            hint="Give more history, or map columns that differ between transactions.",
        )
    _require_no_gaps(matrix, params)
    members = [
        _member(sample, at, encoder, matrix, labels, params) for sample, at in zip(samples, indices, strict=True)
    ]
    return Model(encoder, tuple(members))


def cross_fitted_log_odds(
    featured: pl.DataFrame, is_fraud: Labels, features: Sequence[Feature], params: TrainModelParams, *, folds: int = 3
) -> Floats:
    """Return log-odds of each row by a model fitted without that row.

    Returns
    -------
    numpy.ndarray
        Of shape (n_rows,).
    """
    log_odds = np.empty(len(is_fraud))
    splits = StratifiedKFold(folds, shuffle=True, random_state=params.seed).split(is_fraud, is_fraud)
    for inside, outside in splits:
        model = fit(featured[inside], is_fraud[inside], features, params)
        log_odds[outside] = model.log_odds(featured[outside])
    return log_odds


def _samples(is_fraud: Labels, params: TrainModelParams) -> Iterator[_Sample]:
    """Yield the seed and rows of every bag of every learner; the first has the seed of the params."""
    seed = params.seed
    for learner in params.learners:
        for _ in range(learner.bags):
            yield _Sample(learner, seed, *_balance(is_fraud, learner, seed))
            seed += 1


def _balance(is_fraud: Labels, learner: MemberParams, seed: int) -> tuple[RowIndices | None, Floats | None, float]:
    """Return the rows to fit on, their weights, and the shift that corrects the log-odds."""
    frauds = int(is_fraud.sum())
    legitimate = len(is_fraud) - frauds
    if learner.imbalance == "balanced":
        weights = np.where(is_fraud == 1, len(is_fraud) / (2 * frauds), len(is_fraud) / (2 * legitimate))
        return None, weights, math.log(frauds / legitimate)
    if learner.imbalance == "weighted":
        return None, np.where(is_fraud == 1, learner.fraud_weight, 1.0), -math.log(learner.fraud_weight)
    target = max(1, round(frauds * (1 - learner.undersample_to) / learner.undersample_to))
    if learner.imbalance == "undersample" and target < legitimate:
        drawn = np.random.default_rng(seed).choice(np.flatnonzero(is_fraud == 0), target, replace=False)
        return np.sort(np.concatenate([np.flatnonzero(is_fraud == 1), drawn])), None, math.log(target / legitimate)
    return None, None, 0.0


def _union(samples: Sequence[_Sample]) -> RowIndices | None:
    """Return the rows that any member is fitted on; None for all."""
    parts = [sample.rows for sample in samples if sample.rows is not None]
    return np.unique(np.concatenate(parts)) if len(parts) == len(samples) else None


def _empty_columns(matrix: Floats, indices: Sequence[RowIndices | None]) -> npt.NDArray[np.bool_]:
    """Return the columns without a value in the rows of one of several members, on which some learners fail."""
    empty = np.zeros(matrix.shape[1], dtype=bool)
    for at in {id(rows): rows for rows in indices if rows is not None}.values() if len(indices) > 1 else ():
        empty |= np.isnan(matrix[at]).all(axis=0)
    return empty


def _require_no_gaps(matrix: Floats, params: TrainModelParams) -> None:
    forests = [
        learner.estimator for learner in params.learners if learner.estimator in ("random_forest", "extra_trees")
    ]
    if params.monotone and forests and np.isnan(matrix).any():
        raise ParamsError(
            f"train.monotone: {forests[0]} takes no monotone constraints where features have missing values",
            hint="Leave them out, or take hist_gradient_boosting or lightgbm.",
        )


def _member(
    sample: _Sample, at: RowIndices | None, encoder: Encoder, matrix: Floats, labels: Labels, params: TrainModelParams
) -> Member:
    learner = sample.learner
    pipeline = estimators.build(
        learner.estimator, learner.estimator_params, encoder, seed=sample.seed, monotone=params.monotone
    )
    try:
        _fit(pipeline, matrix if at is None else matrix[at], labels if at is None else labels[at], sample.weights)
    except estimators.fit_errors() as error:
        if not learner.estimator_params:
            raise
        raise ParamsError(
            f"train.estimator_params: {learner.estimator} cannot be fitted with these ({str(error).splitlines()[0]})",
            hint="Correct them, or leave them out for their defaults.",
        ) from error
    predictor = predictor_import.from_pipeline(pipeline, matrix)
    contributions.from_predictor(
        predictor, matrix[:: max(1, len(matrix) // _ROWS_EXPLAINED)]
    )  # raises if the contributions do not add up
    return Member(predictor, sample.shift, learner.weight, _converged(pipeline))


def _converged(pipeline: Pipeline) -> bool:
    estimator = pipeline[-1]
    return not hasattr(estimator, "coef_") or bool(estimator.n_iter_.max() < estimator.max_iter)


def _fit(pipeline: Pipeline, matrix: Floats, is_fraud: Labels, weights: Floats | None) -> None:
    estimator = pipeline[-1]
    forest = isinstance(estimator, estimators.FORESTS)
    if forest:
        estimator.set_params(n_jobs=2)
    with single_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # reported by Model.converged
        pipeline.fit(matrix, is_fraud, estimator__sample_weight=weights)
    if forest:
        estimator.set_params(n_jobs=1)  # several threads would add up a forest's votes in any order


def single_blas_thread() -> AbstractContextManager[object]:
    """Limit linear algebra to one thread in the block.

    BLAS splits sums among its threads, so the last digits, and the result of a solver, would otherwise depend on the
    number of processors.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
