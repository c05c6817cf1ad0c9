"""The HTTP side: requests read with care, answers and errors in one form."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from loguru import logger
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fraud3000.errors import DataError, FraudError, ScorerError, UnavailableError
from fraud3000.features.spec import CONTRACT_VERSION
from fraud3000.service import access
from fraud3000.service.desk import Desk, Reasons, Refusal
from fraud3000.service.entries import Taken
from fraud3000.service.incoming import Counter
from fraud3000.service.messages import MOST_ROWS, Decision, Decisions, Facts, Failure, Fault, Why

JSON, LINES = "application/json", "application/x-ndjson"
MOST_BYTES = 16 * 1024 * 1024
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
}
_STATUS = dict.fromkeys(_REFUSED, 409)
_FAULTS = {DataError: 422, ScorerError: 409, UnavailableError: 503}
_SAID = {401: "no_key", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type"}

Asked = Annotated[
    Reasons,
    Query(description="Transactions to give reasons for: each costs some fifty predictions."),
]


class Refused(Exception):
    """A request that is answered by an error alone."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.fault = status, Fault(code=code, message=message, hint=hint)


@dataclass(frozen=True)
class Body:
    """A request's transactions, and the form in which they came."""

    items: Sequence[Any]
    form: Literal["one", "list", "lines"]


