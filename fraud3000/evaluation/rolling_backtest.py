"""Prequential evaluation: span after span, each scored by a model of what was known before it.

A fold is made as a model would have been made on the morning its test begins: training ends a delay
earlier, and every label is read as known on that morning. How the test rows are labelled is the
evaluation's own affair.

References
----------
Dawid (1984): Present Position and Potential Developments: Some Personal Views: Statistical Theory:
The Prequential Approach. Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud
Detection" (2022), chapter 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fraud3000.errors import DataError, ParamsError
from fraud3000.features.spec.declarations import Catalogue
from fraud3000.labels.splits import Boundaries
from fraud3000.metrics.catalogue import metrics_of
from fraud3000.metrics.report import metric_values
from fraud3000.models.inference.calibrate import Platt
from fraud3000.models.policy import require_rows
from fraud3000.models.training import cross_fit, estimators, fit
from fraud3000.models.training.cross_fit import CrossFitResult
from fraud3000.models.training.fit import Model
from fraud3000.models.training.training_rows import TrainingRows, require_both_classes
from fraud3000.params import BacktestParams, EvaluateModelParams, PolicyParams, Span, TrainModelParams
from fraud3000.schema import APPROVE

_DAY = timedelta(days=1)
_AS_IT_IS = Platt(1.0, 0.0)
"""Keeps distinct log-odds distinct, however large."""


@dataclass(frozen=True)
class Fold:
    """Half-open spans [first, last) of event time: what a model learns from, is settled on, and scores."""

    train: Span
    valid: Span | None
    test: Span

    @property
    def name(self) -> str:
        """The first day of the test."""
        return f"{self.test[0]:%Y-%m-%d}"

    def boundaries(self, burn_in: timedelta) -> Boundaries:
        """The fold as a split, its labels as known when the test begins."""
        return Boundaries(self.train, self.valid, self.test, as_of=self.test[0], burn_in=burn_in)


@dataclass(frozen=True)
class FittedFold:
    """The model of a fold, with calibration and threshold where the fold has rows to set them on."""

    model: Model
    cross_fit_result: CrossFitResult | None

    def score(self, featured: pl.DataFrame) -> pl.DataFrame:
        """Score rows of FEATURED.

        Returns
        -------
        polars.DataFrame
            `transaction_id String, score Float64, alert Boolean, decision String`, in the order of the rows. Without
            calibration the score is the model's own probability, and everything is approved.
        """
        log_odds = self.model.log_odds(featured)
        if self.cross_fit_result is None:
            score = _AS_IT_IS.probability(log_odds)
            decision = pl.repeat(APPROVE, len(score), dtype=pl.String, eager=True)
        else:
            score = self.cross_fit_result.calibrator.probability(log_odds)
            decision = self.cross_fit_result.threshold.policy.decisions(score, featured["amount"].to_numpy())
        answers = {"score": pl.Series(score), "alert": decision != APPROVE, "decision": decision}
        return featured.select("transaction_id").with_columns(**answers)


def plan_folds(params: BacktestParams, test: Span, begin: datetime, label_delay: timedelta) -> tuple[Fold, ...]:
    """Lay out the folds.

    Parameters
    ----------
    test
        Where the first test begins and the last one ends, unless the params say so.
    begin
        From when rows have history enough to learn from.

    Raises
    ------
    ParamsError
        A fold has no time left to train on.

    Examples
    --------
    >>> day = lambda d: datetime(2024, 1, d, tzinfo=UTC)
    >>> folds = plan_folds(BacktestParams(step="7d"), (day(15), day(30)), day(1), timedelta(days=7))
    >>> [(fold.name, f"{fold.train[0]:%m-%d}", f"{fold.train[1]:%m-%d}") for fold in folds]
    [('2024-01-15', '01-01', '01-08'), ('2024-01-22', '01-01', '01-15')]
    """
    first = _utc(params.first) if params.first else _midnight(test[0])
    fitting = (test[1] - first - params.test) // params.step + 1
    folds = params.folds or max(1, fitting)
    return tuple(_fold(params, first + number * params.step, begin, label_delay) for number in range(folds))


def _fold(params: BacktestParams, at: datetime, begin: datetime, label_delay: timedelta) -> Fold:
    end = at - (label_delay if params.delay is None else params.delay)
    lead = timedelta(0) if params.valid is None else params.valid + label_delay
    start = begin + lead if params.window is None else end - params.window
    if start >= end:
        raise ParamsError(
            f"backtest: the fold of {at:%Y-%m-%d} has nothing to train on: rows with history enough, after those that "
            f"set the threshold, begin {start:%Y-%m-%d %H:%M}, and training ends {end:%Y-%m-%d %H:%M}",
            hint="Set a later backtest.first, or a shorter backtest.valid, backtest.delay or featurize.burn_in.",
        )
    valid = None if params.valid is None else (start - lead, start - label_delay)
    return Fold((start, end), valid, (at, at + params.test))


def fit_fold(
    fold: Fold,
    train: TrainingRows,
    valid: TrainingRows | None,
    catalogue: Catalogue,
    burn_in: timedelta,
    params: TrainModelParams,
    policy: PolicyParams,
) -> FittedFold:
    """Fit the model of a fold and, where there are validation rows, settle it on them.

    Parameters
    ----------
    train, valid
        Rows of the fold's spans, labels as known when its test begins.

    Raises
    ------
    DataError, EmptyDataError
        There is nothing to learn from; the fold is named.
    """
    with _named(fold):
        require_both_classes(train)
        if valid is not None:
            require_rows(valid.featured, policy)
        rows, labels = train.known
        model = fit.fit(rows, labels, catalogue.features, params)
        if valid is None:
            return FittedFold(model, None)
        return FittedFold(
            model,
            cross_fit.calibrate_and_set_threshold(
                model, train, valid, catalogue, fold.boundaries(burn_in), params, policy
            ),
        )


@contextmanager
def _named(fold: Fold) -> Iterator[None]:
    """Say of which fold an error speaks."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"fold {fold.name}: {error.message}", hint=error.hint) from error


