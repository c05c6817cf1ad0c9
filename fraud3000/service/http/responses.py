"""What is found about each of a request's items, laid out as it was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fastapi import Response
from pydantic_core import to_json

from fraud3000.features.online.event_encoder import EPOCH
from fraud3000.service.engine.decider import Reasons
from fraud3000.service.engine.decision_engine import DecisionEngine, Refusal
from fraud3000.service.http.parsing import JSON, LINES, id_of
from fraud3000.service.http.schemas import ErrorDetail
from fraud3000.service.http.time_slices import Slices
from fraud3000.service.journal.entries import LabelEntry, TransactionEntry
from fraud3000.service.journal.interface import Alert

Result = dict[str, Any]
"""What is answered to one item; one that is wrong has an `error`."""

_REFUSED = {
    "conflicting_duplicate": (
        "this id came before with other content",
        "Send each transaction under an id of its own; a retry repeats it as it was.",
    ),
    "in_history": (
        "this transaction is in the history that the service began with, and was never decided",
        "Score it with score-file.",
    ),
    "undecidable": (
        "this transaction came when no decision could be made, to a model whose features the present one does not have",
        "Decide it by hand.",
    ),
    "expired": ("this transaction was decided long ago, and the answer is kept no longer", "It needs no other."),
}
_STATUS = dict.fromkeys(_REFUSED, 409)


def decided(desk: DecisionEngine, one: TransactionEntry | Refusal, reasons: Reasons) -> Result:
    """The decision about a transaction, with reasons as they were asked for."""
    if isinstance(one, Refusal) or one.answer is None:
        code = one.code if isinstance(one, Refusal) else "undecidable"
        message, hint = _REFUSED[code]
        return faulty(one.transaction_id, ErrorDetail(code=code, message=message, hint=hint))
    answer = one.answer
    why = desk.judge.reasons(one) if reasons == "all" or (reasons == "alerts" and answer.alert) else ()
    told = {
        "transaction_id": one.transaction_id,
        "decision_id": answer.decision_id,
        "score": answer.score,
        "threshold": answer.threshold,
        "alert": answer.alert,
        "decision": answer.decision,
        "decision_source": answer.source,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in why],
    }
    if answer.model_version != desk.judge.scorer.version:
        told["model_version"] = answer.model_version
    return told


def recorded(label: LabelEntry) -> Result:
    """The label record that is kept."""
    return {"transaction_id": label.transaction_id, "number": label.number, "recorded_at": moment(label.recorded_at)}


def record(desk: DecisionEngine, taken: TransactionEntry) -> Result:
    """All that is kept of a decision: the transaction, its features as they were, and what was said of its label."""
    answer = taken.answer
    named = dict(zip(desk.judge.names, taken.features, strict=True)) if _same_catalogue(desk, taken) else None
    content = {name: value for name, value in taken.transaction.items() if value is not None}
    return {
        **decided(desk, taken, "alerts"),
        "model_version": None if answer is None else answer.model_version,
        "bundle_sha256": None if answer is None else answer.fingerprint,
        "received_at": moment(taken.received_at),
        "transaction": {**content, "ts": moment(content["ts"])} if "ts" in content else content,
        "features": list(taken.features) if named is None else named,
        "labels": [_label(label) for label in desk.labels(taken.transaction_id)],
    }


def queued(desk: DecisionEngine, alert: Alert, taken: TransactionEntry) -> Result:
    """An alert as those see it who work on it."""
    told = decided(desk, taken, "alerts")
    content = {name: taken.transaction.get(name) for name in ("ts", "card_id", "terminal_id", "amount")}
    known = {name: value for name, value in content.items() if value is not None}
    return {
        **told,
        **known,
        **({"ts": moment(known["ts"])} if "ts" in known else {}),
        "expected_loss": alert.expected_loss,
        "open": alert.open,
    }


def _same_catalogue(desk: DecisionEngine, taken: TransactionEntry) -> bool:
    return taken.catalogue == desk.judge.catalogue


def _label(label: LabelEntry) -> Result:
    reported = None if label.reported_at is None else moment(label.reported_at)
    told = {"is_fraud": bool(label.is_fraud), "source": label.source, "reported_at": reported}
    return {**told, "recorded_at": moment(label.recorded_at)}


def faulty(transaction_id: str | None, fault: ErrorDetail) -> Result:
    """What is wrong with an item."""
    return {"transaction_id": transaction_id, "error": fault.model_dump()}


def in_place(items: Sequence[Any], faults: Mapping[int, ErrorDetail], told: Iterable[Result]) -> Iterator[Result]:
    """The results of a request's items, in their order.

    Parameters
    ----------
    faults
        By place.
    told
        Of all the others, in order.
    """
    rest = iter(told)
    if not faults:
        return rest
    return (faulty(id_of(item), faults[place]) if place in faults else next(rest) for place, item in enumerate(items))


async def laid_out(results: Sequence[Result], form: str, head: Mapping[str, Any], slices: Slices) -> Response:
    """Lay results out as they were asked for; where all are wrong, under the status of the first error.

    Parameters
    ----------
    form
        ``one``, ``list`` or ``lines``.
    head
        What is told once, or on each line.
    """
    errors = [result["error"] for result in results if "error" in result]
    failed = len(errors) == len(results)
    status = _STATUS.get(errors[0]["code"], 422) if failed else 200
    if form == "lines":
        lines = await slices.collect((to_json({**head, **one}) + b"\n" for one in results), steps=len(results))
        return Response(b"".join(lines), status_code=status, media_type=LINES)
    if failed and form == "one":
        return Response(to_json({"error": errors[0]}), status_code=status, media_type=JSON)
    around = to_json({**({"error": errors[0]} if failed else {}), **head, "results": []})
    content = around[: -len("]}")] + b",".join(await slices.collect(map(to_json, results), steps=len(results))) + b"]}"
    return Response(content, status_code=status, media_type=JSON)


def moment(microseconds: int) -> str:
    """Microseconds since the epoch as ISO 8601."""
    at: datetime = EPOCH + timedelta(microseconds=microseconds)
    return at.isoformat()
