"""The HTTP side: which requests there are, and who may make them."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from itertools import repeat
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from loguru import logger
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json
from starlette.types import ASGIApp

from fraud3000.features.spec.catalogue import CONTRACT_VERSION
from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.http import api_keys, fast_route, parsing, responses
from fraud3000.service.http import authentication as door_
from fraud3000.service.http.alert_query import AlertQuery, cursor
from fraud3000.service.http.authentication import Authenticator
from fraud3000.service.http.metrics import Metrics, MetricsMiddleware
from fraud3000.service.http.parsing import JSON, LINES
from fraud3000.service.http.request_id import RequestIdMiddleware
from fraud3000.service.http.schemas import (
    MOST_ROWS,
    AlertsResponse,
    DecisionRecord,
    ErrorResponse,
    LabelRecord,
    LabelsResponse,
    ModelFacts,
    NoDecisions,
    NoneRecorded,
    ReloadResponse,
    ScoreQuery,
    ScoreResponse,
    SnapshotResponse,
)
from fraud3000.service.http.time_slices import Slices
from fraud3000.service.http.validation import RequestValidator
from fraud3000.service.maintenance.maintenance import Maintenance

Responses = dict[int | str, dict[str, Any]]
"""How answers are described, by status."""


def create_app(
    desk: DecisionEngine,
    counter: RequestValidator,
    keys: api_keys.ApiKeys,
    upkeep: Maintenance,
    *,
    requests_per_second: float | None = None,
) -> ASGIApp:
    """Make the service.

    Parameters
    ----------
    desk
        Knows the model and the history.
    counter
        Checks what comes in.
    keys
        What `X-API-Key` may hold; where there are none, anyone may ask.
    upkeep
        What goes on beside, while the app runs.
    requests_per_second
        Of each key; None for any number.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with upkeep.running():
            yield

    app = FastAPI(
        title="fraud3000",
        summary="Fraud decisions for card transactions.",
        version=desk.judge.scorer.version,
        docs_url=None,  # these pages are loaded from another host
        redoc_url=None,
        openapi_url=None,  # the page is a route like the others, with the same authentication
        dependencies=[Depends(parsing.guard_query)],
        lifespan=lifespan,
        redirect_slashes=False,  # the sender's own Host would say where to
        responses={200: {"headers": _headers(parsing.REQUEST_ID)}, **_failures(500)},
    )
    metrics = Metrics(desk)
    metrics.watch_upkeep(upkeep)
    metrics.watch_lost(counter.lost)
    parsing.answer_errors(app)
    door = Authenticator(keys, api_keys.RateLimiter(requests_per_second))
    slices = Slices()
    directly = _take(app, desk, counter, metrics, door, slices)
    _tell(app, desk, counter, metrics, door, slices)
    _tell_ready(app, desk, upkeep)
    _keep_up(app, upkeep, door)
    # around FastAPI, not within: what it does with every request costs a short one as much as its answer does
    answering = door_.Authentication(fast_route.FastRoute(app, "/score", directly), door)
    return MetricsMiddleware(RequestIdMiddleware(answering), metrics)


