"""Compute the metrics of scored rows, with intervals and naive baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud3000.metrics.catalogue import Metric, metrics_of
from fraud3000.metrics.evaluation import DailyAlerts, IntervalSettings, Measurement, MetricValue
from fraud3000.metrics.intervals import COVERAGE, FEWEST_CLUSTERS, Interval, bootstrap, usable_keys
from fraud3000.metrics.scored_arrays import FloatArray, ScoredArrays, counted
from fraud3000.metrics.weighted_metrics import WeightedMetrics
from fraud3000.params import EvaluateModelParams, PolicyParams
from fraud3000.schema import REFUND

UNDETERMINED = "not determined by these rows"
NO_INTERVAL = "too few frauds for an interval"
SHUFFLES = 10
"""Number of random orders that the random baseline averages."""


def measure(
    scored: pl.DataFrame, *, policy: PolicyParams, evaluate: EvaluateModelParams, split: str = "test"
) -> Measurement:
    """Compute all metrics of scored rows from any scorer, with intervals and baselines.

    On simulated card data with delayed labels an average precision above .85 is more likely caused by leakage
    than by a good model.

    Parameters
    ----------
    scored
        score Float64, alert Boolean, is_fraud Int8 (null: unknown), amount Int64 in minor units;
        ts, card_id, terminal_id, seq, status and evaluated (false: left out) if the data has them.
    policy
        Costs in minor units, and the alert budget.
    evaluate
        Metrics to compute, and the replicates and seed of the intervals.
    split
        Name of the rows in the report.

    Raises
    ------
    SchemaError
        A required column is missing.
    DataError
        A score is null, NaN or infinite.

    Examples
    --------
    >>> scored = pl.DataFrame({"score": [0.9, 0.2, 0.1], "alert": [True, False, False],
    ...                        "is_fraud": [1, 0, None], "amount": [5_000, 100, 100]})
    >>> measured = measure(scored, policy=PolicyParams(), evaluate=EvaluateModelParams(replicates=20))
    >>> measured.rows, measured.frauds, measured.metrics["average_precision"].value
    (2, 1, 1.0)
    >>> measured.metrics["card_precision_at_100"].reason
    'the data has no time'
    """
    evaluate = evaluate.for_budget(policy.cards_per_day)
    sample = ScoredArrays.from_frame(scored)
    measures = WeightedMetrics(sample, policy, evaluate)
    metrics, values = metrics_of(evaluate), measures.values()
    intervals = bootstrap(
        measures,
        sample.keys,
        sample.rows,
        replicates=evaluate.replicates,
        seed=evaluate.seed,
        centres=_centres(sample, metrics, values),
    )
    entries = _metric_values(metrics, sample, measures, values)
    return Measurement(
        split=split,
        rows=sample.rows,
        frauds=sample.frauds,
        alerts=int(sample.alert.sum()),
        prevalence=sample.frauds / sample.rows if sample.rows else None,
        excluded=excluded(scored),
        alerts_a_day=alerts_a_day(scored),
        intervals=_interval_settings(sample, evaluate),
        metrics={name: _with_interval(entry, intervals.get(name)) for name, entry in entries.items()},
        baselines=_baselines(metrics, sample, policy, evaluate),
    )


def metric_values(
    scored: pl.DataFrame, *, policy: PolicyParams, evaluate: EvaluateModelParams
) -> dict[str, MetricValue]:
    """Compute the metrics of scored rows as `measure` does, without intervals and baselines."""
    evaluate = evaluate.for_budget(policy.cards_per_day)
    sample = ScoredArrays.from_frame(scored)
    measures = WeightedMetrics(sample, policy, evaluate)
    return _metric_values(metrics_of(evaluate), sample, measures, measures.values())


def _metric_values(
    metrics: tuple[Metric, ...], sample: ScoredArrays, measures: WeightedMetrics, values: Mapping[str, float]
) -> dict[str, MetricValue]:
    """Return each metric, card precisions with their ceiling."""
    entries = {metric.name: _value(metric, sample, values) for metric in metrics}
    capped = {
        name: entries[name].model_copy(update={"ceiling": ceiling})
        for name, ceiling in measures.ceilings().items()
        if entries[name].value is not None
    }
    return entries | capped


def excluded(scored: pl.DataFrame) -> dict[str, int]:
    """Count the rows that are not measured, by the first reason that applies.

    Examples
    --------
    >>> excluded(pl.DataFrame({"is_fraud": [1, None, 0], "evaluated": [True, False, False]}))
    {'refund': 0, 'label_unknown': 1, 'set_aside': 1}
    """
    refund = pl.col("status").eq_missing(REFUND) if "status" in scored.columns else pl.lit(value=False)
    unknown = ~refund & pl.col("is_fraud").is_null()
    left_out = ~refund & ~unknown & ~pl.Series("counted", counted(scored))
    return scored.select(
        (pl.lit(0) + refund.sum()).alias("refund"),
        unknown.sum().alias("label_unknown"),
        left_out.sum().alias("set_aside"),
    ).row(0, named=True)


def alerts_a_day(scored: pl.DataFrame) -> DailyAlerts:
    """Return mean and deviation of the cards (rows if there are no cards) alerted per day, over all rows except refunds."""
    unit = "cards" if "card_id" in scored.columns else "rows"
    if "ts" not in scored.columns:
        return DailyAlerts(unit=unit, mean=None, sd=None, reason="the data has no time")
    rows = scored.filter(pl.col("status").ne_missing(REFUND)) if "status" in scored.columns else scored
    number = pl.col("card_id").filter("alert").n_unique() if unit == "cards" else pl.col("alert").sum()
    daily = rows.group_by(pl.col("ts").dt.date()).agg(number.alias("number"))["number"].sort().to_numpy()
    if not len(daily):
        return DailyAlerts(unit=unit, mean=None, sd=None, reason="all rows are refunds")
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else None
    return DailyAlerts(unit=unit, mean=float(daily.mean()), sd=spread, days=len(daily))


def _interval_settings(sample: ScoredArrays, evaluate: EvaluateModelParams) -> IntervalSettings:
    by = tuple(usable_keys(sample.keys, sample.rows))
    note = "whole clusters are drawn; the widest interval is given, with the cluster key it was drawn by"
    if by == ("row",):
        why = f"fewer than {FEWEST_CLUSTERS} cards and terminals" if sample.keys else "no cards and no terminals"
        note = f"drawn by row, as if rows were independent: the data has {why}"
    return IntervalSettings(by=by, replicates=evaluate.replicates, seed=evaluate.seed, coverage=COVERAGE, note=note)


def _centres(
    sample: ScoredArrays, metrics: tuple[Metric, ...], values: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    """Return the values of queue metrics: drawing terminals or rows thins the queue, which biases their replicates."""
    if "card" not in sample.keys:
        return {}
    queued = [metric.name for metric in metrics if metric.queue and np.isfinite(values.get(metric.name, np.nan))]
    return {(name, by): values[name] for name in queued for by in ("terminal", "row")}


def _value(metric: Metric, sample: ScoredArrays, values: Mapping[str, float]) -> MetricValue:
    missing = metric.missing(sample)
    value = values.get(metric.name, np.nan)
    if missing or not np.isfinite(value):
        return MetricValue(value=None, reason=missing or UNDETERMINED)
    return MetricValue(value=float(value))


def _with_interval(entry: MetricValue, interval: Interval | None) -> MetricValue:
    if entry.value is None:
        return entry
    if interval is None:
        return entry.model_copy(update={"low": None, "high": None, "reason": NO_INTERVAL})
    return entry.model_copy(update={"low": interval.low, "high": interval.high, "by": interval.by})


@dataclass(frozen=True, eq=False)
class _Baseline:
    """The rows with a baseline's scores and alerts, its metrics by name, and whether it ranks rows."""

    sample: ScoredArrays
    values: Mapping[str, float]
    ranks: bool


