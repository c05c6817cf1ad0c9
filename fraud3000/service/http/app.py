"""FastAPI application: routes, their OpenAPI descriptions, and the middleware stack."""

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
from fraud3000.service.http.alert_query import AlertQuery, cursor
from fraud3000.service.http.authentication import Authentication, Authenticator
from fraud3000.service.http.metrics import Metrics, MetricsMiddleware
from fraud3000.service.http.request_id import RequestIdMiddleware
from fraud3000.service.http.schemas import (
    AlertsResponse,
    ErrorResponse,
    LabelRecord,
    LabelsResponse,
    ModelResponse,
    NoDecisionsResponse,
    NoLabelsResponse,
    ReloadResponse,
    ScoreQuery,
    ScoreResponse,
    SnapshotResponse,
)
from fraud3000.service.http.time_slices import Slices
from fraud3000.service.http.validation import RequestValidator
from fraud3000.service.maintenance.maintenance import Maintenance
from fraud3000.wire import JSON, MAX_ITEMS, NDJSON, REQUEST_ID_HEADER, DecisionRecord

Responses = dict[int | str, dict[str, Any]]
"""OpenAPI descriptions of responses, by status."""


def create_app(
    engine: DecisionEngine,
    validator: RequestValidator,
    keys: api_keys.ApiKeys,
    maintenance: Maintenance,
    *,
    requests_per_second: float | None = None,
) -> ASGIApp:
    """Create the ASGI application of the service.

    Parameters
    ----------
    engine
        Decides transactions and stores labels.
    validator
        Validates transactions and label records.
    keys
        API keys for the header `X-API-Key`; without any, no key is required.
    maintenance
        Background tasks, which run while the application runs.
    requests_per_second
        Rate limit of each key; None for no limit.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with maintenance.running():
            yield

    app = FastAPI(
        title="fraud3000",
        summary="Fraud decisions for card transactions.",
        version=engine.decider.scorer.version,
        docs_url=None,  # these pages load scripts from another host
        redoc_url=None,
        openapi_url=None,  # /openapi.json is defined below, with the same authentication as other routes
        dependencies=[Depends(parsing.guard_query)],
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would use the client's Host header
        responses={200: {"headers": _headers(REQUEST_ID_HEADER)}, **_failures(500)},
    )
    metrics = Metrics(engine)
    metrics.watch_maintenance(maintenance)
    metrics.watch_nulled(validator.nulled)
    parsing.add_error_handlers(app)
    authenticator = Authenticator(keys, api_keys.RateLimiter(requests_per_second))
    slices = Slices()
    fast_score = _add_write_routes(app, engine, validator, metrics, authenticator, slices)
    _add_read_routes(app, engine, validator, metrics, authenticator, slices)
    _add_ready_route(app, engine, maintenance)
    _add_admin_routes(app, maintenance, authenticator)
    # Plain ASGI middleware around FastAPI, because FastAPI's own takes as long as a short request.
    authenticated = Authentication(fast_route.FastRoute(app, "/score", fast_score), authenticator)
    return MetricsMiddleware(RequestIdMiddleware(authenticated), metrics)


def _add_write_routes(
    app: FastAPI,
    engine: DecisionEngine,
    validator: RequestValidator,
    metrics: Metrics,
    authenticator: Authenticator,
    slices: Slices,
) -> fast_route.Handler:
    """Add the routes for transactions and labels; returns the handler of the fast path for transactions."""
    failures = _failures(401, 403, 408, 413, 415, 429, 503)

    @app.post(
        "/score",
        dependencies=authenticator.dependencies("score"),
        response_model=ScoreResponse,
        response_model_exclude_none=True,
        responses=failures
        | _item_responses(409, 422, failure=ErrorResponse | NoDecisionsResponse, line="DecisionResult"),
        openapi_extra={"requestBody": _request_body("transactions", validator.model.model_json_schema())},
    )
    async def score(request: Request, query: Annotated[ScoreQuery, Query()]) -> Response:
        """Score one transaction, or up to 10,000.

        Transactions are processed in time order (then by id) and returned in request order. Features of later transactions
        include them. An invalid transaction gets its own error; the rest are scored. If no transaction was decided, the response
        has the status of the first error.
        """
        deadline = math.inf if query.deadline_ms is None else time.monotonic() + query.deadline_ms / 1000
        body = await parsing.read_body(request, "transactions", slices)
        with metrics.stage("check"):
            checked = await validator.check(body.items, slices)
        with metrics.stage("decide and keep"):
            decided = await engine.decide(checked.rows, checked.received_at, reasons=query.reasons, deadline=deadline)
        valid = map(responses.decision_result, repeat(engine), decided, repeat(query.reasons))
        results = await slices.collect(responses.merge_errors(body.items, checked.errors, valid), steps=len(body.items))
        metrics.count_errors(results)
        logger.debug("score rows={} rejected={}", len(results), len(checked.errors))
        head = {"model_version": engine.decider.scorer.version}
        return await responses.results_response(results, body.form, head, slices)

    async def fast_score(request: Request) -> Response:
        authenticator.authorize("score", request.scope)
        return await score(request, fast_route.query(request, ScoreQuery))

    @app.post(
        "/labels",
        dependencies=authenticator.dependencies("label"),
        response_model=LabelsResponse,
        response_model_exclude_none=True,
        responses=failures | _item_responses(422, failure=ErrorResponse | NoLabelsResponse, line="LabelResult"),
        openapi_extra={"requestBody": _request_body("labels", LabelRecord.model_json_schema())},
    )
    async def record(request: Request) -> Response:
        """Record labels: chargebacks, analysts' verdicts, reversals.

        A label may arrive before its transaction. Features of all transactions after the newest accepted one use it. A record
        that repeats the last record of its source about a transaction is not stored again: you get that record.
        """
        body = await parsing.read_body(request, "labels", slices)
        checked = await validator.check_labels(body.items, slices)
        labels = await engine.record(checked.labels, checked.received_at)
        valid = map(responses.label_result, labels)
        results = await slices.collect(responses.merge_errors(body.items, checked.errors, valid), steps=len(body.items))
        metrics.count_errors(results)
        metrics.count_labels(labels)
        return await responses.results_response(results, body.form, {}, slices)

    return fast_score


def _add_read_routes(
    app: FastAPI,
    engine: DecisionEngine,
    validator: RequestValidator,
    metrics: Metrics,
    authenticator: Authenticator,
    slices: Slices,
) -> None:
    """Add the routes for decisions, alerts, metrics, model, health and the OpenAPI description."""
    failures = _failures(401, 403, 429, 503)

    @app.get(
        "/decisions/{decision}",
        dependencies=authenticator.dependencies("read"),
        response_model=DecisionRecord,
        responses=_failures(401, 403, 404, 422, 429, 503),
    )
    async def decision(decision: Annotated[str, Path(pattern="^[0-9a-f]{24}$")]) -> Response:
        """Return a decision with its transaction, features and label records."""
        entry = engine.decision(decision)
        if entry is None:
            message, hint = f"there is no decision {decision}", "Send a `decision_id` from a response of /score."
            raise parsing.RejectedRequest(404, "not_found", message, hint)
        return Response(to_json(responses.decision_record(engine, entry)), media_type=JSON)

    @app.get(
        "/alerts",
        dependencies=authenticator.dependencies("read"),
        response_model=AlertsResponse,
        responses=_failures(401, 403, 422, 429, 503),
    )
    async def alerts(query: Annotated[AlertQuery, Query()]) -> Response:
        """Return alerts in descending order of expected loss, page by page."""
        entries = await slices.collect(engine.alerts(query.to_filter()))
        items = await slices.collect(responses.alert_item(engine, *pair) for pair in entries)
        full = len(entries) == query.limit
        page = {"alerts": items, "next": cursor(entries[-1][0]) if full else None}
        return Response(to_json(page), media_type=JSON)

    @app.get(
        "/metrics",
        dependencies=authenticator.dependencies("read"),
        responses=failures | _text(),
        response_class=Response,
    )
    async def prometheus() -> Response:
        """Return metrics in the Prometheus text format."""
        return Response(metrics.read(), media_type=CONTENT_TYPE_LATEST)

    description = cache(
        lambda: to_json(app.openapi())
    )  # cached, since it takes longer than a request may block the event loop

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(description(), media_type=JSON)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Return 200 while the process runs."""
        return {"status": "ok"}

    @app.get("/model", dependencies=authenticator.dependencies("read"), responses=failures)
    async def model() -> ModelResponse:
        """Return the deciding model: version, training, features, policy and history."""
        return _model_response(engine, validator)