def _take(
    app: FastAPI, desk: DecisionEngine, counter: RequestValidator, metrics: Metrics, door: Authenticator, slices: Slices
) -> fast_route.Handler:
    """What is sent, transactions and labels; and the short way to the first."""
    refusals = _failures(401, 403, 408, 413, 415, 429, 503)

    @app.post(
        "/score",
        dependencies=door.guards("score"),
        response_model=ScoreResponse,
        response_model_exclude_none=True,
        responses=refusals | _of_each(409, 422, failure=ErrorResponse | NoDecisions, line="Decision"),
        openapi_extra={"requestBody": _body_of("transactions", counter.model.model_json_schema())},
    )
    async def score(request: Request, asked: Annotated[ScoreQuery, Query()]) -> Response:
        """Score one transaction, or up to 10,000.

        They are taken by time and id, and answered in the order of the request. Each is known from then on to those that
        come after it. One that is wrong has its error in its place; where none could be decided the answer has the status of the
        first error.
        """
        deadline = math.inf if asked.deadline_ms is None else time.monotonic() + asked.deadline_ms / 1000
        body = await parsing.read(request, "transactions", slices)
        with metrics.stage("check"):
            checked = await counter.check(body.items, slices)
        with metrics.stage("decide and keep"):
            found = await desk.decide(checked.rows, checked.received_at, reasons=asked.reasons, deadline=deadline)
        told = map(responses.decided, repeat(desk), found, repeat(asked.reasons))
        results = await slices.collect(responses.in_place(body.items, checked.faults, told), steps=len(body.items))
        metrics.count(results)
        logger.debug("score rows={} faults={}", len(results), len(checked.faults))
        return await responses.laid_out(results, body.form, {"model_version": desk.judge.scorer.version}, slices)

    async def score_directly(request: Request) -> Response:
        door.admit("score", request.scope)
        return await score(request, fast_route.query(request, ScoreQuery))

    @app.post(
        "/labels",
        dependencies=door.guards("label"),
        response_model=LabelsResponse,
        response_model_exclude_none=True,
        responses=refusals | _of_each(422, failure=ErrorResponse | NoneRecorded, line="Kept"),
        openapi_extra={"requestBody": _body_of("labels", LabelRecord.model_json_schema())},
    )
    async def record(request: Request) -> Response:
        """Keep label records: chargebacks, verdicts of analysts, reversals.

        A record may be of a transaction that comes later. It is known to all that come after the newest that was taken. What
        repeats the last record of its source on the transaction is that record.
        """
        body = await parsing.read(request, "labels", slices)
        checked = await counter.check_labels(body.items, slices)
        labels = await desk.record(checked.said, checked.received_at)
        told = map(responses.recorded, labels)
        results = await slices.collect(responses.in_place(body.items, checked.faults, told), steps=len(body.items))
        metrics.count(results)
        metrics.recorded(labels)
        return await responses.laid_out(results, body.form, {}, slices)

    return score_directly


def _tell(
    app: FastAPI, desk: DecisionEngine, counter: RequestValidator, metrics: Metrics, door: Authenticator, slices: Slices
) -> None:
    """What is asked for: decisions, alerts, and how the service is."""
    closed = _failures(401, 403, 429, 503)

    @app.get(
        "/decisions/{decision}",
        dependencies=door.guards("read"),
        response_model=DecisionRecord,
        responses=_failures(401, 403, 404, 422, 429, 503),
    )
    async def decision(decision: Annotated[str, Path(pattern="^[0-9a-f]{24}$")]) -> Response:
        """Tell a decision with all that it was made of."""
        taken = desk.decision(decision)
        if taken is None:
            raise parsing.RejectedRequest(
                404, "not_found", f"there is no decision {decision}", "Ids are those of /score."
            )
        return Response(to_json(responses.record(desk, taken)), media_type=JSON)

    @app.get(
        "/alerts",
        dependencies=door.guards("read"),
        response_model=AlertsResponse,
        responses=_failures(401, 403, 422, 429, 503),
    )
    async def alerts(asked: Annotated[AlertQuery, Query()]) -> Response:
        """Tell alerts by expected loss, the largest first; with `next` where there are more."""
        found = await slices.collect(desk.alerts(asked.queue()))
        told = {"alerts": await slices.collect(responses.queued(desk, *one) for one in found)}
        more = len(found) == asked.limit
        return Response(to_json({**told, "next": cursor(found[-1][0]) if more else None}), media_type=JSON)

    @app.get("/metrics", dependencies=door.guards("read"), responses=closed | _text(), response_class=Response)
    async def told() -> Response:
        """Tell counts and times for Prometheus."""
        return Response(metrics.read(), media_type=CONTENT_TYPE_LATEST)

    page = cache(lambda: to_json(app.openapi()))  # made once: it takes longer than a request may take the event loop

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(page(), media_type=JSON)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Tell that the service runs."""
        return {"status": "ok"}

    @app.get("/model", dependencies=door.guards("read"), responses=closed)
    async def model() -> ModelFacts:
        """Tell which model answers, what it was made of, and what it knows."""
        return _facts(desk, counter)


def _tell_ready(app: FastAPI, desk: DecisionEngine, upkeep: Maintenance) -> None:
    @app.get("/ready", responses=_failures(503))
    async def ready() -> dict[str, str]:
        """Return 200 if transactions are taken: the store is in place, the journal can be written, the clock is right."""
        problem = upkeep.problem
        if problem is not None:
            raise parsing.RejectedRequest(
                503, "not_ready", problem.message, problem.hint or "Send it again.", retry_after=1
            )
        return {"status": "ready", "model_version": desk.judge.scorer.version}


def _keep_up(app: FastAPI, upkeep: Maintenance, door: Authenticator) -> None:
    """What is asked for by those who run the service."""
    refusals = _failures(401, 403, 409, 429, 503)

    @app.post("/admin/reload", dependencies=door.guards("admin"), responses=refusals)
    async def reload() -> ReloadResponse:
        """Let the model decide that was promoted last; where it cannot be used, the present one stays, and it is said why."""
        found = await upkeep.reload()
        return ReloadResponse(result=found.result, model_version=found.version)

    @app.post("/admin/snapshot", dependencies=door.guards("admin"), responses=refusals)
    async def snapshot() -> SnapshotResponse:
        """Write a snapshot of the features' state, which shortens the next start; answers when it is written."""
        found = await upkeep.snapshot()
        return SnapshotResponse(entry=found.number, checksum=found.checksum)


