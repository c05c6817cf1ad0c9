"""The evidence, section by section: a finding in words, a picture, a table, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import polars as pl

from fraud3000.metrics.scored_arrays import counted
from fraud3000.report import breakdown, plots, tables, weekly
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import between, number, per_day, percent, share
from fraud3000.report.section import Section, Shown, without
from fraud3000.report.verdict import CAUGHT, FLOORS, best_floor, verdict

_MULTIPLES = (0.25, 0.5, 1, 2, 3)
"""Of the alert budget: the rows of the workload's table."""
_FLOOR_MARKS = {"largest_amount": "largest amounts", "random": "at random"}


def sections(evidence: Evidence) -> list[Section]:
    """Make every section; one that cannot be made says why."""
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
        yield without(weekly.NAME, weekly.TOPIC, evidence.backtest)
    elif evidence.backtest is not None:
        yield weekly.section(evidence.backtest)


def _caught(evidence: Evidence) -> Section:
    name, topic, metrics = "caught", "What is caught", evidence.metrics
    rows = []
    for metric, what in CAUGHT.items():
        entry, floor = metrics["metrics"][metric], best_floor(metrics, metric)
        if entry["value"] is not None:
            ends = (entry.get("low"), entry.get("high"))
            by = (floor[1], _FLOOR_MARKS[floor[0]]) if floor else (None, None)
            rows.append((f"share of {what} caught", entry["value"], *ends, *by))
    if not rows:
        return without(name, topic, metrics["metrics"]["recall"]["reason"])
    kinds = {
        "what": pl.String,
        "share": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "floor": pl.Float64,
        "by": pl.String,
    }
    data = pl.DataFrame(rows, schema=kinds, orient="row")
    title = verdict(metrics).headline
    said = "Bars: the model. Black lines: 95 % intervals. Grey marks: as many alerts without the model, the best of random ones and the largest amounts."
    return Section(name, topic, title, said, plots.caught(data, title), data=data)


def _precision_recall(evidence: Evidence) -> Section:
    name, topic, metrics = "precision-recall", "Precision and recall", evidence.metrics
    reason = tables.missing(evidence.scored, "rows", "frauds", "legitimate")
    if reason:
        return without(name, topic, reason)
    data = tables.precision_recall(evidence.scored, evidence.params.evaluate)
    half = data.row(by_predicate=pl.col("recall") == 0.5, named=True)
    title = (
        f"Where half of the frauds are found, {percent(half['precision'])} of the alerts are fraud; "
        f"by the largest amounts it would be {percent(half['largest_amount'])}"
    )
    found = {key: metrics["metrics"][key]["value"] for key in ("recall", "precision")}
    at = (found["recall"], found["precision"]) if None not in found.values() else None
    average = metrics["metrics"]["average_precision"]
    ends = f" ({number(average['low'])} – {number(average['high'])})" if average.get("low") is not None else ""
    floors = [
        f"{_FLOOR_MARKS[floor]} {number(metrics['floors'][floor]['average_precision']['value'])}"
        for floor in _FLOOR_MARKS
    ]
    said = f"Average precision {number(average['value'])}{ends}; {', '.join(floors)}."
    said += " Band: 95 % interval at each recall." if data["low"].is_not_null().any() else ""
    said += " Dot: the model's alerts." if at else ""
    return Section(name, topic, title, said, plots.precision_recall(data, title, at=at), data=data)


def _workload(evidence: Evidence) -> Section:
    name, topic, scored = "workload", "Alerts and what they catch", evidence.scored
    reason = tables.missing(scored, "rows", "frauds")
    if reason:
        return without(name, topic, reason)
    own, budget, unit = _own_alerts(evidence), _budget(evidence), tables.workload_unit(scored)
    marks = [budget * times for times in _MULTIPLES]
    data = tables.workload(scored, evidence.params.evaluate, marks=[*marks, 1.2 * own])
    row = data.sort((pl.col("alerts") - budget).abs()).row(0, named=True)
    has_money = row["money"] is not None
    title = (
        f"At {_so_many(row['alerts'], unit)}, {percent(row['frauds'])} of frauds"
        + (f" and {percent(row['money'])} of their money" if has_money else "")
        + f" are caught; the largest amounts alone would catch {percent(row['frauds_largest_amount'])}"
        + (f" and {percent(row['money_largest_amount'])}" if has_money else "")
    )
    found = evidence.metrics["metrics"]
    mine = (own, found["recall"]["value"], found["value_detection_rate"]["value"])
    said = (
        "Each number of alerts stands for one threshold on all days, found in hindsight. Dot: the model's own alerts,"
        " whose threshold was set before these days. Band: 95 % interval. Grey: alerts on the largest amounts."
    )
    drawn = plots.workload(data, title, unit=unit, own=mine)
    return Section(name, topic, title, said, drawn, _workload_shown(data, marks, unit), data)


def _so_many(alerts: float, unit: str) -> str:
    said = per_day(alerts)
    return f"{said} {unit.replace('s ', ' ', 1) if said == '1' else unit}"


