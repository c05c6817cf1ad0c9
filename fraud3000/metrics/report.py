"""Compute the content of metrics.json from scored rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from fraud3000.metrics.baselines import measure_baselines
from fraud3000.metrics.catalogue import Metric, metrics_of
from fraud3000.metrics.intervals import COVERAGE, FEWEST_CLUSTERS, Interval, bootstrap, usable_keys
from fraud3000.metrics.scored_arrays import ScoredArrays, counted
from fraud3000.metrics.weighted_metrics import WeightedMetrics
from fraud3000.params import EvaluateModelParams, PolicyParams
from fraud3000.schema import REFUND

UNDETERMINED = "not determined by these rows"
NO_INTERVAL = "too few frauds for an interval"


def measure(
    scored: pl.DataFrame, *, policy: PolicyParams, evaluate: EvaluateModelParams, split: str = "test"
) -> dict[str, Any]:
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

    Returns
    -------
    ``split, rows, frauds, alerts, prevalence, excluded, alerts_a_day, intervals, metrics, floors``, JSON-ready. A
    metric is ``{"value", "low", "high", "by"}``, for card precisions also ``ceiling``; a metric that
    cannot be computed is ``{"value": None, "reason": ...}``.

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
    >>> report = measure(scored, policy=PolicyParams(), evaluate=EvaluateModelParams(replicates=20))
    >>> report["rows"], report["frauds"], report["metrics"]["average_precision"]["value"]
    (2, 1, 1.0)
    >>> report["metrics"]["card_precision_at_100"]
    {'value': None, 'reason': 'the data has no time'}
    """
    sample = ScoredArrays.from_frame(scored)
    measures = WeightedMetrics(sample, policy, evaluate)
    metrics, values, ceilings = metrics_of(evaluate), measures.values(), measures.ceilings()
    intervals = bootstrap(
        measures,
        sample.keys,
        sample.rows,
        replicates=evaluate.replicates,
        seed=evaluate.seed,
        centres=_centres(sample, metrics, values),
    )
    return {
        "split": split,
        "rows": sample.rows,
        "frauds": sample.frauds,
        "alerts": int(sample.alert.sum()),
        "prevalence": sample.frauds / sample.rows if sample.rows else None,
        "excluded": excluded(scored),
        "alerts_a_day": alerts_a_day(scored),
        "intervals": _interval_facts(sample, evaluate),
        "metrics": {
            metric.name: _entry(metric, sample, values, intervals.get(metric.name), ceilings.get(metric.name))
            for metric in metrics
        },
        "floors": _baselines(metrics, sample, policy, evaluate),
    }


def metric_values(
    scored: pl.DataFrame, *, policy: PolicyParams, evaluate: EvaluateModelParams
) -> dict[str, dict[str, Any]]:
    """Compute the metrics of scored rows as `measure` does, without intervals and baselines.

    Returns
    -------
    By metric ``{"value"}``, for card precisions also ``ceiling``, or ``{"value": None, "reason": ...}``.
    """
    sample = ScoredArrays.from_frame(scored)
    measures = WeightedMetrics(sample, policy, evaluate)
    point_values, ceilings = measures.values(), measures.ceilings()
    entries = {metric.name: _value(metric, sample, point_values) for metric in metrics_of(evaluate)}
    return {
        name: {**entry, "ceiling": ceilings[name]} if name in ceilings and entry["value"] is not None else entry
        for name, entry in entries.items()
    }


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


def alerts_a_day(scored: pl.DataFrame) -> dict[str, Any]:
    """Return mean and deviation of the cards (rows if there are no cards) alerted per day, over all rows except refunds."""
    unit = "cards" if "card_id" in scored.columns else "rows"
    if "ts" not in scored.columns:
        return {"unit": unit, "mean": None, "sd": None, "reason": "the data has no time"}
    rows = scored.filter(pl.col("status").ne_missing(REFUND)) if "status" in scored.columns else scored
    number = pl.col("card_id").filter("alert").n_unique() if unit == "cards" else pl.col("alert").sum()
    daily = rows.group_by(pl.col("ts").dt.date()).agg(number.alias("number"))["number"].sort().to_numpy()
    if not len(daily):
        return {"unit": unit, "mean": None, "sd": None, "reason": "all rows are refunds"}
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else None
    return {"unit": unit, "mean": float(daily.mean()), "sd": spread, "days": len(daily)}


def _interval_facts(sample: ScoredArrays, evaluate: EvaluateModelParams) -> dict[str, Any]:
    by = list(usable_keys(sample.keys, sample.rows))
    facts = {"by": by, "replicates": evaluate.replicates, "seed": evaluate.seed, "coverage": COVERAGE}
    if by == ["row"]:
        why = f"fewer than {FEWEST_CLUSTERS} cards and terminals" if sample.keys else "no cards and no terminals"
        return {**facts, "note": f"drawn by row, as if rows were independent: the data has {why}"}
    return {
        **facts,
        "note": "whole clusters are drawn; the widest interval is given, with the cluster key it was drawn by",
    }


def _centres(
    sample: ScoredArrays, metrics: tuple[Metric, ...], values: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    """Return the values of queue metrics: drawing terminals or rows thins the queue, which biases their replicates."""
    if "card" not in sample.keys:
        return {}
    queued = [metric.name for metric in metrics if metric.queue and np.isfinite(values.get(metric.name, np.nan))]
    return {(name, by): values[name] for name in queued for by in ("terminal", "row")}


def _entry(
    metric: Metric, sample: ScoredArrays, values: Mapping[str, float], interval: Interval | None, ceiling: float | None
) -> dict[str, Any]:
    entry = _value(metric, sample, values)
    if entry["value"] is None:
        return entry
    if interval is None:
        entry |= {"low": None, "high": None, "reason": NO_INTERVAL}
    else:
        entry |= {"low": interval.low, "high": interval.high, "by": interval.by}
    return entry if ceiling is None else {**entry, "ceiling": ceiling}


def _value(metric: Metric, sample: ScoredArrays, values: Mapping[str, float]) -> dict[str, Any]:
    missing = metric.missing(sample)
    value = values.get(metric.name, np.nan)
    if missing or not np.isfinite(value):
        return {"value": None, "reason": missing or UNDETERMINED}
    return {"value": float(value)}


def _baselines(
    metrics: tuple[Metric, ...], sample: ScoredArrays, policy: PolicyParams, evaluate: EvaluateModelParams
) -> dict[str, dict[str, Any]]:
    compared = [metric for metric in metrics if not metric.calibration]
    return {
        name: {
            metric.name: _value(metric, baseline.sample, baseline.values)
            for metric in compared
            if baseline.ranks or metric.name in baseline.values
        }
        for name, baseline in measure_baselines(sample, policy, evaluate).items()
    }
