"""Fit one learner or several, and undo in their log-odds what was done about imbalance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit, logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.features.spec.declarations import Feature
from fraud3000.models.inference import contributions, predictors
from fraud3000.models.inference.contributions import Contributions
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.inference.predictors import Predictor
from fraud3000.models.inference.threads import single_blas_thread
from fraud3000.models.training import estimators
from fraud3000.params import MemberParams, TrainModelParams

Labels = npt.NDArray[np.int8]
Places = npt.NDArray[np.int64]

_NEAREST_TO_ONE = 1 - 2**-53
"""The greatest probability whose log-odds are finite."""
_ROWS_EXPLAINED = 50
"""Of the fit, for each member: that its contributions add up is seen before it is deployed."""


@dataclass(frozen=True)
class Member:
    """One fitted learner as it is deployed, and the correction after it.

    Attributes
    ----------
    shift
        Added to the predictor's log-odds so that they speak of the prevalence in the data, whatever
        was done about imbalance.
    weight
        In the average of several members.
    converged
        Whether an iterative solver came to its end; true for learners that have none.
    """

    predictor: Predictor
    shift: float
    weight: float = 1.0
    converged: bool = True

    def log_odds(self, matrix: Floats) -> Floats:
        """Log-odds of fraud for encoded rows, shape (n_rows,)."""
        return self.predictor.log_odds(matrix) + self.shift

    def contributions(self, matrix: Floats) -> Contributions:
        """What each column adds to the log-odds of encoded rows."""
        return contributions.from_predictor(self.predictor, matrix).shift(self.shift)


@dataclass(frozen=True)
class Model:
    """An encoder and one fitted member, or several whose probabilities are averaged."""

    encoder: Encoder
    members: tuple[Member, ...]

    def log_odds(self, featured: pl.DataFrame) -> Floats:
        """Log-odds of fraud, one for each row of FEATURED, not yet calibrated."""
        return self.log_odds_of(self.encoder.matrix(featured))

    def log_odds_of(self, matrix: Floats) -> Floats:
        """Log-odds of fraud for rows already encoded."""
        if len(self.members) == 1:
            return self.members[0].log_odds(matrix)
        mean = np.zeros(len(matrix))
        for member in self.members:
            mean += member.weight * expit(member.log_odds(matrix))
        mean /= sum(member.weight for member in self.members)
        averaged: Floats = logit(np.clip(mean, np.finfo(np.float64).tiny, _NEAREST_TO_ONE))
        return averaged

    def contributions_of(self, matrix: Floats) -> Contributions:
        """What each column adds to the log-odds of rows already encoded.

        Of an average each member's contributions count as far as it moves the mean probability, and the mean as far as
        it moves its log-odds (see `Contributions.rescale`).
        """
        parts = [member.contributions(matrix) for member in self.members]
        if len(parts) == 1:
            return parts[0]
        each = [member.log_odds(matrix) for member in self.members]
        chance = contributions.average(parts, each, [member.weight for member in self.members])
        return contributions.as_log_odds(chance, self.log_odds_of(matrix))

    @property
    def converged(self) -> bool:
        """Whether every iterative solver came to its end."""
        return all(member.converged for member in self.members)


@dataclass(frozen=True)
class _Draw:
    """What one member is fitted on: rows by their places (None: all), their weights, and what that does to log-odds."""

    learner: MemberParams
    seed: int
    kept: Places | None
    weights: Floats | None
    shift: float


def fit(featured: pl.DataFrame, is_fraud: Labels, features: Sequence[Feature], params: TrainModelParams) -> Model:
    """Fit what the params name: a learner, several bags of it, or the members of an average.

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
        Params of a learner that do not go together, or not with these features.
    ScorerError
        The form in which a learner would be deployed gives other scores than the learner itself, or its contributions do
        not add up to them.

    References
    ----------
    Dal Pozzolo, Caelen, Johnson, Bontempi (2015): Calibrating Probability with Undersampling for
    Unbalanced Classification. With legitimate rows kept at rate β, p = β·pₛ / (β·pₛ − pₛ + 1),
    which is log-odds plus ln β. Wallace, Small, Brodley, Trikalinos (2011): Class Imbalance, Redux,
    for bags of under-samples.
    """
    estimators.check_monotone(params.monotone, {feature.name: feature.kind for feature in features})
    draws = list(_draws(is_fraud, params))
    union = _union(draws)
    rows, labels = (featured, is_fraud) if union is None else (featured[union], is_fraud[union])
    encoder = Encoder.learn(rows, features)
    matrix = encoder.matrix(rows)
    places = [draw.kept if union is None or draw.kept is None else np.searchsorted(union, draw.kept) for draw in draws]
    silent = _silent(matrix, places)
    if silent.any():
        names = [name for name, dropped in zip(encoder.columns, silent, strict=True) if dropped]
        encoder, matrix = encoder.without(names, "no values in one of the bags"), matrix[:, ~silent]
    if not encoder.columns:
        raise EmptyDataError(
            f"training: none of the {len(features)} features has more than one value",
            hint="Give more history, or map columns that differ between transactions.",
        )
    _require_no_gaps(matrix, params)
    members = [_member(draw, at, encoder, matrix, labels, params) for draw, at in zip(draws, places, strict=True)]
    return Model(encoder, tuple(members))


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


def _draws(is_fraud: Labels, params: TrainModelParams) -> Iterator[_Draw]:
    """Give every bag of every learner its seed and its rows; the first has the seed of the params."""
    seed = params.seed
    for learner in params.learners:
        for _ in range(learner.bags):
            yield _Draw(learner, seed, *_treat(is_fraud, learner, seed))
            seed += 1


def _treat(is_fraud: Labels, learner: MemberParams, seed: int) -> tuple[Places | None, Floats | None, float]:
    """Which rows to fit on, with which weights, and what it does to the log-odds."""
    frauds = int(is_fraud.sum())
    legitimate = len(is_fraud) - frauds
    if learner.imbalance == "balanced":
        weights = np.where(is_fraud == 1, len(is_fraud) / (2 * frauds), len(is_fraud) / (2 * legitimate))
        return None, weights, math.log(frauds / legitimate)
    if learner.imbalance == "weighted":
        return None, np.where(is_fraud == 1, learner.fraud_weight, 1.0), -math.log(learner.fraud_weight)
    wanted = max(1, round(frauds * (1 - learner.undersample_to) / learner.undersample_to))
    if learner.imbalance == "undersample" and wanted < legitimate:
        drawn = np.random.default_rng(seed).choice(np.flatnonzero(is_fraud == 0), wanted, replace=False)
        return np.sort(np.concatenate([np.flatnonzero(is_fraud == 1), drawn])), None, math.log(wanted / legitimate)
    return None, None, 0.0


def _union(draws: Sequence[_Draw]) -> Places | None:
    """The rows that any member is fitted on; None for all."""
    kept = [draw.kept for draw in draws]
    return (
        None
        if any(one is None for one in kept)
        else np.unique(np.concatenate([one for one in kept if one is not None]))
    )


def _silent(matrix: Floats, places: Sequence[Places | None]) -> npt.NDArray[np.bool_]:
    """Columns without a value in the rows of one of several members, on which some learners fail."""
    silent = np.zeros(matrix.shape[1], dtype=bool)
    for at in {id(one): one for one in places if one is not None}.values() if len(places) > 1 else ():
        silent |= np.isnan(matrix[at]).all(axis=0)
    return silent


def _require_no_gaps(matrix: Floats, params: TrainModelParams) -> None:
    forests = [one.estimator for one in params.learners if one.estimator in ("random_forest", "extra_trees")]
    if params.monotone and forests and np.isnan(matrix).any():
        raise ParamsError(
            f"train.monotone: {forests[0]} takes no monotone constraints where features have missing values",
            hint="Leave them out, or take hist_gradient_boosting or lightgbm.",
        )


def _member(
    draw: _Draw, at: Places | None, encoder: Encoder, matrix: Floats, labels: Labels, params: TrainModelParams
) -> Member:
    learner = draw.learner
    pipeline = estimators.build(
        learner.estimator, learner.estimator_params, encoder, seed=draw.seed, monotone=params.monotone
    )
    try:
        _fit(pipeline, matrix if at is None else matrix[at], labels if at is None else labels[at], draw.weights)
    except estimators.fit_errors() as error:
        if not learner.estimator_params:
            raise
        raise ParamsError(
            f"train.estimator_params: {learner.estimator} cannot be fitted with these ({str(error).splitlines()[0]})",
            hint="Correct them, or leave them out for their defaults.",
        ) from error
    predictor = predictors.deploy(pipeline, matrix)
    contributions.from_predictor(
        predictor, matrix[:: max(1, len(matrix) // _ROWS_EXPLAINED)]
    )  # refuses what does not add up
    return Member(predictor, draw.shift, learner.weight, _converged(pipeline))


def _converged(pipeline: Pipeline) -> bool:
    estimator = pipeline[-1]
    return not hasattr(estimator, "coef_") or bool(estimator.n_iter_.max() < estimator.max_iter)


def _fit(pipeline: Pipeline, matrix: Floats, is_fraud: Labels, weights: Floats | None) -> None:
    estimator = pipeline[-1]
    forest = isinstance(estimator, estimators.FORESTS)
    if forest:
        estimator.set_params(n_jobs=2)
    with single_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told through Model.converged
        pipeline.fit(matrix, is_fraud, estimator__sample_weight=weights)
    if forest:
        estimator.set_params(n_jobs=1)  # threads add up a forest's votes in any order