def _own_alerts(evidence: Evidence) -> float:
    daily = evidence.metrics["alerts_a_day"]["mean"]
    return float(daily) if daily is not None else 1_000 * float(evidence.scored.select(pl.col("alert").mean()).item())


def _budget(evidence: Evidence) -> float:
    """Give the alert budget; where the policy has none, the model's own alerts."""
    capacity = evidence.scorer.policy.kind == "capacity" and "ts" in evidence.scored.columns
    return float(evidence.params.policy.cards_per_day) if capacity else max(_own_alerts(evidence), 0.1)


def _workload_shown(data: pl.DataFrame, marks: list[float], unit: str) -> Shown:
    rows = tuple(
        (
            per_day(row["alerts"]),
            *(share(row[what], row[f"{what}_low"], row[f"{what}_high"]) for what in ("frauds", "money")),
        )
        for row in data.filter(pl.col("alerts").is_in(marks)).iter_rows(named=True)
    )
    return Shown((unit, "frauds caught", "money caught"), rows)


def _calibration(evidence: Evidence) -> Section:
    name, topic, scored, metrics = "calibration", "Calibration", evidence.scored, evidence.metrics["metrics"]
    reason = tables.missing(scored, "rows", "probabilities", "frauds", "legitimate")
    if reason:
        return without(name, topic, reason)
    data = tables.calibration(scored)
    if data.is_empty():
        return without(name, topic, f"{evidence.metrics['frauds']:,} known frauds are too few for a calibration curve")
    ratio = metrics["observed_over_expected_frauds"]
    title = f"{_calibrated(ratio)}: {ratio['value']:.2f} frauds for each one that the scores expect"
    title += f" ({ratio['low']:.2f} – {ratio['high']:.2f})" if ratio.get("low") is not None else ""
    slope = metrics["calibration_slope"]["value"]
    fewest, most = cast(int, data["rows"].min()), cast(int, data["rows"].max())
    said = (
        f"Each bin expects as many frauds as the others; {data.height} bins of {fewest:,} to"
        f" {most:,} transactions. Bars: Wilson's 95 % interval, as if transactions were independent."
        " Grey line: scores that come true; points above it are scores that are too low."
    )
    said += f" Calibration slope {slope:.2f}; 1 is ideal." if slope is not None else ""
    shown = Shown(
        ("mean score", "transactions", "frauds", "observed", "95 % interval"),
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
    return Section(name, topic, title, said, plots.calibration(data, title), shown, data)


def _calibrated(ratio: dict[str, float]) -> str:
    low, high = ratio.get("low"), ratio.get("high")
    if low is None or high is None:
        return "Too few frauds to judge the scores as probabilities"
    if low <= 1 <= high:
        return "Scores can be read as probabilities"
    return "Scores are too low" if low > 1 else "Scores are too high"


def _scores(evidence: Evidence) -> Section:
    name, topic = "scores", "Scores"
    reason = tables.missing(evidence.scored, "rows", "probabilities", "frauds", "legitimate")
    if reason:
        return without(name, topic, reason)
    data = tables.distribution(evidence.scored)
    measured = evidence.scored.filter(counted(evidence.scored))
    middle = float(measured.filter(pl.col("is_fraud") == 1)["score"].median())  # type: ignore[arg-type]
    below = float((measured.filter(pl.col("is_fraud") == 0)["score"] < middle).mean())  # type: ignore[arg-type]
    title = (
        f"Half of the frauds score {percent(middle)} or more; {percent(below)} of legitimate transactions score less"
    )
    threshold = evidence.scorer.policy.value
    line = (
        f"Dashed: the threshold, {percent(threshold)}."
        if threshold is not None and threshold <= 1
        else "The threshold depends on the amount."
    )
    said = f"Share of each class by score, in bins of even width in log-odds. {line}"
    return Section(name, topic, title, said, plots.scores(data, title, threshold=threshold), data=data)


def figures(evidence: Evidence) -> Shown:
    """Lay out every metric with its interval and its best floor."""
    from fraud3000.metrics.catalogue import display_name

    rows = []
    for name, entry in evidence.metrics["metrics"].items():
        if entry["value"] is None:
            rows.append((display_name(name).strip(), "–", "", "", entry["reason"]))
            continue
        ends = f"{number(entry['low'])} – {number(entry['high'])}" if entry.get("low") is not None else ""
        floor = best_floor(evidence.metrics, name)
        notes = [f"by {entry['by']}" if "by" in entry else entry.get("reason", "")]
        notes += [f"ceiling {number(entry['ceiling'])}"] if "ceiling" in entry else []
        said = f"{number(floor[1])} {FLOORS[floor[0]]}" if floor else ""
        rows.append((display_name(name).strip(), number(entry["value"]), ends, said, ", ".join(notes)))
    return Shown(("metric", "value", "95 % interval", "best floor", "note"), tuple(rows))
