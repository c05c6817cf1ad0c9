"""The facts below the figures: data, labels, splits, model, policy, versions and hashes."""

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
_LEFT_OUT = {
    "refund": "refunds",
    "label_unknown": "without a known label",
    "set_aside": "of cards already known as compromised",
}


def data(evidence: Evidence) -> Facts:
    """Say which rows and labels there are, and what was left out."""
    metrics, catalogue = evidence.metrics, evidence.scorer.catalogue
    label_date = metrics["label_date"]
    return [
        ("data", evidence.source),
        *([("rows by split", _counts(evidence.split_rows))] if evidence.split_rows else []),
        ("refused by prepare", _counts(evidence.refused) if evidence.refused else "none"),
        ("test span", span(*metrics["test_span"]) if metrics["test_span"] else "random rows, since the data has no time"),
        ("test rows measured", f"{metrics['rows']:,}, of them {metrics['frauds']:,} frauds" + _rate(metrics)),
        ("test rows left out", left_out(evidence)),
        ("label date", f"{day(label_date)}: labels count as known then" if label_date else "none: the data has no time"),
        ("label delay", f"{durations.text(catalogue.label_delay)} until a transaction without a report counts as legitimate"),
        ("compromised cards", _compromised(metrics["compromised_cards"])),
    ]  # fmt: skip


def _compromised(rule: Any) -> str:
    if rule["rule"] == "keep":
        return "kept"
    since = f", of frauds since {day(rule['since'])}" if "since" in rule else ""
    return f"left out once their fraud is known{since}"


def _rate(metrics: Any) -> str:
    return f" ({percent(metrics['prevalence'])})" if metrics["rows"] else ""


def left_out(evidence: Evidence) -> str:
    """Say how many test rows are not measured, and why."""
    parts = [f"{count:,} {_LEFT_OUT[why]}" for why, count in evidence.metrics["excluded"].items() if count]
    return listed(parts) if parts else "none"


def _counts(counts: Any) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def splits(evidence: Evidence) -> Facts:
    """Give the spans, the gap's reason and the date that the model was made on."""
    bounds = evidence.boundaries
    if bounds.test is None:
        return [("split", "random: the data has no time; this flatters every model")]
    spans = {"training": bounds.train, "validation": bounds.valid, "test": bounds.test}
    return [
        ("split", "by time, with a gap so that labels can be known"),
        *((name, span(*ends)) for name, ends in spans.items() if ends),
        ("model made as of", day(bounds.as_of) if bounds.as_of else "–"),
    ]


def model(evidence: Evidence) -> Facts:
    """Say what the model is and how it was fitted."""
    scorer = evidence.scorer
    encoder, counts = scorer.model.encoder, scorer.facts.get("rows") or {}
    return [
        ("model version", scorer.version),
        ("estimator", estimator(evidence)),
        ("imbalance", str(scorer.facts.get("imbalance", "not on record"))),
        ("calibration", scorer.calibrator.method),
        ("features", f"{len(encoder.columns)} used of {len(scorer.catalogue.features)}"),
        *([("features left out", ", ".join(f"{name} ({why})" for name, why in encoder.dropped.items()))] if encoder.dropped else []),
        *([("categories read as missing", truncated)] if (truncated := _truncated(scorer.trained_categories)) else []),
        *([("training rows", _counts(counts))] if counts else []),
    ]  # fmt: skip


def _truncated(columns: Mapping[str, TrainedColumn]) -> str:
    """Columns of which the model does not keep every value."""
    return "; ".join(
        f"{name}: {one.values - one.kept:,} of {one.values:,} values, in {one.train.share('unknown'):.1%} of training rows"
        for name, one in columns.items()
        if one.kept < one.values
    )


def estimator(evidence: Evidence) -> str:
    """Name the estimator in words."""
    return str(evidence.scorer.facts.get("estimator", "an estimator not on record")).replace("_", " ")


