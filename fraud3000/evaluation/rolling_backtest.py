"""Rolling backtest (prequential evaluation): score each test span with a model trained on what was known before it.

Each fold trains as a model would have been trained when its test begins: training ends one label delay
earlier, and labels are read as known at that time. The labels of the test rows are read at the evaluation's label date.

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
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fraud3000.errors import DataError, ParamsError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels.splits import Boundaries
from fraud3000.metrics.catalogue import metrics_of
from fraud3000.metrics.evaluation import MetricValue
from fraud3000.metrics.report import metric_values
from fraud3000.models.inference.calibrate import Platt
from fraud3000.models.inference.model import Model
from fraud3000.models.policy import require_rows
from fraud3000.models.training import cross_fit, estimators, fit
from fraud3000.models.training.cross_fit import CrossFitResult
from fraud3000.models.training.training_rows import TrainingRows, require_both_classes
from fraud3000.params import BacktestParams, EvaluateModelParams, PolicyParams, Span, TrainModelParams
from fraud3000.schema import APPROVE
from fraud3000.utc import as_utc, midnight_after

_UNCALIBRATED = Platt(1.0, 0.0)
"""Identity calibration, which keeps distinct log-odds distinct however large they are."""


@dataclass(frozen=True)
class Fold:
    """Half-open spans [first, last) of event time for training, for calibration and threshold, and for the test."""

    train: Span
    valid: Span | None
    test: Span

    @property
    def name(self) -> str:
        """First day of the test."""
        return f"{self.test[0]:%Y-%m-%d}"

    def boundaries(self, burn_in: timedelta) -> Boundaries:
        """Return the fold as a split, with labels as known when the test begins."""
        return Boundaries(self.train, self.valid, self.test, as_of=self.test[0], burn_in=burn_in)


@dataclass(frozen=True)
class FittedFold:
    """Model of a fold, with calibration and threshold if the fold has validation rows."""

    model: Model
    cross_fit_result: CrossFitResult | None

    def score(self, featured: pl.DataFrame) -> pl.DataFrame:
        """Score rows of FEATURED.

        Returns
        -------
        polars.DataFrame
            `transaction_id String, score Float64, alert Boolean, decision String`, in the order of the rows. Without
            calibration the score is the uncalibrated probability, and every row is approved.
        """
        log_odds = self.model.log_odds(featured)
        if self.cross_fit_result is None:
            score = _UNCALIBRATED.probability(log_odds)
            decision = pl.repeat(APPROVE, len(score), dtype=pl.String, eager=True)
        else:
            score = self.cross_fit_result.calibrator.probability(log_odds)
            decision = self.cross_fit_result.threshold.policy.decisions(score, featured["amount"].to_numpy())
        columns = {"score": pl.Series(score), "alert": decision != APPROVE, "decision": decision}
        return featured.select("transaction_id").with_columns(**columns)


def plan_folds(params: BacktestParams, test: Span, begin: datetime, label_delay: timedelta) -> tuple[Fold, ...]:
    """Plan the folds.

    Parameters
    ----------
    test
        Span of all tests, unless the params set it.
    begin
        Time from which rows have enough history to train on.

    Raises
    ------
    ParamsError
        A fold has no training span.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = lambda d: datetime(2024, 1, d, tzinfo=UTC)
    >>> folds = plan_folds(BacktestParams(step="7d"), (day(15), day(30)), day(1), timedelta(days=7))
    >>> [(fold.name, f"{fold.train[0]:%m-%d}", f"{fold.train[1]:%m-%d}") for fold in folds]
    [('2024-01-15', '01-01', '01-08'), ('2024-01-22', '01-01', '01-15')]
    """
    first = as_utc(params.first) if params.first else midnight_after(test[0])
    fitting = (test[1] - first - params.test) // params.step + 1
    folds = params.folds or max(1, fitting)
    return tuple(_plan_fold(params, first + number * params.step, begin, label_delay) for number in range(folds))


def _plan_fold(params: BacktestParams, at: datetime, begin: datetime, label_delay: timedelta) -> Fold:
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
    """Fit the model of a fold and, if there are validation rows, its calibration and threshold.

    Parameters
    ----------
    train, valid
        Rows of the fold's spans, with labels as known when its test begins.

    Raises
    ------
    DataError, EmptyDataError
        There are no usable training rows; the message names the fold.
    """
    with _name_fold(fold):
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
def _name_fold(fold: Fold) -> Iterator[None]:
    """Prefix errors in the block with the fold's name."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"fold {fold.name}: {error.message}", hint=error.hint) from error