def _add_ready_route(app: FastAPI, engine: DecisionEngine, maintenance: Maintenance) -> None:
    @app.get("/ready", responses=_failures(503))
    async def ready() -> dict[str, str]:
        """Return 200 if transactions are accepted: the store is in place, the journal can be written, the clock is right."""
        problem = maintenance.problem
        if problem is not None:
            hint = problem.hint or "Send the request again."
            raise parsing.RejectedRequest(503, "not_ready", problem.message, hint, retry_after=1)
        return {"status": "ready", "model_version": engine.decider.scorer.version}


def _add_admin_routes(app: FastAPI, maintenance: Maintenance, authenticator: Authenticator) -> None:
    """Add the routes for operators of the service."""
    failures = _failures(401, 403, 409, 429, 503)

    @app.post("/admin/reload", dependencies=authenticator.dependencies("admin"), responses=failures)
    async def reload() -> ReloadResponse:
        """Load the latest promoted model. If it fails to load, keep the current one and return the reason."""
        reloaded = await maintenance.reload()
        return ReloadResponse(result=reloaded.result, model_version=reloaded.version)

    @app.post("/admin/snapshot", dependencies=authenticator.dependencies("admin"), responses=failures)
    async def snapshot() -> SnapshotResponse:
        """Write a snapshot of the feature state, which shortens the next start; returns when it is written."""
        written = await maintenance.snapshot()
        return SnapshotResponse(entry=written.number, checksum=written.checksum)


