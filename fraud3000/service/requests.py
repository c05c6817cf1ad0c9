"""Requests read with care, and all that can be wrong with one told in one form."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from loguru import logger
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud3000.errors import DataError, FraudError, ScorerError, UnavailableError
from fraud3000.service.messages import MOST_ROWS, Failure, Fault

JSON, LINES = "application/json", "application/x-ndjson"
MOST_BYTES = 16 * 1024 * 1024
LONGEST = 20.0
"""Seconds that a request may take to come in."""

_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_FAULTS = {DataError: 422, ScorerError: 409, UnavailableError: 503}
_SAID = {401: "no_key", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type"}


class Refused(Exception):
    """A request that is answered by an error alone."""

    def __init__(self, status: int, code: str, message: str, hint: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.fault, self.retry_after = status, Fault(code=code, message=message, hint=hint), retry_after


@dataclass(frozen=True)
class Body:
    """What a request sent, and the form in which it came."""

    items: Sequence[Any]
    form: Literal["one", "list", "lines"]


async def read(request: Request, name: str) -> Body:
    """Read one object, or a list of them under a name, or one on each line.

    Raises
    ------
    Refused
        It is nothing of that, or too much.
    """
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in (JSON, LINES):
        raise Refused(415, "media_type", f"'{kind}' is not read here", f"Send {JSON} or {LINES}.")
    content = await _bytes(request)
    if kind == LINES:
        lines = [line for line in content.split(b"\n") if line.strip()]
        return _body([_parsed(line) for line in lines], "lines", name)
    parsed = _parsed(content)
    if isinstance(parsed, dict) and name not in parsed:
        return _body([parsed], "one", name)
    if not isinstance(parsed, dict) or not isinstance(parsed[name], list) or len(parsed) > 1:
        hint = f'Send {{"{name}": [{{…}}, …]}} or one of them as an object.'
        raise Refused(422, f"no_{name}", f"the body has no list of {name}", hint)
    return _body(parsed[name], "list", name)


def _body(items: list[Any], form: Literal["one", "list", "lines"], name: str) -> Body:
    if len(items) > MOST_ROWS:
        said = f"{len(items):,} {name}, and a request takes {MOST_ROWS:,}"
        raise Refused(413, "too_large", said, "Send them in several requests, or as a file by the command line.")
    odd = next((place for place, item in enumerate(items) if not isinstance(item, dict)), None)
    if odd is not None or not items:
        one = name.removesuffix("s")
        said = f"no {one}" if odd is None else f"what stands at place {odd + 1} is no {one}"
        raise Refused(422, f"no_{name}", said, f"A {one} is an object; see /openapi.json.")
    return Body(items, form)


async def _bytes(request: Request) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(LONGEST):
            async for part in request.stream():
                size += len(part)
                if size > MOST_BYTES:
                    said = f"more than {MOST_BYTES // 1024**2} MiB"
                    raise Refused(413, "too_large", said, "Send less in a request.")
                parts.append(part)
    except TimeoutError:
        said = f"the request did not come within {LONGEST:.0f} s"
        raise Refused(408, "too_slow", said, "Send it again, all at once.") from None
    return b"".join(parts)


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError as error:
        place = str(error).partition(" at ")
        said = f"the body is not JSON ({place[0]}{place[1]}{place[2]})"
        raise Refused(422, "not_json", said, "Send one JSON document, or one on each line.") from None


def id_of(item: Any) -> str | None:
    """The transaction that a wrong item names, if it does."""
    given = item.get("transaction_id")
    return given if isinstance(given, str) else None


class Named:
    """Gives every answer the id of its request and headers that keep it from being misread, and tells a bug as one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name, begun = _name(scope), False

        async def named(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *_HEADERS, (b"x-request-id", name)]
            await send(message)

        try:
            await self._app(scope, receive, named)
        except ClientDisconnect:
            return  # nobody reads an answer
        except Exception as error:  # a bug must not end the service, and is told as one
            logger.opt(exception=error).error("a request failed by a bug of ours")
            if begun:
                raise
            hint = "Please report it with what the service's log says."
            answer = failure(500, Fault(code="internal", message="this is a bug in fraud3000", hint=hint))
            await answer(scope, receive, named)


def _name(scope: Scope) -> bytes:
    """The id that a request brings, if it can be repeated; else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    usable = 0 < len(given) <= 128 and given.isascii() and given.decode("latin-1").isprintable()
    return given if usable else str(uuid.uuid4()).encode()


def answer_errors(app: FastAPI) -> None:
    """Tell every error in the form of `Failure`."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return failure(error.status, error.fault, retry_after=error.retry_after)

    @app.exception_handler(FraudError)
    async def ours(_: Request, error: FraudError) -> Response:
        status = next((code for kind, code in _FAULTS.items() if isinstance(error, kind)), 500)
        code = type(error).__name__.removesuffix("Error").lower()
        return failure(status, Fault(code=code, message=error.message, hint=error.hint or ""))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        told = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return failure(422, Fault(code="invalid_request", message=told, hint="See /openapi.json."))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = _SAID.get(error.status_code, HTTPStatus(error.status_code).name.lower())
        said = f"{request.method} {request.url.path}: {error.detail}"
        return failure(error.status_code, Fault(code=code, message=said, hint="See /openapi.json."))


def failure(status: int, fault: Fault, *, retry_after: int | None = None) -> Response:
    """The answer to a request that is answered by an error alone."""
    wait = 5 if status == 503 and retry_after is None else retry_after
    headers = None if wait is None else {"Retry-After": str(wait)}
    return JSONResponse(Failure(error=fault).model_dump(), status_code=status, headers=headers)