def _facts(desk: DecisionEngine, counter: RequestValidator) -> ModelFacts:
    scorer = desk.judge.scorer
    return ModelFacts(
        model_version=scorer.version,
        model_as_of=scorer.facts.get("as_of"),
        trained={name: value for name, value in scorer.facts.items() if name != "as_of"}
        | {"bundle_sha256": desk.judge.fingerprint},
        catalogue_hash=scorer.catalogue.hash,
        contract_version=CONTRACT_VERSION,
        features=list(scorer.model.encoder.columns),
        policy=scorer.policy.to_dict(),
        transaction=list(counter.model.model_fields),
        history=desk.history(),
    )


def _failures(*statuses: int) -> Responses:
    """How answers by an error alone are described."""
    more = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
    headers = {status: _headers(parsing.REQUEST_ID, *more.get(status, [])) for status in statuses}
    return {status: {"model": ErrorResponse, "headers": headers[status]} for status in statuses}


def _of_each(*statuses: int, failure: Any, line: str) -> Responses:
    """How answers are described that have a result for each item: where none is good, under an error's status."""
    lines = {LINES: {"schema": {"$ref": f"#/components/schemas/{line}"}}}
    told: dict[str, Any] = {"headers": _headers(parsing.REQUEST_ID), "content": lines}
    return {200: told, **{status: {**told, "model": failure} for status in statuses}}


def _text() -> Responses:
    return {
        200: {
            "headers": _headers(parsing.REQUEST_ID),
            "content": {CONTENT_TYPE_LATEST.partition(";")[0]: {"schema": {"type": "string"}}},
        }
    }


def _headers(*names: str) -> dict[str, Any]:
    kinds = {"Retry-After": {"type": "integer", "minimum": 1}}
    return {name: {"required": True, "schema": kinds.get(name, {"type": "string"})} for name in names}


def _body_of(name: str, one: dict[str, Any]) -> dict[str, Any]:
    """How a body is described: it is read by hand, so that each of its items is judged on its own."""
    example = one["examples"][0]
    many = {
        "type": "object",
        "title": name.capitalize(),
        "required": [name],
        "additionalProperties": False,
        "properties": {name: {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_ROWS}},
    }
    examples = {
        "one": {"summary": "One", "value": example},
        "several": {"summary": "Several", "value": {name: [example]}},
    }
    content = {JSON: {"schema": {"oneOf": [many, one]}, "examples": examples}, LINES: {"schema": one}}
    return {"required": True, "content": content}