def _model_response(engine: DecisionEngine, validator: RequestValidator) -> ModelResponse:
    scorer = engine.decider.scorer
    return ModelResponse(
        model_version=scorer.version,
        model_as_of=scorer.facts.get("as_of"),
        trained={name: value for name, value in scorer.facts.items() if name != "as_of"}
        | {"bundle_sha256": engine.decider.fingerprint},
        catalogue_hash=scorer.catalogue.hash,
        contract_version=CONTRACT_VERSION,
        features=list(scorer.model.encoder.columns),
        policy=scorer.policy.to_dict(),
        transaction=list(validator.model.model_fields),
        history=engine.history(),
    )


def _failures(*statuses: int) -> Responses:
    """Describe error responses."""
    more = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
    headers = {status: _headers(REQUEST_ID_HEADER, *more.get(status, [])) for status in statuses}
    return {status: {"model": ErrorResponse, "headers": headers[status]} for status in statuses}


def _item_responses(*statuses: int, failure: Any, line: str) -> Responses:
    """Describe responses with a result for each item.

    Parameters
    ----------
    statuses
        Of responses in which all items failed.
    failure
        Model of such a response.
    line
        Name of the model of a line of NDJSON.
    """
    lines = {NDJSON: {"schema": {"$ref": f"#/components/schemas/{line}"}}}
    response: dict[str, Any] = {"headers": _headers(REQUEST_ID_HEADER), "content": lines}
    return {200: response, **{status: {**response, "model": failure} for status in statuses}}


def _text() -> Responses:
    return {
        200: {
            "headers": _headers(REQUEST_ID_HEADER),
            "content": {CONTENT_TYPE_LATEST.partition(";")[0]: {"schema": {"type": "string"}}},
        }
    }


def _headers(*names: str) -> dict[str, Any]:
    kinds = {"Retry-After": {"type": "integer", "minimum": 1}}
    return {name: {"required": True, "schema": kinds.get(name, {"type": "string"})} for name in names}


def _request_body(name: str, item: dict[str, Any]) -> dict[str, Any]:
    """Describe a request body, which FastAPI does not parse, because each item is validated on its own.

    Parameters
    ----------
    name
        Key of the list of items.
    item
        JSON schema of an item, with examples.
    """
    example = item["examples"][0]
    items = {
        "type": "object",
        "title": name.capitalize(),
        "required": [name],
        "additionalProperties": False,
        "properties": {name: {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_ITEMS}},
    }
    examples = {
        "one": {"summary": "One", "value": example},
        "several": {"summary": "Several", "value": {name: [example]}},
    }
    content = {JSON: {"schema": {"oneOf": [items, item]}, "examples": examples}, NDJSON: {"schema": item}}
    return {"required": True, "content": content}
