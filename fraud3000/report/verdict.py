"""The verdict: what the alerts catch, against the best that needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraud3000.report.evidence import alerts_in_words
from fraud3000.report.formatting import interval, listed, number, percent

FLOORS = {"random": "random", "largest_amount": "largest", "always": "always", "never": "never"}
"""Floors and what they are called in a table."""
EQUAL_ALERTS = ("random", "largest_amount")
"""Floors that alert as many rows as the model: the fair ones for what alerts catch."""
_IN_WORDS = {"random": "random alerts", "largest_amount": "the largest amounts"}
FEW = 30
"""With fewer frauds than this the verdict says that they are few."""
CAUGHT = {"recall": "frauds", "value_detection_rate": "money"}
"""The two metrics of the verdict and what they are a share of."""


@dataclass(frozen=True)
class ReportVerdict:
    """What the top of the report says.

    Attributes
    ----------
    headline
        What is caught at how many alerts.
    budget
        What the alert budget catches, spent anew each day; empty where the policy has none.
    against
        What as many alerts would catch without the model.
    bad
        Why the model must not be used as it is; empty where nothing speaks against it.
    doubt
        What the rows leave open; empty where nothing.
    """

    headline: str
    budget: str = ""
    against: str = ""
    bad: str = ""
    doubt: str = ""


def best_floor(metrics: Mapping[str, Any], name: str) -> tuple[str, float] | None:
    """Give the best floor of a metric and its value; None where no floor has one.

    Savings are compared with every floor, all else with those that alert as many rows.

    Examples
    --------
    >>> best_floor({"floors": {"random": {"recall": {"value": 0.1}}, "largest_amount": {"recall": {"value": 0.3}}}}, "recall")
    ('largest_amount', 0.3)
    """
    fair = FLOORS if name == "savings" else EQUAL_ALERTS
    floors = metrics["floors"]
    values = {floor: floors[floor][name]["value"] for floor in fair if name in floors.get(floor, {})}
    known = {floor: value for floor, value in values.items() if value is not None}
    return max(known.items(), key=lambda item: item[1]) if known else None


def verdict(metrics: Mapping[str, Any]) -> ReportVerdict:
    """Put the verdict into sentences.

    Parameters
    ----------
    metrics
        The content of metrics.json.
    """
    found = metrics["metrics"]
    if found["recall"]["value"] is None:
        return ReportVerdict(f"There is no verdict: {found['recall']['reason']}.", bad=_nothing_known(metrics))
    if not metrics["alerts"]:
        return ReportVerdict(
            f"The model alerts none of the {metrics['rows']:,} measured transactions, so it catches no fraud.",
            bad="No score reaches the threshold: the model is of no use with this policy.",
        )
    headline = f"With {alerts_in_words(metrics)}, the model catches {_caught(found)}."
    below, level = _compared(metrics)
    return ReportVerdict(headline, _budget(metrics), _against(metrics), _bad(metrics, below), _doubt(metrics, level))


def _nothing_known(metrics: Mapping[str, Any]) -> str:
    if not metrics["rows"]:
        return "Set a later evaluate.label_date, or an earlier test split."
    return f"None of the {metrics['rows']:,} measured transactions is known to be fraud: take a longer test split."


def _budget(metrics: Mapping[str, Any]) -> str:
    policy = metrics["policy"]
    if policy["threshold"] != "capacity" or metrics["metrics"]["recall_at_alert_budget"]["value"] is None:
        return ""
    unit = "card" if metrics["alerts_a_day"]["unit"] == "cards" else "transaction"
    many, s = (f"{policy['cards_per_day']:,} ", "s") if policy["cards_per_day"] > 1 else ("", "")
    caught = _caught(metrics["metrics"], "_at_alert_budget")
    return (
        f"The {many}{unit}{s} with the highest score{s} of each day, the alert budget, hold{'' if s else 's'} {caught}."
    )


def _caught(found: Mapping[str, Any], at: str = "") -> str:
    parts = [
        f"{interval(found[name + at])} of {what}"
        for name, what in CAUGHT.items()
        if found[name + at]["value"] is not None
    ]
    return " and ".join(parts).replace("of money", "of their money")


def _against(metrics: Mapping[str, Any]) -> str:
    best = {what: best_floor(metrics, name) for name, what in CAUGHT.items()}
    known = {what: floor for what, floor in best.items() if floor}
    if not known:
        return ""
    if len({floor for floor, _ in known.values()}) == 1:
        floor = next(iter(known.values()))[0]
        said = " and ".join(f"{percent(value)} of {what}" for what, (_, value) in known.items())
        return f"Without the model, as many alerts on {_named(floor)} would catch {said}."
    said = " and ".join(f"{percent(value)} of {what} ({_IN_WORDS[floor]})" for what, (floor, value) in known.items())
    return f"Without the model, as many alerts would catch {said} at best."


def _named(floor: str) -> str:
    return "random transactions" if floor == "random" else _IN_WORDS[floor]


def _compared(metrics: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Name what the model does no better than a floor, and what its interval does not tell apart."""
    below, level = [], []
    for name, what in {**CAUGHT, "average_precision": "average precision"}.items():
        entry, floor = metrics["metrics"][name], best_floor(metrics, name)
        if entry["value"] is None or floor is None:
            continue
        if entry["value"] <= floor[1]:
            below.append(name)
        elif entry.get("low") is not None and entry["low"] <= floor[1]:
            level.append(what)
    return below, level


def _bad(metrics: Mapping[str, Any], below: list[str]) -> str:
    savings = metrics["metrics"]["savings"]["value"]
    losing = "The alerts cost more than they save." if savings is not None and savings < 0 else ""
    if not below:
        return losing
    reasons = []
    for name in below:
        floor, value = best_floor(metrics, name) or ("", 0.0)
        own = metrics["metrics"][name]["value"]
        if name == "average_precision":
            reasons.append(f"an average precision of {number(own)} against {number(value)} by {_IN_WORDS[floor]}")
        else:
            reasons.append(f"{percent(own)} of {CAUGHT[name]} against {percent(value)} by {_IN_WORDS[floor]}")
    return f"The model is no better than no model: {listed(reasons)}. {losing}".rstrip()


def _doubt(metrics: Mapping[str, Any], level: list[str]) -> str:
    said = []
    if metrics["split_by"] == "random":
        said.append("The split is random since the data has no time: that flatters every model.")
    if metrics["frauds"] < FEW:
        frauds = "one fraud was" if metrics["frauds"] == 1 else f"{metrics['frauds']:,} frauds were"
        said.append(f"Only {frauds} measured: chance alone could give these figures.")
    elif level:
        said.append(
            f"These rows do not tell the model from no model by {listed(level)}: the interval reaches down to the floor."
        )
    return " ".join(said)