def recipe(params: TrainModelParams, catalogue_hash: str) -> dict[str, Any]:
    """Return how models are trained, JSON-ready: all train params except the seed, and the hash of the features."""
    content = {name: value for name, value in estimators.effective_params(params).items() if name != "seed"}
    return {**content, "catalogue_hash": catalogue_hash}


def measure_fold(
    scored: pl.DataFrame, policy: PolicyParams, evaluate: EvaluateModelParams, *, decided: bool
) -> dict[str, MetricValue]:
    """Compute the metrics of one fold.

    Parameters
    ----------
    scored
        SCORED, as `fraud3000.measure` takes it.
    decided
        Whether the fold has calibration and a threshold; if not, metrics of alerts and of calibration are
        left out.
    """
    evaluate = evaluate.for_budget(policy.cards_per_day)
    entries = metric_values(scored, policy=policy, evaluate=evaluate)
    names = [metric.name for metric in metrics_of(evaluate) if decided or not (metric.alerts or metric.calibration)]
    return {name: entries[name] for name in names}


def summarize_folds(folds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean and deviation of each metric over the folds that determine it, and over seeds.

    Parameters
    ----------
    folds
        Each with ``fold``, ``seed`` and ``metrics``: those of `measure_fold`, as in metrics.json.

    Returns
    -------
    By metric: ``mean`` over seeds of the mean over folds; ``sd_folds``, the deviation over folds
    of the means over seeds; ``sd_seeds``, the deviation over seeds of the means over folds; ``folds``,
    the number of folds that determine it; ``ceiling``, its mean, for card precisions. Deviations are sample
    deviations (n − 1), None for fewer than two values.

    Examples
    --------
    >>> folds = [{"fold": f, "seed": s, "metrics": {"auc_roc": {"value": v}}}
    ...          for f, s, v in [("a", 1, 0.8), ("b", 1, 0.9), ("a", 2, 0.82), ("b", 2, 0.92)]]
    >>> {name: round(value, 3) for name, value in summarize_folds(folds)["auc_roc"].items()}
    {'mean': 0.86, 'sd_folds': 0.071, 'sd_seeds': 0.014, 'folds': 2}
    """
    return {name: _summarize_metric(name, folds) for name in folds[0]["metrics"]}


def _summarize_metric(name: str, folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    entries = [
        {"fold": fold["fold"], "seed": fold["seed"], **fold["metrics"][name]}
        for fold in folds
        if fold["metrics"][name]["value"] is not None
    ]
    if not entries:
        return {"mean": None, "reason": folds[0]["metrics"][name]["reason"], "folds": 0}
    by_fold, by_seed = _means(entries, "fold"), _means(entries, "seed")
    ceilings = [entry["ceiling"] for entry in entries if "ceiling" in entry]
    return {
        "mean": float(np.mean(by_seed)),
        "sd_folds": _sample_deviation(by_fold),
        "sd_seeds": _sample_deviation(by_seed),
        "folds": len(by_fold),
        **({"ceiling": float(np.mean(ceilings))} if ceilings else {}),
    }


def _means(entries: Iterable[Mapping[str, Any]], by: str) -> list[float]:
    groups: dict[Any, list[float]] = {}
    for entry in entries:
        groups.setdefault(entry[by], []).append(entry["value"])
    return [float(np.mean(group)) for group in groups.values()]


def _sample_deviation(means: list[float]) -> float | None:
    return float(np.std(means, ddof=1)) if len(means) > 1 else None
