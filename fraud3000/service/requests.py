"""Requests read with care, and all that can be wrong with one told in one form."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
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
from fraud3000.redact import mask
from fraud3000.service.messages import MOST_ROWS, Failure, Fault

JSON, LINES = "application/json", "application/x-ndjson"
MOST_BYTES = 16 * 1024 * 1024
LONGEST = 20.0
"""Seconds that a request may take to come in."""

LEFT = 499
"""The status, never sent, of a request whose sender left before an answer; that of other servers' logs."""

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
    """Gives every answer the id of its request and headers that keep it from being misread, and tells a bug as one.

    All that is logged meanwhile bears the id as `request_id`, and at the end there is one line about the request itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(_name(scope), send)
        with logger.contextualize(request_id=answer.name):
            try:
                await self._answer(scope, receive, answer)
            finally:
                _log(scope, answer)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            return  # nobody reads an answer
        except Exception as error:  # a bug must not end the service, and is told as one
            logger.opt(exception=error).error("a request failed by a bug of ours")
            if answer.begun:
                raise
            hint = "Please report it with what the service's log says."
            told = failure(500, Fault(code="internal", message="this is a bug in fraud3000", hint=hint))
            await told(scope, receive, answer.send)


class _Answer:
    """What goes out to one request, under its name.

    Attributes
    ----------
    status, bytes
        What went out so far; `LEFT` before anything did.
    """

    __slots__ = ("_begin", "_send", "begun", "bytes", "name", "status")

    def __init__(self, name: str, send: Send) -> None:
        self.name, self._send, self._begin = name, send, time.perf_counter()
        self.begun, self.status, self.bytes = False, LEFT, 0

    @property
    def milliseconds(self) -> float:
        """Since the request began."""
        return round((time.perf_counter() - self._begin) * 1000, 2)

    async def send(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            message["headers"] = [*message["headers"], *_HEADERS, (b"x-request-id", self.name.encode())]
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)


_lazily = logger.opt(lazy=True)
_ASKED_OFTEN = {"/health", "/ready", "/metrics"}
_IN_FLOODS = {429, LEFT}


def _log(scope: Scope, answer: _Answer) -> None:
    """Log a request, in a line that costs next to nothing where nobody wants it."""
    route = route_of(scope)
    _lazily.log(
        _level(answer.status, route),
        "request",
        method=lambda: scope["method"],
        route=lambda: route,
        status=lambda: answer.status,
        ms=lambda: answer.milliseconds,
        bytes=lambda: answer.bytes,
        key=lambda: _key(scope),
    )


def _level(status: int, route: str) -> str:
    """How loudly a request is told of: what went wrong always, the rest by -v, and what is asked all the time by -vv.

    Examples
    --------
    >>> _level(200, "/score"), _level(409, "/score"), _level(503, "/score"), _level(429, "/score"), _level(200, "/ready")
    ('DEBUG', 'INFO', 'ERROR', 'DEBUG', 'TRACE')
    """
    if status >= 500:
        return "ERROR"
    if status >= 400:
        return "DEBUG" if status in _IN_FLOODS else "INFO"
    return "TRACE" if route in _ASKED_OFTEN else "DEBUG"


def route_of(scope: Scope) -> str:
    """The template of the route that answers, which names nobody's id; `none` where there is none."""
    return getattr(scope.get("route"), "path", "none")


_KEY = re.compile(rb"f3k_([0-9a-f]{8})_")


def _key(scope: Scope) -> str:
    """The public id in the key that came, good or not; empty where there is none."""
    given = next((value for name, value in scope["headers"] if name == b"x-api-key"), b"")
    found = _KEY.match(given)
    return found[1].decode() if found else ""


_UUID = re.compile(r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}", re.IGNORECASE)
"""Of UUIDs and trace ids some look like a card number by chance."""


def _name(scope: Scope) -> str:
    """The id that a request brings, if it can be repeated and holds no card number; else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    if 0 < len(given) <= 128 and given.isascii():
        name = given.decode()
        if _UUID.fullmatch(name) or (name.isprintable() and mask(name) == name):
            return name
    return _new_name()


def _new_name() -> str:
    """A UUID in which letters part the digits, so that it never looks like a card number."""
    drawn = secrets.token_hex(16)
    return f"{drawn[:7]}a-{drawn[8:12]}-4{drawn[13:16]}-a{drawn[17:20]}-{drawn[20:25]}a{drawn[26:]}"


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