def recipe(params: TrainModelParams, catalogue_hash: str) -> dict[str, Any]:
    """How models are made, JSON-ready: the estimator with all its params, seeds aside, and the features."""
    told = {name: value for name, value in estimators.effective_params(params).items() if name != "seed"}
    return {**told, "catalogue_hash": catalogue_hash}


def measure_fold(
    scored: pl.DataFrame, policy: PolicyParams, evaluate: EvaluateModelParams, *, decided: bool
) -> dict[str, dict[str, Any]]:
    """Measure the scores of one fold.

    Parameters
    ----------
    scored
        SCORED, as `fraud3000.measure` takes it.
    decided
        Whether its alerts are those of a threshold; without, no metric that rests on one is given, nor
        one of calibration.

    Returns
    -------
    By metric ``{"value"}`` with ``ceiling`` where there is one, or ``{"value": None, "reason"}``.
    """
    found = metric_values(scored, policy=policy, evaluate=evaluate)
    asked = [metric.name for metric in metrics_of(evaluate) if decided or not (metric.alerts or metric.calibration)]
    return {name: found[name] for name in asked}


def summarize_folds(folds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give mean and deviation of each metric over the folds that determine it, and over seeds.

    Parameters
    ----------
    folds
        Each with ``fold``, ``seed`` and ``metrics`` as `measured` gives them.

    Returns
    -------
    By metric: ``mean`` over seeds of the mean over folds; ``sd_folds``, the deviation from fold to fold
    of the folds' means over seeds; ``sd_seeds``, that from seed to seed of the means over folds; ``folds``,
    how many determine it; ``ceiling``, its mean, where there is one. Deviations are of a sample (n − 1), None
    for fewer than two.

    Examples
    --------
    >>> folds = [{"fold": f, "seed": s, "metrics": {"auc_roc": {"value": v}}}
    ...          for f, s, v in [("a", 1, 0.8), ("b", 1, 0.9), ("a", 2, 0.82), ("b", 2, 0.92)]]
    >>> {name: round(value, 3) for name, value in summarize_folds(folds)["auc_roc"].items()}
    {'mean': 0.86, 'sd_folds': 0.071, 'sd_seeds': 0.014, 'folds': 2}
    """
    return {name: _over(name, folds) for name in folds[0]["metrics"]}


def _over(name: str, folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    told = [
        {"fold": one["fold"], "seed": one["seed"], **one["metrics"][name]}
        for one in folds
        if one["metrics"][name]["value"] is not None
    ]
    if not told:
        return {"mean": None, "reason": folds[0]["metrics"][name]["reason"], "folds": 0}
    by_fold, by_seed = _means(told, "fold"), _means(told, "seed")
    ceilings = [one["ceiling"] for one in told if "ceiling" in one]
    return {
        "mean": float(np.mean(by_seed)),
        "sd_folds": _deviation(by_fold),
        "sd_seeds": _deviation(by_seed),
        "folds": len(by_fold),
        **({"ceiling": float(np.mean(ceilings))} if ceilings else {}),
    }


def _means(told: Iterable[Mapping[str, Any]], by: str) -> list[float]:
    groups: dict[Any, list[float]] = {}
    for one in told:
        groups.setdefault(one[by], []).append(one["value"])
    return [float(np.mean(group)) for group in groups.values()]


def _deviation(means: list[float]) -> float | None:
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _midnight(at: datetime) -> datetime:
    """The first midnight that is not before."""
    floor = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return floor if floor == at else floor + _DAY
