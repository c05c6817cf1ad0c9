"""Sections of the report: a finding in one sentence, a plot, a table, and the data behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import polars as pl

from fraud3000.metrics.scored_arrays import counted
from fraud3000.report import breakdown, plots, tables, weekly
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import between, number, per_day, percent, share
from fraud3000.report.section import Section, TextTable, unavailable
from fraud3000.report.verdict import BASELINES, CAUGHT, best_baseline, verdict

_MULTIPLES = (0.25, 0.5, 1, 2, 3)
"""Multiples of the alert budget in the table of alerts and catches."""
_BASELINE_LABELS = {"largest_amount": "largest amounts", "random": "at random"}


def sections(evidence: Evidence) -> list[Section]:
    """Compute every section; one that cannot be computed states why."""
    return [
        _caught(evidence),
        _precision_recall(evidence),
        _workload(evidence),
        _calibration(evidence),
        _scores(evidence),
        breakdown.weeks(evidence),
        *_backtest(evidence),
        breakdown.amounts(evidence),
        *breakdown.categories(evidence),
        breakdown.features(evidence),
    ]


def _backtest(evidence: Evidence) -> Iterator[Section]:
    if isinstance(evidence.backtest, str):
        yield unavailable(weekly.NAME, weekly.TOPIC, evidence.backtest)
    elif evidence.backtest is not None:
        yield weekly.section(evidence.backtest)


def _caught(evidence: Evidence) -> Section:
    name, topic, metrics = "caught", "Fraud caught", evidence.metrics
    rows = []
    for metric, what in CAUGHT.items():
        entry, best = metrics["metrics"][metric], best_baseline(metrics, metric)
        if entry["value"] is not None:
            ends = (entry.get("low"), entry.get("high"))
            baseline = (best[1], _BASELINE_LABELS[best[0]]) if best else (None, None)
            rows.append((f"share of {what} caught", entry["value"], *ends, *baseline))
    if not rows:
        return unavailable(name, topic, metrics["metrics"]["recall"]["reason"])
    schema = {
        "what": pl.String,
        "share": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "floor": pl.Float64,
        "by": pl.String,
    }
    data = pl.DataFrame(rows, schema=schema, orient="row")
    title = verdict(metrics).headline
    caption = (
        "Bars: the model. Black lines: 95 % intervals. Grey marks: the best baseline with as many alerts, which are"
        " random or on the largest amounts."
    )
    return Section(name, topic, title, caption, plots.caught(data, title), data=data)


def _precision_recall(evidence: Evidence) -> Section:
    name, topic, metrics = "precision-recall", "Precision and recall", evidence.metrics
    reason = tables.missing(evidence.scored, "rows", "frauds", "legitimate")
    if reason:
        return unavailable(name, topic, reason)
    data = tables.precision_recall(evidence.scored, evidence.params.evaluate)
    half = data.row(by_predicate=pl.col("recall") == 0.5, named=True)
    title = (
        f"When half of the frauds are caught, {percent(half['precision'])} of the alerts are fraud; "
        f"with alerts on the largest amounts it would be {percent(half['largest_amount'])}"
    )
    own = {key: metrics["metrics"][key]["value"] for key in ("recall", "precision")}
    at = (own["recall"], own["precision"]) if None not in own.values() else None
    average = metrics["metrics"]["average_precision"]
    ends = f" ({number(average['low'])} – {number(average['high'])})" if average.get("low") is not None else ""
    baselines = [
        f"{label} {number(metrics['floors'][baseline]['average_precision']['value'])}"
        for baseline, label in _BASELINE_LABELS.items()
    ]
    caption = f"Average precision {number(average['value'])}{ends}; {', '.join(baselines)}."
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
    data = tables.workload(scored, evidence.params.evaluate, marks=[*marks, 1.2 * own])
    row = data.sort((pl.col("alerts") - budget).abs()).row(0, named=True)
    has_money = row["money"] is not None
    title = (
        f"At {_alerts_in_words(row['alerts'], unit)}, {percent(row['frauds'])} of frauds"
        + (f" and {percent(row['money'])} of their money" if has_money else "")
        + f" are caught; alerts on the largest amounts would catch {percent(row['frauds_largest_amount'])}"
        + (f" and {percent(row['money_largest_amount'])}" if has_money else "")
    )
    metrics = evidence.metrics["metrics"]
    own_catch = (own, metrics["recall"]["value"], metrics["value_detection_rate"]["value"])
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
    daily = evidence.metrics["alerts_a_day"]["mean"]
    return float(daily) if daily is not None else 1_000 * float(evidence.scored.select(pl.col("alert").mean()).item())


def _budget(evidence: Evidence) -> float:
    """Return the alert budget; if the policy has none, the number of the model's own alerts."""
    capacity = evidence.scorer.policy.kind == "capacity" and "ts" in evidence.scored.columns
    return float(evidence.params.policy.cards_per_day) if capacity else max(_own_alerts(evidence), 0.1)


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
    name, topic, scored, metrics = "calibration", "Calibration", evidence.scored, evidence.metrics["metrics"]
    reason = tables.missing(scored, "rows", "probabilities", "frauds", "legitimate")
    if reason:
        return unavailable(name, topic, reason)
    data = tables.calibration(scored)
    if data.is_empty():
        return unavailable(
            name, topic, f"{evidence.metrics['frauds']:,} known frauds are too few for a calibration curve"
        )
    ratio = metrics["observed_over_expected_frauds"]
    title = f"{_calibrated(ratio)}: {ratio['value']:.2f} times as many frauds as predicted"
    title += f" ({ratio['low']:.2f} – {ratio['high']:.2f})" if ratio.get("low") is not None else ""
    slope = metrics["calibration_slope"]["value"]
    fewest, most = cast(int, data["rows"].min()), cast(int, data["rows"].max())
    caption = (
        f"{data.height} bins of {fewest:,} to {most:,} transactions, with equally many predicted frauds in each."
        " Bars: Wilson's 95 % interval, assuming independent transactions. Grey line: perfectly calibrated; scores of"
        " points above it are too low."
    )
    caption += f" Calibration slope {slope:.2f}; 1 is ideal." if slope is not None else ""
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


def _calibrated(ratio: dict[str, float]) -> str:
    low, high = ratio.get("low"), ratio.get("high")
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


def figures(evidence: Evidence) -> TextTable:
    """Return the table of every metric with its interval and its best baseline."""
    from fraud3000.metrics.catalogue import display_name

    rows = []
    for name, entry in evidence.metrics["metrics"].items():
        if entry["value"] is None:
            rows.append((display_name(name).strip(), "–", "", "", entry["reason"]))
            continue
        ends = f"{number(entry['low'])} – {number(entry['high'])}" if entry.get("low") is not None else ""
        best = best_baseline(evidence.metrics, name)
        notes = [f"by {entry['by']}" if "by" in entry else entry.get("reason", "")]
        notes += [f"ceiling {number(entry['ceiling'])}"] if "ceiling" in entry else []
        baseline = f"{number(best[1])} {BASELINES[best[0]]}" if best else ""
        rows.append((display_name(name).strip(), number(entry["value"]), ends, baseline, ", ".join(notes)))
    return TextTable(("metric", "value", "95 % interval", "best baseline", "note"), tuple(rows))
