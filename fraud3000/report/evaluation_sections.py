"""Sections of the report: a finding in one sentence, a plot, a table, and the data behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import polars as pl

from fraud3000.metrics.evaluation import MetricValue, best_baseline
from fraud3000.metrics.scored_arrays import counted
from fraud3000.report import backtest_section, breakdown_sections, plots, tables
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import between, per_day, percent, ratio, share
from fraud3000.report.metric_text import BASELINE_LABELS, CAUGHT, render_metric
from fraud3000.report.section import Section, TextTable, unavailable
from fraud3000.report.verdict import verdict

_MULTIPLES = (0.25, 0.5, 1, 2, 3)
"""Multiples of the alert budget in the table of alerts and catches."""


def sections(evidence: Evidence) -> list[Section]:
    """Compute every section; one that cannot be computed states why."""
    return [
        _caught(evidence),
        _precision_recall(evidence),
        _workload(evidence),
        _calibration(evidence),
        _scores(evidence),
        breakdown_sections.weeks(evidence),
        *_backtest(evidence),
        breakdown_sections.amounts(evidence),
        *breakdown_sections.categories(evidence),
        breakdown_sections.features(evidence),
    ]


def _backtest(evidence: Evidence) -> Iterator[Section]:
    if isinstance(evidence.backtest, str):
        yield unavailable(backtest_section.NAME, backtest_section.TOPIC, evidence.backtest)
    elif evidence.backtest is not None:
        yield backtest_section.section(evidence.backtest)


def _caught(evidence: Evidence) -> Section:
    name, topic, evaluation = "caught", "Fraud caught", evidence.evaluation
    rows = []
    for metric, what in CAUGHT.items():
        entry, best = evaluation.metrics[metric], best_baseline(evaluation.baselines, metric)
        if entry.value is not None:
            baseline = (best[1], BASELINE_LABELS[best[0]]) if best else (None, None)
            rows.append((f"share of {what} caught", entry.value, entry.low, entry.high, *baseline))
    if not rows:
        return unavailable(name, topic, evaluation.metrics["recall"].reason or "")
    schema = {
        "what": pl.String,
        "share": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "baseline": pl.Float64,
        "by": pl.String,
    }
    data = pl.DataFrame(rows, schema=schema, orient="row")
    title = verdict(evaluation).headline
    caption = (
        "Bars: the model. Black lines: 95 % intervals. Grey marks: the best baseline with as many alerts, which are"
        " random or on the largest amounts."
    )
    return Section(name, topic, title, caption, plots.caught(data, title), data=data)


def _precision_recall(evidence: Evidence) -> Section:
    name, topic, evaluation = "precision-recall", "Precision and recall", evidence.evaluation
    reason = tables.missing(evidence.scored, "rows", "frauds", "legitimate")
    if reason:
        return unavailable(name, topic, reason)
    data = tables.precision_recall(evidence.scored, evidence.evaluate)
    half = data.row(by_predicate=pl.col("recall") == 0.5, named=True)
    title = (
        f"When half of the frauds are caught, {percent(half['precision'])} of the alerts are fraud; "
        f"with alerts on the largest amounts it would be {percent(half['largest_amount'])}"
    )
    recall, precision = (evaluation.metrics[key].value for key in ("recall", "precision"))
    at = None if recall is None or precision is None else (recall, precision)
    ranking = "average_precision"
    baselines = [
        f"{BASELINE_LABELS[baseline]} {render_metric(ranking, evaluation.baselines[baseline][ranking]).value}"
        for baseline in ("largest_amount", "random")
    ]
    average = render_metric(ranking, evaluation.metrics[ranking]).with_interval
    caption = f"Average precision {average}; {', '.join(baselines)}."
    caption += " Band: 95 % interval at each recall." if data["low"].is_not_null().any() else ""
    caption += " Dot: the model's alerts." if at else ""
    return Section(name, topic, title, caption, plots.precision_recall(data, title, at=at), data=data)


def _workload(evidence: Evidence) -> Section:
    name, topic, scored = "workload", "Fraud caught by number of alerts", evidence.scored
    reason = tables.missing(scored, "rows", "frauds")
    if reason:
        return unavailable(name, topic, reason)
    own, budget, unit = _own_alerts(evidence), _budget(evidence), tables.workload_unit(scored)
    marks = [budget * times for times in _MULTIPLES]
    data = tables.workload(scored, evidence.evaluate, marks=[*marks, 1.2 * own])
    row = data.sort((pl.col("alerts") - budget).abs()).row(0, named=True)
    has_money = row["money"] is not None
    title = (
        f"At {_alerts_in_words(row['alerts'], unit)}, {percent(row['frauds'])} of frauds"
        + (f" and {percent(row['money'])} of their money" if has_money else "")
        + f" are caught; alerts on the largest amounts would catch {percent(row['frauds_largest_amount'])}"
        + (f" and {percent(row['money_largest_amount'])}" if has_money else "")
    )
    metrics = evidence.evaluation.metrics
    own_catch = (own, metrics["recall"].value, metrics["value_detection_rate"].value)
    caption = (
        "Each number of alerts corresponds to one threshold for all days, chosen in hindsight. Dot: the model's own"
        " alerts, with the threshold that was set before these days. Band: 95 % interval. Grey: alerts on the largest"
        " amounts."
    )
    picture = plots.workload(data, title, unit=unit, own=own_catch)
    return Section(name, topic, title, caption, picture, _workload_table(data, marks, unit), data)


def _alerts_in_words(alerts: float, unit: str) -> str:
    count = per_day(alerts)
    return f"{count} {unit.replace('s ', ' ', 1) if count == '1' else unit}"


def _own_alerts(evidence: Evidence) -> float:
    daily = evidence.evaluation.alerts_a_day.mean
    return daily if daily is not None else 1_000 * float(evidence.scored.select(pl.col("alert").mean()).item())


def _budget(evidence: Evidence) -> float:
    """Return the alert budget; if the policy has none, the number of the model's own alerts."""
    capacity = evidence.scorer.policy.kind == "capacity" and "ts" in evidence.scored.columns
    return float(evidence.evaluation.policy.cards_per_day) if capacity else max(_own_alerts(evidence), 0.1)


