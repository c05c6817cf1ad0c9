"""Every answer under the id of its request, with a line in the log; and a bug told as one."""

from __future__ import annotations

import random
import re
import time

from loguru import logger
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud3000.redact import mask
from fraud3000.service.http.parsing import HEADERS, REQUEST_ID, answer_to_bug

LEFT = 499
"""The status, never sent, of a request whose sender left before an answer; that of other servers' logs."""

_ID_HEADER = REQUEST_ID.lower().encode()


class RequestIdMiddleware:
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
        answer = _TrackedResponse(_name(scope), send)
        with logger.contextualize(request_id=answer.name):
            try:
                await self._answer(scope, receive, answer)
            finally:
                _log(scope, answer)

    async def _answer(self, scope: Scope, receive: Receive, answer: _TrackedResponse) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            return  # nobody reads an answer
        except Exception as error:  # a bug must not end the service, and is told as one
            logger.opt(exception=error).error("a request failed by a bug of ours")
            if answer.begun and not answer.complete:
                raise
            if not answer.begun:
                told = await answer_to_bug(Request(scope), error)
                await told(scope, receive, answer.send)


class _TrackedResponse:
    """What goes out to one request, under its name.

    Attributes
    ----------
    status, bytes
        What went out so far; `LEFT` before anything did.
    begun, complete
        Whether its head went out, and whether all of it did.
    """

    __slots__ = ("_begin", "_send", "begun", "bytes", "complete", "name", "status")

    def __init__(self, name: str, send: Send) -> None:
        self.name, self._send, self._begin = name, send, time.perf_counter()
        self.begun, self.complete, self.status, self.bytes = False, False, LEFT, 0

    @property
    def milliseconds(self) -> float:
        """Since the request began."""
        return round((time.perf_counter() - self._begin) * 1000, 2)

    async def send(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            message["headers"] = [*message["headers"], *HEADERS, (_ID_HEADER, self.name.encode())]
        else:
            self.bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        await self._send(message)


_lazily = logger.opt(lazy=True)
_ASKED_OFTEN = {"/health", "/ready", "/metrics"}
_IN_FLOODS = {429, LEFT}


def _log(scope: Scope, answer: _TrackedResponse) -> None:
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
    given = next((value for name, value in scope["headers"] if name == _ID_HEADER), b"")
    if 0 < len(given) <= 128 and given.isascii():
        name = given.decode()
        if _UUID.fullmatch(name) or (name.isprintable() and mask(name) == name):
            return name
    return _new_name()


def _new_name() -> str:
    """A UUID in which letters part the digits, so that it never looks like a card number."""
    drawn = f"{random.getrandbits(128):032x}"  # names a request, and keeps nothing secret
    return f"{drawn[:7]}a-{drawn[8:12]}-4{drawn[13:16]}-a{drawn[17:20]}-{drawn[20:25]}a{drawn[26:]}"
