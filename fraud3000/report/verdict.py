"""Conclusion of the report: what the alerts catch, compared with the best baseline."""

from __future__ import annotations

from dataclasses import dataclass

from fraud3000.metrics.evaluation import Evaluation, best_baseline
from fraud3000.report.formatting import listed, number, per_day, percent
from fraud3000.report.metric_text import CAUGHT, describe_catch

_IN_WORDS = {"random": "random alerts", "largest_amount": "the largest amounts"}
FEW = 30
"""With fewer frauds than this, the conclusion warns that they are few."""


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


def verdict(evaluation: Evaluation) -> ReportVerdict:
    """Write the sentences at the top of the report."""
    recall = evaluation.metrics["recall"]
    if recall.value is None:
        headline = f"The model cannot be evaluated: {recall.reason}."
        return ReportVerdict(headline, warning=_without_frauds(evaluation))
    if not evaluation.alerts:
        return ReportVerdict(
            f"The model alerts on none of the {evaluation.rows:,} evaluated transactions, so it catches no fraud.",
            warning="No score reaches the threshold: with this policy, the model is of no use.",
        )
    headline = f"With {_alerts(evaluation)}, the model catches {describe_catch(evaluation.metrics)}."
    below, overlapping = _compare(evaluation)
    return ReportVerdict(
        headline,
        _budget(evaluation),
        _baseline(evaluation),
        _warning(evaluation, below),
        _caveat(evaluation, overlapping),
    )


def _without_frauds(evaluation: Evaluation) -> str:
    if not evaluation.rows:
        return "Set a later evaluate.label_date, or an earlier test split."
    return f"None of the {evaluation.rows:,} evaluated transactions is known to be fraud. Use a longer test split."


def _alerts(evaluation: Evaluation) -> str:
    """Describe the number of alerts: cards or transactions a day; without time, a share of transactions."""
    daily = evaluation.alerts_a_day
    if daily.mean is None:
        return f"{percent(evaluation.alerts / evaluation.rows)} of transactions alerted"
    unit, count = "card" if daily.unit == "cards" else "transaction", per_day(daily.mean)
    return f"{count} {unit}{'' if count == '1' else 's'} alerted a day"


def _budget(evaluation: Evaluation) -> str:
    policy = evaluation.policy
    if policy.threshold != "capacity" or evaluation.metrics["recall_at_alert_budget"].value is None:
        return ""
    unit = "card" if evaluation.alerts_a_day.unit == "cards" else "transaction"
    many, plural = (f"{policy.cards_per_day:,} ", "s") if policy.cards_per_day > 1 else ("", "")
    caught = describe_catch(evaluation.metrics, "_at_alert_budget")
    return f"Reviewing the {many}highest-scoring {unit}{plural} of each day (the alert budget) would catch {caught}."


def _baseline(evaluation: Evaluation) -> str:
    best = {what: best_baseline(evaluation.baselines, name) for name, what in CAUGHT.items()}
    known = {what: baseline for what, baseline in best.items() if baseline}
    if not known:
        return ""
    if len({baseline for baseline, _ in known.values()}) == 1:
        baseline = next(iter(known.values()))[0]
        transactions = "random transactions" if baseline == "random" else _IN_WORDS[baseline]
        caught = " and ".join(f"{percent(value)} of {what}" for what, (_, value) in known.items())
        return f"Without the model, as many alerts on {transactions} would catch {caught}."
    caught = " and ".join(
        f"{percent(value)} of {what} ({_IN_WORDS[baseline]})" for what, (baseline, value) in known.items()
    )
    return f"Without the model, as many alerts would catch at best {caught}."


def _compare(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    """Return the metrics in which a baseline is as good, and those whose interval includes a baseline."""
    below, overlapping = [], []
    for name, what in {**CAUGHT, "average_precision": "average precision"}.items():
        entry, baseline = evaluation.metrics[name], best_baseline(evaluation.baselines, name)
        if entry.value is None or baseline is None:
            continue
        if entry.value <= baseline[1]:
            below.append(name)
        elif entry.low is not None and entry.low <= baseline[1]:
            overlapping.append(what)
    return below, overlapping


def _warning(evaluation: Evaluation, below: list[str]) -> str:
    savings = evaluation.metrics["savings"].value
    losing = "The alerts cost more than they save." if savings is not None and savings < 0 else ""
    if not below:
        return losing
    reasons = []
    for name in below:
        baseline, value = best_baseline(evaluation.baselines, name) or ("", 0.0)
        own = evaluation.metrics[name].value or 0.0
        if name == "average_precision":
            reasons.append(f"an average precision of {number(own)} against {number(value)} for {_IN_WORDS[baseline]}")
        else:
            reasons.append(f"{percent(own)} of {CAUGHT[name]} against {percent(value)} for {_IN_WORDS[baseline]}")
    return f"The model does not beat the best baseline: {listed(reasons)}. {losing}".rstrip()


def _caveat(evaluation: Evaluation, overlapping: list[str]) -> str:
    sentences = []
    if evaluation.split_by == "random":
        sentences.append("The split is random because the data has no time: this overstates the results of any model.")
    if evaluation.frauds < FEW:
        frauds = "1 fraud was" if evaluation.frauds == 1 else f"{evaluation.frauds:,} frauds were"
        sentences.append(f"Only {frauds} evaluated: these results could be due to chance.")
    elif overlapping:
        sentences.append(
            f"The difference from the best baseline could be due to chance for {listed(overlapping)}: "
            "the interval includes the baseline."
        )
    return " ".join(sentences)
