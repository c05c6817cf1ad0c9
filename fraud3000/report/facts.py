"""Facts of the report and the model card: data, labels, splits, model, policy, limitations, versions and hashes."""

from __future__ import annotations

from collections.abc import Mapping

from fraud3000 import durations
from fraud3000.metrics.evaluation import CompromisedCards
from fraud3000.models.inference.category_counts import TrainedColumn
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import day, listed, money, percent, span
from fraud3000.report.metric_text import describe_alerts
from fraud3000.report.verdict import FEW

Facts = list[tuple[str, str]]
_EXCLUDED = {
    "refund": "refunds",
    "label_unknown": "without a known label",
    "set_aside": "of cards already known to be compromised",
}


def data(evidence: Evidence) -> Facts:
    """List the rows, the labels, and what was excluded."""
    evaluation, catalogue = evidence.evaluation, evidence.scorer.catalogue
    label_date, test_span = evaluation.label_date, evaluation.test_span
    return [
        ("data", evidence.source),
        *([("rows by split", _counts(evidence.split_rows))] if evidence.split_rows else []),
        ("quarantined by prepare", _counts(evidence.refused) if evidence.refused else "none"),
        ("test span", span(*test_span) if test_span else "random rows (the data has no time)"),
        ("test rows evaluated", f"{evaluation.rows:,}, including {evaluation.frauds:,} frauds" + _rate(evaluation.prevalence)),
        ("test rows excluded", excluded(evidence)),
        ("label date", f"{day(label_date)} (labels as known on that day)" if label_date else "none (the data has no time)"),
        ("label delay", f"{durations.text(catalogue.label_delay)}, after which no report means legitimate"),
        ("compromised cards", _compromised(evaluation.compromised_cards)),
    ]  # fmt: skip


def _compromised(cards: CompromisedCards) -> str:
    if cards.rule == "keep":
        return "kept"
    since = f", for frauds since {day(cards.since)}" if cards.since else ""
    return f"excluded once their fraud is known{since}"


def _rate(prevalence: float | None) -> str:
    return "" if prevalence is None else f" ({percent(prevalence)})"


def excluded(evidence: Evidence) -> str:
    """Describe how many test rows are not evaluated, and why."""
    parts = [f"{count:,} {_EXCLUDED[why]}" for why, count in evidence.evaluation.excluded.items() if count]
    return listed(parts) if parts else "none"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def splits(evidence: Evidence) -> Facts:
    """List the time spans of the splits, and the cut-off."""
    bounds = evidence.boundaries
    if bounds.test is None:
        return [("split", "random (the data has no time); this overstates the results of any model")]
    spans = {"training": bounds.train, "validation": bounds.valid, "test": bounds.test}
    return [
        ("split", "by time, with gaps so that labels can become known"),
        *((name, span(*ends)) for name, ends in spans.items() if ends),
        ("cut-off (as_of)", day(bounds.as_of) if bounds.as_of else "–"),
    ]


def model(evidence: Evidence) -> Facts:
    """List what the model is and how it was trained."""
    scorer = evidence.scorer
    encoder, counts = scorer.model.encoder, scorer.facts.get("rows") or {}
    return [
        ("model version", scorer.version),
        ("estimator", estimator(evidence)),
        ("imbalance", str(scorer.facts.get("imbalance", "not recorded"))),
        ("calibration", scorer.calibrator.method),
        ("features", f"{len(encoder.columns)} used of {len(scorer.catalogue.features)}"),
        *([("features not used", ", ".join(f"{name} ({why})" for name, why in encoder.dropped.items()))] if encoder.dropped else []),
        *([("categories read as missing", truncated)] if (truncated := _truncated(scorer.trained_categories)) else []),
        *([("training rows", _counts(counts))] if counts else []),
    ]  # fmt: skip


def _truncated(columns: Mapping[str, TrainedColumn]) -> str:
    """Describe the columns of which the model does not distinguish every value."""
    return "; ".join(
        f"{name}: {column.values - column.kept:,} of {column.values:,} values, in {column.train.share('unknown'):.1%} of training rows"
        for name, column in columns.items()
        if column.kept < column.values
    )