def _workload_table(data: pl.DataFrame, marks: list[float], unit: str) -> TextTable:
    rows = tuple(
        (
            per_day(row["alerts"]),
            *(share(row[what], row[f"{what}_low"], row[f"{what}_high"]) for what in ("frauds", "money")),
        )
        for row in data.filter(pl.col("alerts").is_in(marks)).iter_rows(named=True)
    )
    return TextTable((unit, "frauds caught", "money caught"), rows)


def _calibration(evidence: Evidence) -> Section:
    name, topic, scored, evaluation = "calibration", "Calibration", evidence.scored, evidence.evaluation
    reason = tables.missing(scored, "rows", "probabilities", "frauds", "legitimate")
    if reason:
        return unavailable(name, topic, reason)
    data = tables.calibration(scored)
    if data.is_empty():
        return unavailable(name, topic, f"{evaluation.frauds:,} known frauds are too few for a calibration curve")
    observed = evaluation.metrics["observed_over_expected_frauds"]
    times = render_metric("observed_over_expected_frauds", observed, write=ratio)
    title = f"{_calibrated(observed)}: {times.value} times as many frauds as predicted"
    title += f" ({times.interval})" if times.interval else ""
    slope = evaluation.metrics["calibration_slope"]
    fewest, most = cast(int, data["rows"].min()), cast(int, data["rows"].max())
    caption = (
        f"{data.height} bins of {fewest:,} to {most:,} transactions, with equally many predicted frauds in each."
        " Bars: Wilson's 95 % interval, assuming independent transactions. Grey line: perfectly calibrated; scores of"
        " points above it are too low."
    )
    if slope.value is not None:
        caption += f" Calibration slope {render_metric('calibration_slope', slope, write=ratio).value}; 1 is ideal."
    table = TextTable(
        ("mean score", "transactions", "frauds", "fraud rate", "95 % interval"),
        tuple(
            (
                percent(row["score"]),
                f"{row['rows']:,}",
                f"{row['frauds']:,}",
                percent(row["observed"]),
                between(row["low"], row["high"]),
            )
            for row in data.iter_rows(named=True)
        ),
    )
    return Section(name, topic, title, caption, plots.calibration(data, title), table, data)


def _calibrated(observed_over_expected: MetricValue) -> str:
    low, high = observed_over_expected.low, observed_over_expected.high
    if low is None or high is None:
        return "Too few frauds to judge the calibration"
    if low <= 1 <= high:
        return "Scores can be read as probabilities"
    return "Scores are too low" if low > 1 else "Scores are too high"


def _scores(evidence: Evidence) -> Section:
    name, topic = "scores", "Score distribution"
    reason = tables.missing(evidence.scored, "rows", "probabilities", "frauds", "legitimate")
    if reason:
        return unavailable(name, topic, reason)
    data = tables.distribution(evidence.scored)
    measured = evidence.scored.filter(counted(evidence.scored))
    middle = float(measured.filter(pl.col("is_fraud") == 1)["score"].median())  # type: ignore[arg-type]
    below = float((measured.filter(pl.col("is_fraud") == 0)["score"] < middle).mean())  # type: ignore[arg-type]
    title = (
        f"Half of the frauds score {percent(middle)} or more; {percent(below)} of legitimate transactions score lower"
    )
    threshold = evidence.scorer.policy.value
    line = (
        f"Dashed: the threshold, {percent(threshold)}."
        if threshold is not None and threshold <= 1
        else "The threshold depends on the amount."
    )
    caption = f"Share of each class by score, in bins of equal width in log-odds. {line}"
    return Section(name, topic, title, caption, plots.scores(data, title, threshold=threshold), data=data)
