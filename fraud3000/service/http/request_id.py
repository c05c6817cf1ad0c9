"""Middleware: request ids, one log line per request, and 500 responses to unexpected errors."""

from __future__ import annotations

import random
import re
import time

from loguru import logger
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud3000.redact import mask
from fraud3000.service.http.parsing import HEADERS, handle_internal_error
from fraud3000.wire import REQUEST_ID_HEADER

LEFT = 499
"""Status in log and metrics, never sent, of a request whose client disconnected before a response; as in nginx."""

_ID_HEADER = REQUEST_ID_HEADER.lower().encode()


class RequestIdMiddleware:
    """ASGI middleware that adds request id and security headers to responses, logs requests, and answers bugs with 500.

    Log lines that are written during a request have its id as `request_id`; each request ends with a log line of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response = _TrackedResponse(_request_id(scope), send)
        with logger.contextualize(request_id=response.id):
            try:
                await self._respond(scope, receive, response)
            finally:
                _log(scope, response)

    async def _respond(self, scope: Scope, receive: Receive, response: _TrackedResponse) -> None:
        try:
            await self._app(scope, receive, response.send)
        except ClientDisconnect:
            return  # nobody reads a response
        except Exception as error:  # a bug fails its request, not the service
            logger.opt(exception=error).error("internal error: this is a bug in fraud3000")
            if response.started and not response.complete:
                raise
            if not response.started:
                internal_error = await handle_internal_error(Request(scope), error)
                await internal_error(scope, receive, response.send)


class _TrackedResponse:
    """Sends the response to one request with its id and tracks its progress.

    Attributes
    ----------
    id
        The request id.
    status, bytes
        Status, `LEFT` until it is sent, and number of body bytes sent so far.
    started, complete
        True once the head was sent, and once the whole response was.
    """

    __slots__ = ("_begin", "_send", "bytes", "complete", "id", "started", "status")

    def __init__(self, id_: str, send: Send) -> None:
        self.id, self._send, self._begin = id_, send, time.perf_counter()
        self.started, self.complete, self.status, self.bytes = False, False, LEFT, 0

    @property
    def milliseconds(self) -> float:
        """Milliseconds since the request began."""
        return round((time.perf_counter() - self._begin) * 1000, 2)

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            message["headers"] = [*message["headers"], *HEADERS, (_ID_HEADER, self.id.encode())]
        else:
            self.bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        await self._send(message)


_lazy_logger = logger.opt(lazy=True)
_POLLED = {"/health", "/ready", "/metrics"}
_FREQUENT_ERRORS = {429, LEFT}


def _log(scope: Scope, response: _TrackedResponse) -> None:
    """Log a request; the fields are lazy, so that a line below the log level costs almost nothing."""
    route = route_of(scope)
    _lazy_logger.log(
        _level(response.status, route),
        "request",
        method=lambda: scope["method"],
        route=lambda: route,
        status=lambda: response.status,
        ms=lambda: response.milliseconds,
        bytes=lambda: response.bytes,
        key=lambda: _key(scope),
    )


def _level(status: int, route: str) -> str:
    """Return the log level of a request: errors are always shown, others with -v, and polled routes with -vv.

    Examples
    --------
    >>> _level(200, "/score"), _level(409, "/score"), _level(503, "/score"), _level(429, "/score"), _level(200, "/ready")
    ('DEBUG', 'INFO', 'ERROR', 'DEBUG', 'TRACE')
    """
    if status >= 500:
        return "ERROR"
    if status >= 400:
        return "DEBUG" if status in _FREQUENT_ERRORS else "INFO"
    return "TRACE" if route in _POLLED else "DEBUG"


def route_of(scope: Scope) -> str:
    """Return the path template of the matched route, which has no ids in it; `none` if no route matched."""
    return getattr(scope.get("route"), "path", "none")


_KEY = re.compile(rb"f3k_([0-9a-f]{8})_")


def _key(scope: Scope) -> str:
    """Return the public id of the request's API key, valid or not; empty text if there is none."""
    value = next((value for name, value in scope["headers"] if name == b"x-api-key"), b"")
    match = _KEY.match(value)
    return match[1].decode() if match else ""


_UUID = re.compile(r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}", re.IGNORECASE)
"""UUIDs and trace ids are accepted although some look like a card number by chance."""


def _request_id(scope: Scope) -> str:
    """Return the client's request id if it is printable and has no card number in it; otherwise a new one."""
    value = next((value for name, value in scope["headers"] if name == _ID_HEADER), b"")
    if 0 < len(value) <= 128 and value.isascii():
        id_ = value.decode()
        if _UUID.fullmatch(id_) or (id_.isprintable() and mask(id_) == id_):
            return id_
    return _new_request_id()


def _new_request_id() -> str:
    """Return a random UUID with letters between its digits, so that it never looks like a card number."""
    digits = f"{random.getrandbits(128):032x}"  # not a secret, so it need not come from `secrets`
    return f"{digits[:7]}a-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:25]}a{digits[26:]}"