def estimator(evidence: Evidence) -> str:
    """Return the name of the estimator in words."""
    return str(evidence.scorer.facts.get("estimator", "an unknown estimator")).replace("_", " ")


def policy(evidence: Evidence) -> Facts:
    """List the alerting rule and its costs."""
    own = evidence.scorer.policy
    costs = [(name, _money(evidence, getattr(own, field))) for name, field in _COSTS.items()]
    costs += [("share of fraud that a review stops", percent(own.review_stops))]
    if own.lost_sale is not None:
        share = f", and {percent(own.lost_margin)} of the amount" if own.lost_margin else ""
        costs += [("cost of declining a legitimate transaction", _money(evidence, own.lost_sale) + share)]
    return [*_rule(evidence), ("alerts a day", describe_alerts(evidence.evaluation.alerts_a_day)), *costs]


_COSTS = {"cost of a review": "review_cost", "fee of a missed fraud": "fee", "friction": "friction"}


def _rule(evidence: Evidence) -> Facts:
    own = evidence.scorer.policy
    budget = ("alert budget", f"{evidence.evaluation.policy.cards_per_day:,} a day")
    if own.kind == "cost":
        rule = ("policy", "cost: the decision with the lowest expected cost; thresholds decrease with the amount")
        return [rule, budget, ("shadow price of a review", _money(evidence, round(own.price)))]
    threshold = "above every score" if own.value is None or own.value > 1 else percent(own.value)
    return [("policy", "capacity: one threshold that uses up the alert budget"), budget, ("threshold", threshold)]


def _money(evidence: Evidence, minor: float) -> str:
    return money(minor, evidence.decimals, evidence.currency)


def versions(evidence: Evidence) -> Facts:
    """List the versions, hashes and seeds that reproduce the evaluation."""
    evaluation = evidence.evaluation
    hashes = {
        "bundle": evaluation.bundle_sha256,
        "training data": evaluation.data_fingerprint,
        "catalogue": evaluation.catalogue_hash,
        "evaluated rows": evaluation.rows_sha256,
    }
    intervals = evaluation.intervals
    return [
        *((name, f"{value}") for name, value in evidence.versions.items()),
        *((f"{name} (SHA-256)", value) for name, value in hashes.items() if value),
        ("evaluation seed", str(intervals.seed)),
        ("intervals", f"95 %, {intervals.replicates} replicates by {listed(intervals.by)}; {intervals.note}"),
    ]  # fmt: skip


def limits(evidence: Evidence) -> list[str]:
    """List the limitations of the evaluation, each derived from a fact."""
    evaluation, scorer = evidence.evaluation, evidence.scorer
    limitations: list[str] = []
    bounds = evidence.boundaries
    if evaluation.split_by == "random":
        limitations.append(
            "The split is random because the data has no time: the model may have seen later transactions, which "
            "overstates its results."
        )
    if evidence.source_name in {"simulated", "handbook", "sparkov", "tabformer"}:
        limitations.append("The transactions are simulated: the results say nothing about real transactions.")
    if evaluation.rows and evaluation.frauds < FEW:
        limitations.append(f"Only {evaluation.frauds:,} frauds were evaluated: the results are very uncertain.")
    if evidence.reported_later:
        limitations.append(
            f"{evidence.reported_later:,} training rows were labelled legitimate, and were reported as fraud after the model's cut-off."
        )
    unknown = evaluation.excluded["label_unknown"]
    if unknown:
        limitations.append(
            f"{unknown:,} test rows have no known label and are excluded: frauds among them count neither as caught nor as missed."
        )
    if evaluation.intervals.by == ("row",):
        limitations.append(f"Intervals are {evaluation.intervals.note}: they may be too narrow.")
    if evaluation.compromised_cards.rows:
        limitations.append(
            f"{evaluation.compromised_cards.rows:,} test rows of cards already known to be compromised are excluded."
        )
    if scorer.model.encoder.dropped:
        names = listed(list(scorer.model.encoder.dropped))
        limitations.append(f"Features without information in the training rows are not used: {names}.")
    as_of = evaluation.model_as_of
    if bounds.as_of and bounds.test and as_of and as_of > bounds.test[0]:
        limitations.append("The model was trained with labels that became known after the test split began.")
    return limitations
