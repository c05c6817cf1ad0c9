"""Response bodies: a result or error for each item, in the form of the request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fastapi import Response
from pydantic_core import to_json

from fraud3000.features.online.event_encoder import EPOCH
from fraud3000.service.alerts import Alert
from fraud3000.service.engine.decider import Reasons
from fraud3000.service.engine.decision_engine import DecisionEngine, Refusal
from fraud3000.service.entries import LabelEntry, TransactionEntry
from fraud3000.service.http.parsing import id_of
from fraud3000.service.http.time_slices import Slices
from fraud3000.wire import JSON, NDJSON, ErrorDetail

Result = dict[str, Any]
"""The result for one item; an invalid item has an `error`."""

_REFUSALS = {
    "conflicting_duplicate": (
        "this transaction_id was used before with other content",
        "Send each transaction with an id of its own; a retry must repeat the content unchanged.",
    ),
    "in_history": (
        "this transaction is in the history from before the service started and was never decided",
        "Score it with `fraud3000 score-file`.",
    ),
    "undecidable": (
        "this transaction arrived while the model failed, and the present model has other features",
        "Decide it by hand.",
    ),
    "expired": (
        "the decision about this transaction was deleted after the retention period (serve.retention.decisions)",
        "Do not send it again: it was decided.",
    ),
}
_STATUS = dict.fromkeys(_REFUSALS, 409)


def decision_result(engine: DecisionEngine, result: TransactionEntry | Refusal, reasons: Reasons) -> Result:
    """Return the result for one transaction: its decision, with the requested reasons, or an error."""
    if isinstance(result, Refusal) or result.answer is None:
        code = result.code if isinstance(result, Refusal) else "undecidable"
        message, hint = _REFUSALS[code]
        return error_result(result.transaction_id, ErrorDetail(code=code, message=message, hint=hint))
    decision, decider = result.answer, engine.decider
    explain = reasons == "all" or (reasons == "alerts" and decision.alert)
    fields = {
        "transaction_id": result.transaction_id,
        "decision_id": decision.decision_id,
        "score": decision.score,
        "threshold": decision.threshold,
        "alert": decision.alert,
        "decision": decision.decision,
        "decision_source": decision.source,
        "reasons": [
            {"code": reason.code, "text": reason.text} for reason in (decider.reasons(result) if explain else ())
        ],
    }
    if decision.model_version != decider.scorer.version:
        fields["model_version"] = decision.model_version
    return fields


def label_result(label: LabelEntry) -> Result:
    """Return the result for one label record."""
    return {
        "transaction_id": label.transaction_id,
        "number": label.number,
        "recorded_at": iso_time(label.recorded_at),
    }


def decision_record(engine: DecisionEngine, entry: TransactionEntry) -> Result:
    """Return a decision with its transaction, the features at the time of the decision, and its label records."""
    decision, decider = entry.answer, engine.decider
    same_catalogue = entry.catalogue == decider.catalogue
    content = {name: value for name, value in entry.transaction.items() if value is not None}
    return {
        **decision_result(engine, entry, "alerts"),
        "model_version": None if decision is None else decision.model_version,
        "bundle_sha256": None if decision is None else decision.fingerprint,
        "received_at": iso_time(entry.received_at),
        "transaction": {**content, "ts": iso_time(content["ts"])} if "ts" in content else content,
        "features": decider.features_by_name(entry) if same_catalogue else list(entry.features),
        "labels": [_stored_label(label) for label in engine.labels(entry.transaction_id)],
    }


def alert_item(engine: DecisionEngine, alert: Alert, entry: TransactionEntry) -> Result:
    """Return an alert with the main fields of its transaction."""
    fields = {name: entry.transaction.get(name) for name in ("ts", "card_id", "terminal_id", "amount")}
    present = {name: value for name, value in fields.items() if value is not None}
    return {
        **decision_result(engine, entry, "alerts"),
        **present,
        **({"ts": iso_time(present["ts"])} if "ts" in present else {}),
        "expected_loss": alert.expected_loss,
        "open": alert.open,
    }


def _stored_label(label: LabelEntry) -> Result:
    return {
        "is_fraud": bool(label.is_fraud),
        "source": label.source,
        "reported_at": None if label.reported_at is None else iso_time(label.reported_at),
        "recorded_at": iso_time(label.recorded_at),
    }


def error_result(transaction_id: str | None, error: ErrorDetail) -> Result:
    """Return the result for an invalid item."""
    return {"transaction_id": transaction_id, "error": error.model_dump()}


def merge_errors(items: Sequence[Any], errors: Mapping[int, ErrorDetail], valid: Iterable[Result]) -> Iterator[Result]:
    """Return one result for each item of a request, in their order.

    Parameters
    ----------
    errors
        Errors of invalid items, by index.
    valid
        Results for all other items, in order.
    """
    results = iter(valid)
    if not errors:
        return results
    return (
        error_result(id_of(item), errors[index]) if index in errors else next(results)
        for index, item in enumerate(items)
    )


async def results_response(results: Sequence[Result], form: str, head: Mapping[str, Any], slices: Slices) -> Response:
    """Build the response in the form of the request; if all items failed, with the status of the first error.

    Parameters
    ----------
    form
        ``one``, ``list`` or ``lines``.
    head
        Fields of the response, or of each line of NDJSON.
    """
    errors = [result["error"] for result in results if "error" in result]
    failed = len(errors) == len(results)
    status = _STATUS.get(errors[0]["code"], 422) if failed else 200
    if form == "lines":
        lines = await slices.collect((to_json({**head, **result}) + b"\n" for result in results), steps=len(results))
        return Response(b"".join(lines), status_code=status, media_type=NDJSON)
    if failed and form == "one":
        return Response(to_json({"error": errors[0]}), status_code=status, media_type=JSON)
    envelope = to_json({**({"error": errors[0]} if failed else {}), **head, "results": []})
    encoded = await slices.collect(map(to_json, results), steps=len(results))
    content = envelope[: -len("]}")] + b",".join(encoded) + b"]}"
    return Response(content, status_code=status, media_type=JSON)


def iso_time(microseconds: int) -> str:
    """Format microseconds since the epoch as ISO 8601."""
    at: datetime = EPOCH + timedelta(microseconds=microseconds)
    return at.isoformat()
