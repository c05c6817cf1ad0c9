"""Facts of the report and the model card: data, labels, splits, model, policy, limitations, versions and hashes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fraud3000 import durations
from fraud3000.models.inference.category_counts import TrainedColumn
from fraud3000.report.evidence import Evidence
from fraud3000.report.formatting import day, listed, money, per_day, percent, span
from fraud3000.report.verdict import FEW

Facts = list[tuple[str, str]]
_EXCLUDED = {
    "refund": "refunds",
    "label_unknown": "without a known label",
    "set_aside": "of cards already known to be compromised",
}


def data(evidence: Evidence) -> Facts:
    """List the rows, the labels, and what was excluded."""
    metrics, catalogue = evidence.metrics, evidence.scorer.catalogue
    label_date = metrics["label_date"]
    return [
        ("data", evidence.source),
        *([("rows by split", _counts(evidence.split_rows))] if evidence.split_rows else []),
        ("quarantined by prepare", _counts(evidence.refused) if evidence.refused else "none"),
        ("test span", span(*metrics["test_span"]) if metrics["test_span"] else "random rows (the data has no time)"),
        ("test rows evaluated", f"{metrics['rows']:,}, including {metrics['frauds']:,} frauds" + _rate(metrics)),
        ("test rows excluded", excluded(evidence)),
        ("label date", f"{day(label_date)} (labels as known on that day)" if label_date else "none (the data has no time)"),
        ("label delay", f"{durations.text(catalogue.label_delay)}, after which no report means legitimate"),
        ("compromised cards", _compromised(metrics["compromised_cards"])),
    ]  # fmt: skip


def _compromised(rule: Any) -> str:
    if rule["rule"] == "keep":
        return "kept"
    since = f", for frauds since {day(rule['since'])}" if "since" in rule else ""
    return f"excluded once their fraud is known{since}"


def _rate(metrics: Any) -> str:
    return f" ({percent(metrics['prevalence'])})" if metrics["rows"] else ""


def excluded(evidence: Evidence) -> str:
    """Describe how many test rows are not evaluated, and why."""
    parts = [f"{count:,} {_EXCLUDED[why]}" for why, count in evidence.metrics["excluded"].items() if count]
    return listed(parts) if parts else "none"


def _counts(counts: Any) -> str:
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
    own, metrics = evidence.scorer.policy, evidence.metrics
    daily = metrics["alerts_a_day"]
    alerts = (
        f"{per_day(daily['mean'])} {daily['unit']}" + (f" ± {per_day(daily['sd'])}" if daily["sd"] is not None else "")
        if daily["mean"] is not None
        else daily["reason"]
    )
    costs = [(name, _money(evidence, getattr(own, field))) for name, field in _COSTS.items()]
    costs += [("share of fraud that a review stops", percent(own.review_stops))]
    if own.lost_sale is not None:
        share = f", and {percent(own.lost_margin)} of the amount" if own.lost_margin else ""
        costs += [("cost of declining a legitimate transaction", _money(evidence, own.lost_sale) + share)]
    return [*_rule(evidence), ("alerts a day", alerts), *costs]


_COSTS = {"cost of a review": "review_cost", "fee of a missed fraud": "fee", "friction": "friction"}


def _rule(evidence: Evidence) -> Facts:
    own = evidence.scorer.policy
    budget = ("alert budget", f"{evidence.params.policy.cards_per_day:,} a day")
    if own.kind == "cost":
        rule = ("policy", "cost: the decision with the lowest expected cost; thresholds decrease with the amount")
        return [rule, budget, ("shadow price of a review", _money(evidence, round(own.price)))]
    threshold = "above every score" if own.value is None or own.value > 1 else percent(own.value)
    return [("policy", "capacity: one threshold that uses up the alert budget"), budget, ("threshold", threshold)]


def _money(evidence: Evidence, minor: float) -> str:
    return money(minor, evidence.decimals, evidence.currency)


def versions(evidence: Evidence) -> Facts:
    """List the versions, hashes and seeds that reproduce the evaluation."""
    metrics = evidence.metrics
    hashes = {
        "bundle": metrics.get("bundle_sha256"),
        "training data": metrics.get("data_fingerprint"),
        "catalogue": metrics.get("catalogue_hash"),
        "evaluated rows": metrics.get("rows_sha256"),
    }
    intervals = metrics["intervals"]
    return [
        *((name, f"{value}") for name, value in evidence.versions.items()),
        *((f"{name} (SHA-256)", value) for name, value in hashes.items() if value),
        ("evaluation seed", str(evidence.params.evaluate.seed)),
        ("intervals", f"95 %, {intervals['replicates']} replicates by {listed(intervals['by'])}; {intervals['note']}"),
    ]  # fmt: skip


def limits(evidence: Evidence) -> list[str]:
    """List the limitations of the evaluation, each derived from a fact."""
    metrics, scorer = evidence.metrics, evidence.scorer
    limitations: list[str] = []
    bounds = evidence.boundaries
    if metrics["split_by"] == "random":
        limitations.append(
            "The split is random because the data has no time: the model may have seen later transactions, which "
            "overstates its results."
        )
    if evidence.params.prepare.source in {"simulated", "handbook", "sparkov", "tabformer"}:
        limitations.append("The transactions are simulated: the results say nothing about real transactions.")
    if metrics["rows"] and metrics["frauds"] < FEW:
        limitations.append(f"Only {metrics['frauds']:,} frauds were evaluated: the results are very uncertain.")
    if evidence.reported_later:
        limitations.append(
            f"{evidence.reported_later:,} training rows were labelled legitimate, and were reported as fraud after the model's cut-off."
        )
    unknown = metrics["excluded"]["label_unknown"]
    if unknown:
        limitations.append(
            f"{unknown:,} test rows have no known label and are excluded: frauds among them count neither as caught nor as missed."
        )
    if metrics["intervals"]["by"] == ["row"]:
        limitations.append(f"Intervals are {metrics['intervals']['note']}: they may be too narrow.")
    if metrics["compromised_cards"]["rows"]:
        limitations.append(
            f"{metrics['compromised_cards']['rows']:,} test rows of cards already known to be compromised are excluded."
        )
    if scorer.model.encoder.dropped:
        names = listed(list(scorer.model.encoder.dropped))
        limitations.append(f"Features without information in the training rows are not used: {names}.")
    if bounds.as_of and bounds.test and _late(scorer.facts.get("as_of"), bounds.test[0]):
        limitations.append("The model was trained with labels that became known after the test split began.")
    return limitations


def _late(as_of: str | None, begin: datetime) -> bool:
    return bool(as_of) and datetime.fromisoformat(str(as_of)) > begin