def create_app(desk: Desk, counter: Counter, *, key: str | None = None) -> FastAPI:
    """Make the service.

    Parameters
    ----------
    desk
        Knows the model and the history.
    counter
        Checks what comes in.
    key
        What `X-API-Key` must hold; None where anyone may ask.
    """
    app = FastAPI(
        title="fraud3000",
        summary="Fraud decisions for card transactions.",
        version=desk.scorer.version,
        docs_url=None,  # these pages are loaded from another host
        redoc_url=None,
    )
    _name_requests(app)
    _answer_errors(app)
    guard = [Depends(_guard(key))]
    refusals: dict[int | str, dict[str, Any]] = {code: {"model": Failure} for code in (401, 409, 413, 415, 422, 503)}

    @app.post(
        "/score",
        dependencies=guard,
        response_model=Decisions,
        response_model_exclude_none=True,
        responses=refusals,
        openapi_extra={"requestBody": _request_body(counter)},
    )
    async def score(request: Request, reasons: Asked = "alerts") -> Response:
        """Score one transaction, or up to 10,000.

        They are taken by time and id and answered in their order. Each is known from then on to those that come after it. One that is wrong has its error in its place; where
        none could be decided the answer has the status of the first error.
        """
        body = await _read(request)
        results = await _decide(desk, counter, body.items, reasons)
        return _answered(desk.scorer.version, results, body.form)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Tell that the service runs."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        """Tell that it can score: model and history are loaded before it answers at all."""
        return {"status": "ready", "model_version": desk.scorer.version}

    @app.get("/model", dependencies=guard, responses={401: {"model": Failure}})
    async def model() -> Facts:
        """Tell which model answers, what it was made of, and what it knows."""
        return _facts(desk, counter)

    return app


async def _decide(desk: Desk, counter: Counter, items: Sequence[Any], reasons: Reasons) -> list[Decision]:
    checked = counter.check(items)
    found = iter(await desk.decide(checked.rows, checked.received_at, reasons=reasons) if checked.rows else ())
    results = [
        Decision(transaction_id=_id_of(item), error=checked.faults[place])
        if place in checked.faults
        else _told(desk, next(found), reasons)
        for place, item in enumerate(items)
    ]
    alerts = sum(result.alert or False for result in results)
    logger.debug("score rows={} faults={} alerts={}", len(items), sum(r.error is not None for r in results), alerts)
    return results


def _told(desk: Desk, one: Taken | Refusal, reasons: Reasons) -> Decision:
    if isinstance(one, Refusal) or one.answer is None:
        code = one.code if isinstance(one, Refusal) else "undecidable"
        message, hint = _REFUSED[code]
        return Decision(transaction_id=one.transaction_id, error=Fault(code=code, message=message, hint=hint))
    answer = one.answer
    why = desk.reasons(one) if reasons == "all" or (reasons == "alerts" and answer.alert) else ()
    return Decision(
        transaction_id=one.transaction_id,
        decision_id=answer.decision_id,
        score=answer.score,
        threshold=answer.threshold,
        alert=answer.alert,
        decision=answer.decision,
        reasons=[Why(code=reason.code, text=reason.text) for reason in why],
    )


def _answered(version: str, results: list[Decision], form: str) -> Response:
    """Lay the results out as they were asked for; with no decision at all under the status of the first error."""
    faults = [result.error for result in results if result.error is not None]
    failed = bool(results) and len(faults) == len(results)
    status = _STATUS.get(faults[0].code, 422) if failed else 200
    told = [_result(result) for result in results]
    if form == "lines":
        lines = "".join(json.dumps({"model_version": version, **one}) + "\n" for one in told)
        return Response(lines, status_code=status, media_type=LINES)
    content: dict[str, Any] = {"model_version": version, "results": told}
    if failed:
        content = {"error": faults[0].model_dump()} if form == "one" else {"error": faults[0].model_dump(), **content}
    return JSONResponse(content, status_code=status)


def _result(result: Decision) -> dict[str, Any]:
    if result.error is not None:
        return {"transaction_id": result.transaction_id, "error": result.error.model_dump()}
    return result.model_dump(exclude={"error"})


async def _read(request: Request) -> Body:
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in (JSON, LINES):
        raise Refused(415, "media_type", f"'{kind}' is not read here", f"Send {JSON} or {LINES}.")
    content = await _bytes(request)
    if kind == LINES:
        lines = [line for line in content.split(b"\n") if line.strip()]
        return _body([_parsed(line) for line in lines], "lines")
    parsed = _parsed(content)
    if isinstance(parsed, dict) and "transactions" not in parsed:
        return _body([parsed], "one")
    if not isinstance(parsed, dict) or not isinstance(parsed["transactions"], list) or len(parsed) > 1:
        hint = 'Send {"transactions": [{…}, …]} or one transaction as an object.'
        raise Refused(422, "no_transactions", "the body has no list of transactions", hint)
    return _body(parsed["transactions"], "list")


def _body(items: list[Any], form: Literal["one", "list", "lines"]) -> Body:
    if len(items) > MOST_ROWS:
        said = f"{len(items):,} transactions, and a request takes {MOST_ROWS:,}"
        raise Refused(413, "too_large", said, "Send them in several requests, or score a file with score-file.")
    odd = next((place for place, item in enumerate(items) if not isinstance(item, dict)), None)
    if odd is not None or not items:
        said = "no transaction" if odd is None else f"what stands at place {odd + 1} is no transaction"
        raise Refused(422, "no_transactions", said, "A transaction is an object; see /openapi.json.")
    return Body(items, form)


async def _bytes(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            said = f"more than {MOST_BYTES // 1024**2} MiB"
            raise Refused(413, "too_large", said, "Send fewer transactions in a request.")
        parts.append(part)
    return b"".join(parts)


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError as error:
        place = str(error).partition(" at ")
        said = f"the body is not JSON ({place[0]}{place[1]}{place[2]})"
        raise Refused(422, "not_json", said, "Send one JSON document, or one on each line.") from None


def _facts(desk: Desk, counter: Counter) -> Facts:
    scorer = desk.scorer
    return Facts(
        model_version=scorer.version,
        model_as_of=scorer.facts.get("as_of"),
        trained={name: value for name, value in scorer.facts.items() if name != "as_of"}
        | {"bundle_sha256": desk.fingerprint},
        catalogue_hash=scorer.catalogue.hash,
        contract_version=CONTRACT_VERSION,
        features=list(scorer.model.encoder.columns),
        policy=scorer.policy.to_dict(),
        transaction=list(counter.model.model_fields),
        history=desk.history(),
    )


def _guard(key: str | None) -> Callable[[str | None], Awaitable[None]]:
    async def guard(given: Annotated[str | None, Header(alias=access.HEADER)] = None) -> None:
        if not access.matches(given, key):
            said = (
                f"the header {access.HEADER} is missing"
                if given is None
                else f"the key in {access.HEADER} is not known"
            )
            raise Refused(401, "no_key", said, "Ask whoever runs the service for its key.")

    return guard


def _name_requests(app: FastAPI) -> None:
    @app.middleware("http")
    async def name(request: Request, forward: Callable[[Request], Awaitable[Response]]) -> Response:
        given = request.headers.get("X-Request-ID", "")
        usable = 0 < len(given) <= 128 and given.isascii() and given.isprintable()
        try:
            response = await forward(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception as error:  # noqa: BLE001  a bug must not end the service, and is told as one
            logger.opt(exception=error).error("a request failed by a bug of ours")
            hint = "Please report it with what the service's log says."
            response = _failure(500, Fault(code="internal", message="this is a bug in fraud3000", hint=hint))
        response.headers["X-Request-ID"] = given if usable else str(uuid.uuid4())
        return response


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return _failure(error.status, error.fault)

    @app.exception_handler(FraudError)
    async def ours(_: Request, error: FraudError) -> Response:
        status = next((code for kind, code in _FAULTS.items() if isinstance(error, kind)), 500)
        code = type(error).__name__.removesuffix("Error").lower()
        return _failure(status, Fault(code=code, message=error.message, hint=error.hint or ""))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        told = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return _failure(422, Fault(code="invalid_request", message=told, hint="See /openapi.json."))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = _SAID.get(error.status_code, HTTPStatus(error.status_code).name.lower())
        said = f"{request.method} {request.url.path}: {error.detail}"
        return _failure(error.status_code, Fault(code=code, message=said, hint="See /openapi.json."))


def _failure(status: int, fault: Fault) -> Response:
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse(Failure(error=fault).model_dump(), status_code=status, headers=headers)


def _id_of(item: Any) -> str | None:
    given = item.get("transaction_id")
    return given if isinstance(given, str) else None


def _request_body(counter: Counter) -> dict[str, Any]:
    """How the body is described: it is read by hand, so that each transaction is judged on its own."""
    one = counter.model.model_json_schema()
    example = one["examples"][0]
    many = {
        "type": "object",
        "title": "Transactions",
        "required": ["transactions"],
        "properties": {"transactions": {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_ROWS}},
    }
    examples = {
        "one": {"summary": "One transaction", "value": example},
        "several": {"summary": "Several, in order of arrival", "value": {"transactions": [example]}},
    }
    return {
        "required": True,
        "content": {JSON: {"schema": {"oneOf": [many, one]}, "examples": examples}, LINES: {"schema": one}},
    }