def _baselines(
    metrics: tuple[Metric, ...], sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams
) -> dict[str, dict[str, MetricValue]]:
    compared = [metric for metric in metrics if not metric.calibration]
    return {
        name: {
            metric.name: _value(metric, baseline.sample, baseline.values)
            for metric in compared
            if baseline.ranks or metric.name in baseline.values
        }
        for name, baseline in _measure_baselines(sample, policy, evaluate).items()
    }


def _measure_baselines(
    sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams
) -> dict[str, _Baseline]:
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
        "random": _Baseline(shuffled[0].sample, means, ranks=True),
        "largest_amount": _ranking_baseline(sample, sample.amount, policy, evaluate),
        "always": _alerting_baseline(sample, policy, evaluate, every=True),
        "never": _alerting_baseline(sample, policy, evaluate, every=False),
    }


def _ranking_baseline(
    sample: ScoredArrays, score: FloatArray, policy: PolicyParams, evaluate: EvaluateModelParams
) -> _Baseline:
    alert = np.zeros(sample.rows, dtype=np.bool_)
    alert[np.argsort(-score, kind="stable")[: int(sample.alert.sum())]] = True
    rescored = sample.with_scores(score, alert)
    return _Baseline(rescored, WeightedMetrics(rescored, policy, evaluate).without_calibration(), ranks=True)


def _alerting_baseline(
    sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams, *, every: bool
) -> _Baseline:
    rescored = sample.with_scores(sample.score, np.full(sample.rows, every))
    return _Baseline(rescored, WeightedMetrics(rescored, policy, evaluate).alert_metrics(), ranks=False)