def policy(evidence: Evidence) -> Facts:
    """Say when a transaction is alerted."""
    own, metrics = evidence.scorer.policy, evidence.metrics
    daily = metrics["alerts_a_day"]
    alerted = (
        f"{per_day(daily['mean'])} {daily['unit']}" + (f" ± {per_day(daily['sd'])}" if daily["sd"] is not None else "")
        if daily["mean"] is not None
        else daily["reason"]
    )
    costs = [(name, _money(evidence, getattr(own, field))) for name, field in _COSTS.items()]
    costs += [("share of fraud a review stops", percent(own.review_stops))]
    if own.lost_sale is not None:
        share = f", and {percent(own.lost_margin)} of the amount" if own.lost_margin else ""
        costs += [("cost of declining an honest transaction", _money(evidence, own.lost_sale) + share)]
    return [*_rule(evidence), ("alerted a day", alerted), *costs]


_COSTS = {"cost of a review": "review_cost", "fee of a missed fraud": "fee", "friction": "friction"}


def _rule(evidence: Evidence) -> Facts:
    own = evidence.scorer.policy
    budget = ("alert budget", f"{evidence.params.policy.cards_per_day:,} a day")
    if own.kind == "cost":
        rule = ("policy", "cost: the decision that is expected to cost least; thresholds fall with the amount")
        return [rule, budget, ("price of a review beyond its cost", _money(evidence, round(own.price)))]
    threshold = "above every score" if own.value is None or own.value > 1 else percent(own.value)
    return [("policy", "capacity: one threshold that spends the alert budget"), budget, ("threshold", threshold)]


def _money(evidence: Evidence, minor: float) -> str:
    return money(minor, evidence.decimals, evidence.currency)


def versions(evidence: Evidence) -> Facts:
    """Give everything that the figures can be traced by."""
    metrics = evidence.metrics
    hashes = {
        "bundle": metrics.get("bundle_sha256"),
        "training data": metrics.get("data_fingerprint"),
        "catalogue": metrics.get("catalogue_hash"),
        "measured rows": metrics.get("rows_sha256"),
    }
    drawn = metrics["intervals"]
    return [
        *((name, f"{value}") for name, value in evidence.versions.items()),
        *((f"{name} (SHA-256)", value) for name, value in hashes.items() if value),
        ("seed of the evaluation", str(evidence.params.evaluate.seed)),
        ("intervals", f"95 %, {drawn['replicates']} replicates by {listed(drawn['by'])}; {drawn['note']}"),
    ]  # fmt: skip


def limits(evidence: Evidence) -> list[str]:
    """Name what limits these figures, each from a fact."""
    metrics, scorer, found = evidence.metrics, evidence.scorer, []
    bounds = evidence.boundaries
    if metrics["split_by"] == "random":
        found.append(
            "The split is random since the data has no time: the model may know what came later, which flatters it."
        )
    if evidence.params.prepare.source in {"simulated", "handbook", "sparkov", "tabformer"}:
        found.append("The transactions are simulated: the figures say nothing of how it does on real ones.")
    if metrics["rows"] and metrics["frauds"] < FEW:
        found.append(f"Only {metrics['frauds']:,} frauds were measured: the figures could be far off.")
    if evidence.reported_later:
        found.append(
            f"{evidence.reported_later:,} training rows counted as legitimate and were reported as fraud after the day the model was made."
        )
    unknown = metrics["excluded"]["label_unknown"]
    if unknown:
        found.append(
            f"{unknown:,} test rows have no known label and are not measured: a fraud among them counts neither as caught nor as missed."
        )
    if metrics["intervals"]["by"] == ["row"]:
        found.append(f"Intervals are {metrics['intervals']['note']}: they may be too narrow.")
    if metrics["compromised_cards"]["rows"]:
        found.append(
            f"{metrics['compromised_cards']['rows']:,} test rows of cards already known as compromised are not measured."
        )
    if scorer.model.encoder.dropped:
        names = listed(list(scorer.model.encoder.dropped))
        found.append(f"Features that say nothing in the training rows are not used: {names}.")
    if bounds.as_of and bounds.test and _late(scorer.facts.get("as_of"), bounds.test[0]):
        found.append("The model was made with labels known after the test split begins.")
    return found


def _late(as_of: str | None, begin: datetime) -> bool:
    return bool(as_of) and datetime.fromisoformat(str(as_of)) > begin
