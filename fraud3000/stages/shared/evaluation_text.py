"""Summary of an evaluation on the terminal: what is caught, and every metric with its best baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fraud3000.metrics.catalogue import display_name
from fraud3000.report.verdict import BASELINES, best_baseline
from fraud3000.stages.shared.summary import Table


def facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of the summary from metrics.json: what is caught, with how many alerts, on which rows."""
    rows, excluded, removed = report["rows"], report["excluded"], report["compromised_cards"]
    share = f" ({report['prevalence']:.2%})" if rows else ""
    return {
        "model version": report["model_version"],
        "caught by alerts": _caught(report, "metrics"),
        "largest amounts instead": _caught(report, "floors"),
        "alerts a day": _alerts(report["alerts_a_day"]),
        "test rows": f"{rows:,} measured, {report['alerts']:,} alerted, {report['frauds']:,} frauds" + share,
        "left out": {name.replace("_", " "): number for name, number in excluded.items()},
        "compromised cards": f"{removed['rule']} ({removed['rows']:,} rows)",
        "test span": " to ".join(report["test_span"]) if report["test_span"] else "random rows, the data has no time",
        "labels as known at": report["label_date"] or "any time: the data has no time",
        "intervals": f"95 %, {report['intervals']['replicates']} replicates by {' and '.join(report['intervals']['by'])}",
    }


def table(report: Mapping[str, Any]) -> Table:
    """Return a table of every metric with its interval, best baseline and notes."""
    rows = tuple(_row(name, metric, report) for name, metric in report["metrics"].items())
    return Table("What the scores are worth", ("metric", "value", "95 % interval", "best baseline", "note"), rows)


def warnings(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield warnings about the test rows and the alerts."""
    if not report["rows"]:
        yield "no test row has a known label yet: set a later evaluate.label_date, or an earlier test split"
    elif not report["frauds"]:
        yield "no test row is known to be fraud: most metrics cannot be computed"
    elif not report["alerts"]:
        yield "no measured row is alerted: the threshold is above every score"
    if report["intervals"]["by"] == ["row"]:
        yield f"intervals are {report['intervals']['note']}"


def _row(name: str, metric: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[str, ...]:
    if metric["value"] is None:
        return display_name(name), "–", "", "", metric["reason"]
    interval = f"{_number(metric['low'])} – {_number(metric['high'])}" if metric["low"] is not None else ""
    notes = [f"by {metric['by']}" if "by" in metric else metric.get("reason", "")]
    notes += [f"ceiling {_number(metric['ceiling'])}"] if "ceiling" in metric else []
    return display_name(name), _number(metric["value"]), interval, _baseline(name, report), ", ".join(notes)


def _baseline(name: str, report: Mapping[str, Any]) -> str:
    best = best_baseline(report, name)
    return f"{_number(best[1])} {BASELINES[best[0]]}" if best else ""


def _caught(report: Mapping[str, Any], where: str) -> str:
    metrics = report["metrics"] if where == "metrics" else report["floors"]["largest_amount"]
    recall, money = metrics["recall"], metrics["value_detection_rate"]
    if recall["value"] is None:
        return f"unknown: {recall['reason']}"
    return f"{_percent(recall)} of frauds" + (
        f", {_percent(money)} of their money" if money["value"] is not None else ""
    )


def _percent(entry: Mapping[str, Any]) -> str:
    if entry.get("low") is None:
        return f"{entry['value']:.1%}"
    return f"{entry['value']:.1%} ({entry['low']:.1%} – {entry['high']:.1%})"


def _alerts(alerts: Mapping[str, Any]) -> str:
    if alerts["mean"] is None:
        return f"unknown: {alerts['reason']}"
    spread = "" if alerts["sd"] is None else f" ± {alerts['sd']:.1f}"
    return f"{alerts['mean']:.1f}{spread} {alerts['unit']}, over {alerts['days']} days"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
