"""Explanation of one decision of the service."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

from fraud3000.errors import ScorerError
from fraud3000.features.online.event_encoder import EPOCH
from fraud3000.params import Params
from fraud3000.redact import mask
from fraud3000.service.engine.decider import Decider
from fraud3000.service.entries import LabelEntry, TransactionEntry
from fraud3000.stages.shared.service_store import find_decision, load_deciders, open_journal
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_MAX_FEATURES = 10
"""Number of features that are listed, the largest contributions first."""


def explain(params: Params, id_: str) -> Summary:
    """Explain one decision: what was decided, by which model, and why; the service may be running.

    Parameters
    ----------
    id_
        Of the transaction or of the decision.

    Raises
    ------
    DataError
        There is no journal, or it does not have the decision.
    """
    with closing(open_journal(params)) as journal:
        entry = find_decision(journal, id_)
        labels = [label for label in journal.of_transaction(entry.transaction_id) if isinstance(label, LabelEntry)]
    decider, warning = _load_decider(params, entry)
    facts = {**_transaction_facts(entry, decider), **_decision_facts(entry, decider)}
    tables = (*_reasons(entry, decider), *_contributions(entry, decider), *_labels(labels))
    warnings = [warning] if warning else []
    if entry.expired:
        warnings.append("the decision has expired: its features and its result were deleted")
    return Summary(command="explain", facts=facts, tables=tables, warnings=tuple(warnings))


def _load_decider(params: Params, entry: TransactionEntry) -> tuple[Decider | None, str | None]:
    """Load the model that decided; or return the reason why it cannot be loaded."""
    if entry.answer is None:
        return None, None
    try:
        return load_deciders(Workspace.from_params(params), [entry])[entry.answer.fingerprint], None
    except ScorerError as error:
        return None, error.message


def _amount(minor: float, decider: Decider | None) -> str:
    """Format an amount with the decimals of the data set, or in minor units if those are unknown."""
    if decider is None:
        return f"{minor:,.0f} minor units"
    decimals = decider.scorer.mapping.amount.decimals
    return f"{minor / 10**decimals:,.{decimals}f}"


def _transaction_facts(entry: TransactionEntry, decider: Decider | None) -> dict[str, object]:
    values = {name: value for name, value in entry.transaction.items() if value is not None and name != "amount"}
    if "ts" in values:
        values["ts"] = _format_time(values["ts"])
    facts = {name.replace("_id", "").replace("_", " "): mask(str(value)) for name, value in values.items()}
    return {
        **facts,
        "amount": _amount(entry.transaction["amount"], decider),
        "received at": _format_time(entry.received_at),
    }


def _decision_facts(entry: TransactionEntry, decider: Decider | None) -> dict[str, object]:
    decision = entry.answer
    if decision is None:
        return {"decision": "none"}
    by = f"version {decision.model_version}, bundle {decision.fingerprint[:12]}"
    facts: dict[str, object] = {"decision": decision.decision, "decision id": decision.decision_id, "decided by": by}
    loss = {"expected loss if approved": _amount(decision.expected_loss, decider)}
    if decision.score is None or decision.threshold is None:
        return {**facts, "decided by": f"the fallback, by the amount only ({by} missed the deadline)", **loss}
    reached = "reached" if decision.alert else "not reached"
    facts |= {"score": f"{decision.score:.4g}, calibrated probability of fraud"}
    return {**facts, "threshold": f"{decision.threshold:.4g}, {reached}", **loss}


def _reasons(entry: TransactionEntry, decider: Decider | None) -> tuple[Table, ...]:
    if entry.answer is None:
        return ()
    reasons = entry.answer.reasons if decider is None else decider.reasons(entry)
    rows = tuple((reason.code, reason.text) for reason in reasons)
    return (Table("Reasons, the strongest first", ("code", "reason"), rows),) if rows else ()


def _contributions(entry: TransactionEntry, decider: Decider | None) -> tuple[Table, ...]:
    if decider is None or entry.answer is None or entry.answer.source == "fallback":
        return ()
    encoder = decider.scorer.model.encoder
    values = decider.features_by_name(entry)
    contributions = decider.scorer.model.contributions_of(encoder.rows([values])).values[0]
    ranked = sorted(zip(encoder.columns, contributions, strict=True), key=lambda pair: -abs(pair[1]))[:_MAX_FEATURES]
    rows = tuple((name, _format_value(values[name]), f"{added:+.3f}") for name, added in ranked if added)
    return (
        (Table("Features by contribution to the log-odds", ("feature", "value", "contribution"), rows),) if rows else ()
    )


def _labels(labels: list[LabelEntry]) -> tuple[Table, ...]:
    rows = tuple(
        (
            label.source,
            "fraud" if label.is_fraud else "legitimate",
            "" if label.reported_at is None else _format_time(label.reported_at),
            _format_time(label.recorded_at),
        )
        for label in labels
    )
    columns = ("source", "label", "reported at", "known from")
    return (Table("Labels", columns, rows),) if rows else ()


def _format_value(value: object) -> str:
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else mask(str(value))


def _format_time(microseconds: int) -> str:
    return f"{EPOCH + timedelta(microseconds=microseconds):%Y-%m-%d %H:%M:%S}"
