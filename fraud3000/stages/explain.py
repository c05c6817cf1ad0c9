"""One decision of the service, told to a person."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from fraud3000.errors import ScorerError
from fraud3000.features.online.event_encoder import EPOCH
from fraud3000.params import Params
from fraud3000.redact import mask
from fraud3000.service.engine.decider import Decider
from fraud3000.service.journal.entries import Decision, LabelEntry, TransactionEntry
from fraud3000.stages.shared.service_store import decision_of, journal_of, judges_of
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_SHOWN = 10
"""Features that are told, by what they add to the score."""


def explain(params: Params, id_: str) -> Summary:
    """Tell what was decided about a transaction, by what, and why; a running service is not disturbed.

    Parameters
    ----------
    id_
        Of the transaction or of the decision.

    Raises
    ------
    DataError
        There is no journal, or no such decision in it.
    """
    with closing(journal_of(params)) as journal:
        taken = decision_of(journal, id_)
        labels = [one for one in journal.of_transaction(taken.transaction_id) if isinstance(one, LabelEntry)]
    judge, warning = _judge(params, taken)
    facts = {**_transaction(taken, judge), **_decision(taken, judge)}
    tables = (*_reasons(taken, judge), *_contributions(taken, judge), *_labels(labels))
    warnings = [warning] if warning else []
    if taken.expired:
        warnings.append("the decision has expired: its features and its answer are no longer kept")
    return Summary(command="explain", facts=facts, tables=tables, warnings=tuple(warnings))


def _judge(params: Params, taken: TransactionEntry) -> tuple[Decider | None, str | None]:
    """The model that decided; or why it cannot be asked."""
    if taken.answer is None:
        return None, None
    try:
        return judges_of(Workspace.from_params(params), [taken])[taken.answer.fingerprint], None
    except ScorerError as error:
        return None, error.message


@dataclass(frozen=True)
class _Money:
    """Amounts as the data set writes them; in minor units where that is not known."""

    decimals: int | None

    def tell(self, minor: float) -> str:
        if self.decimals is None:
            return f"{minor:,.0f} minor units"
        return f"{minor / 10**self.decimals:,.{self.decimals}f}"


def _money(judge: Decider | None) -> _Money:
    return _Money(None if judge is None else judge.scorer.mapping.amount.decimals)


def _transaction(taken: TransactionEntry, judge: Decider | None) -> dict[str, object]:
    told = {name: value for name, value in taken.transaction.items() if value is not None and name != "amount"}
    if "ts" in told:
        told["ts"] = _moment(told["ts"])
    facts = {name.replace("_id", "").replace("_", " "): mask(str(value)) for name, value in told.items()}
    return {
        **facts,
        "amount": _money(judge).tell(taken.transaction["amount"]),
        "received at": _moment(taken.received_at),
    }


def _decision(taken: TransactionEntry, judge: Decider | None) -> dict[str, object]:
    answer = taken.answer
    if answer is None:
        return {"decision": "none"}
    by = f"version {answer.model_version}, bundle {answer.fingerprint[:12]}"
    facts: dict[str, object] = {"decision": answer.decision, "decision id": answer.decision_id, "decided by": by}
    if answer.score is None or answer.threshold is None:
        return {**facts, "decided by": f"the fallback, by the amount alone ({by} had no time)", **_loss(answer, judge)}
    reached = "reached" if answer.alert else "not reached"
    facts |= {"score": f"{answer.score:.4g}, calibrated probability of fraud"}
    return {**facts, "threshold": f"{answer.threshold:.4g}, {reached}", **_loss(answer, judge)}


def _loss(answer: Decision, judge: Decider | None) -> dict[str, object]:
    return {"expected loss if approved": _money(judge).tell(answer.expected_loss)}


def _reasons(taken: TransactionEntry, judge: Decider | None) -> tuple[Table, ...]:
    if taken.answer is None:
        return ()
    reasons = taken.answer.reasons if judge is None else judge.reasons(taken)
    rows = tuple((reason.code, reason.text) for reason in reasons)
    return (Table("Reasons, the strongest first", ("code", "what was found"), rows),) if rows else ()


def _contributions(taken: TransactionEntry, judge: Decider | None) -> tuple[Table, ...]:
    if judge is None or taken.answer is None or taken.answer.source == "fallback":
        return ()
    encoder = judge.scorer.model.encoder
    told = judge.scorer.model.contributions_of(encoder.rows([judge.named(taken)]))
    found = sorted(zip(encoder.columns, told.values[0], strict=True), key=lambda one: -abs(one[1]))[:_SHOWN]
    values = judge.named(taken)
    rows = tuple((name, _value(values[name]), f"{added:+.3f}") for name, added in found if added)
    return (Table("Features by what they add to the log-odds", ("feature", "value", "adds"), rows),) if rows else ()


def _labels(labels: list[LabelEntry]) -> tuple[Table, ...]:
    rows = tuple(
        (
            label.source,
            "fraud" if label.is_fraud else "legitimate",
            "" if label.reported_at is None else _moment(label.reported_at),
            _moment(label.recorded_at),
        )
        for label in labels
    )
    columns = ("source", "says", "reported at", "known from")
    return (Table("What was said since", columns, rows),) if rows else ()


def _value(value: object) -> str:
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else mask(str(value))


def _moment(microseconds: int) -> str:
    return f"{EPOCH + timedelta(microseconds=microseconds):%Y-%m-%d %H:%M:%S}"
