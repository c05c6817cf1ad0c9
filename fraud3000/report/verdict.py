"""Conclusion of the report: what the alerts catch, compared with the best baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraud3000.report.evidence import describe_alerts
from fraud3000.report.formatting import interval, listed, number, percent

BASELINES = {"random": "random", "largest_amount": "largest", "always": "always", "never": "never"}
"""Names of the baselines in a table, by their keys in metrics.json."""
EQUAL_ALERTS = ("random", "largest_amount")
"""Baselines with as many alerts as the model: a fair comparison of what alerts catch."""
_IN_WORDS = {"random": "random alerts", "largest_amount": "the largest amounts"}
FEW = 30
"""With fewer frauds than this, the conclusion warns that they are few."""
CAUGHT = {"recall": "frauds", "value_detection_rate": "money"}
"""The two metrics of the conclusion, and what they are a share of."""


@dataclass(frozen=True)
class ReportVerdict:
    """Sentences at the top of the report; all but the headline may be empty.

    Attributes
    ----------
    headline
        Share of frauds and money caught, and the number of alerts.
    budget
        What the daily alert budget would catch.
    baseline
        What the same number of alerts would catch without the model.
    warning
        Why the model must not be used as it is.
    caveat
        What the evaluated rows leave uncertain.
    """

    headline: str
    budget: str = ""
    baseline: str = ""
    warning: str = ""
    caveat: str = ""


def best_baseline(metrics: Mapping[str, Any], name: str) -> tuple[str, float] | None:
    """Return the best baseline of a metric and its value; None if no baseline has a value.

    Savings are compared with every baseline, other metrics with those that alert as many rows.

    Examples
    --------
    >>> best_baseline({"floors": {"random": {"recall": {"value": 0.1}}, "largest_amount": {"recall": {"value": 0.3}}}}, "recall")
    ('largest_amount', 0.3)
    """
    comparable = BASELINES if name == "savings" else EQUAL_ALERTS
    floors = metrics["floors"]
    values = {baseline: floors[baseline][name]["value"] for baseline in comparable if name in floors.get(baseline, {})}
    known = {baseline: value for baseline, value in values.items() if value is not None}
    return max(known.items(), key=lambda item: item[1]) if known else None


def verdict(metrics: Mapping[str, Any]) -> ReportVerdict:
    """Write the sentences at the top of the report.

    Parameters
    ----------
    metrics
        The content of metrics.json.
    """
    values = metrics["metrics"]
    if values["recall"]["value"] is None:
        headline = f"The model cannot be evaluated: {values['recall']['reason']}."
        return ReportVerdict(headline, warning=_without_frauds(metrics))
    if not metrics["alerts"]:
        return ReportVerdict(
            f"The model alerts on none of the {metrics['rows']:,} evaluated transactions, so it catches no fraud.",
            warning="No score reaches the threshold: with this policy, the model is of no use.",
        )
    headline = f"With {describe_alerts(metrics)}, the model catches {_caught(values)}."
    below, overlapping = _compare(metrics)
    return ReportVerdict(
        headline, _budget(metrics), _baseline(metrics), _warning(metrics, below), _caveat(metrics, overlapping)
    )


def _without_frauds(metrics: Mapping[str, Any]) -> str:
    if not metrics["rows"]:
        return "Set a later evaluate.label_date, or an earlier test split."
    return f"None of the {metrics['rows']:,} evaluated transactions is known to be fraud. Use a longer test split."


def _budget(metrics: Mapping[str, Any]) -> str:
    policy = metrics["policy"]
    if policy["threshold"] != "capacity" or metrics["metrics"]["recall_at_alert_budget"]["value"] is None:
        return ""
    unit = "card" if metrics["alerts_a_day"]["unit"] == "cards" else "transaction"
    many, plural = (f"{policy['cards_per_day']:,} ", "s") if policy["cards_per_day"] > 1 else ("", "")
    caught = _caught(metrics["metrics"], "_at_alert_budget")
    return f"Reviewing the {many}highest-scoring {unit}{plural} of each day (the alert budget) would catch {caught}."


def _caught(values: Mapping[str, Any], suffix: str = "") -> str:
    parts = [
        f"{interval(values[name + suffix])} of {what}"
        for name, what in CAUGHT.items()
        if values[name + suffix]["value"] is not None
    ]
    return " and ".join(parts).replace("of money", "of their money")


def _baseline(metrics: Mapping[str, Any]) -> str:
    best = {what: best_baseline(metrics, name) for name, what in CAUGHT.items()}
    known = {what: baseline for what, baseline in best.items() if baseline}
    if not known:
        return ""
    if len({baseline for baseline, _ in known.values()}) == 1:
        baseline = next(iter(known.values()))[0]
        caught = " and ".join(f"{percent(value)} of {what}" for what, (_, value) in known.items())
        return f"Without the model, as many alerts on {_transactions(baseline)} would catch {caught}."
    caught = " and ".join(
        f"{percent(value)} of {what} ({_IN_WORDS[baseline]})" for what, (baseline, value) in known.items()
    )
    return f"Without the model, as many alerts would catch at best {caught}."


def _transactions(baseline: str) -> str:
    return "random transactions" if baseline == "random" else _IN_WORDS[baseline]


def _compare(metrics: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the metrics in which a baseline is as good, and those whose interval includes a baseline."""
    below, overlapping = [], []
    for name, what in {**CAUGHT, "average_precision": "average precision"}.items():
        entry, baseline = metrics["metrics"][name], best_baseline(metrics, name)
        if entry["value"] is None or baseline is None:
            continue
        if entry["value"] <= baseline[1]:
            below.append(name)
        elif entry.get("low") is not None and entry["low"] <= baseline[1]:
            overlapping.append(what)
    return below, overlapping


def _warning(metrics: Mapping[str, Any], below: list[str]) -> str:
    savings = metrics["metrics"]["savings"]["value"]
    losing = "The alerts cost more than they save." if savings is not None and savings < 0 else ""
    if not below:
        return losing
    reasons = []
    for name in below:
        baseline, value = best_baseline(metrics, name) or ("", 0.0)
        own = metrics["metrics"][name]["value"]
        if name == "average_precision":
            reasons.append(f"an average precision of {number(own)} against {number(value)} for {_IN_WORDS[baseline]}")
        else:
            reasons.append(f"{percent(own)} of {CAUGHT[name]} against {percent(value)} for {_IN_WORDS[baseline]}")
    return f"The model does not beat the best baseline: {listed(reasons)}. {losing}".rstrip()


def _caveat(metrics: Mapping[str, Any], overlapping: list[str]) -> str:
    sentences = []
    if metrics["split_by"] == "random":
        sentences.append("The split is random because the data has no time: this overstates the results of any model.")
    if metrics["frauds"] < FEW:
        frauds = "1 fraud was" if metrics["frauds"] == 1 else f"{metrics['frauds']:,} frauds were"
        sentences.append(f"Only {frauds} evaluated: these results could be due to chance.")
    elif overlapping:
        sentences.append(
            f"The difference from the best baseline could be due to chance for {listed(overlapping)}: "
            "the interval includes the baseline."
        )
    return " ".join(sentences)
