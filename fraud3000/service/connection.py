"""Connections that keep the service waiting are ended, and what is no HTTP is refused in the form of all refusals.

uvicorn waits for ever for the head of a request, keeps all of it however long it is, and waits for ever for the rest of
a request that it has answered, and for a client to take its answer.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fraud3000.service import requests
from fraud3000.service.messages import Fault

MOST_HEAD = 64 * 1024
"""Bytes of a request before its body."""


class _Gathered:
    """A transport that sends in one piece what is written in one go: head and body of an answer."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it soon."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        """Send what was written, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))


class Connection(HttpToolsProtocol):
    """A connection that must bring the head of a request, or be answered, within `requests.LONGEST` seconds."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._heads = self._seen = 0
        self._received = 0  # bytes since the last head was whole, or the last body
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at it now and then."""
        super().connection_made(_Gathered(transport, self.loop))  # type: ignore[arg-type]
        self._timer = self.loop.call_later(requests.LONGEST, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless that is too much."""
        self._received += len(data)
        super().data_received(data)
        most = MOST_HEAD if self._in_head else MOST_HEAD + 2 * requests.MOST_BYTES
        if self._received > most and not self.transport.is_closing():
            hint = "Send fewer and shorter headers."
            self._refuse(431, Fault(code="head_too_large", message=f"more than {MOST_HEAD:,} bytes", hint=hint))

    def on_headers_complete(self) -> None:
        """Count heads."""
        self._heads += 1
        self._received, self._in_head = 0, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._received, self._in_head = 0, True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, Fault(code="not_http", message=msg.rstrip("."), hint="Send HTTP/1.1."))

    def _look(self) -> None:
        """End a connection that has brought nothing since the last look and is not being answered."""
        if not self._answering and self._heads == self._seen:
            self.transport.abort()  # at once: what it did not take by now it will not take
            return
        self._seen = self._heads
        self._timer = self.loop.call_later(requests.LONGEST, self._look)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, fault: Fault) -> None:
        if self._answering and not self.cycle.more_body:
            self.cycle.keep_alive = False  # what came before is whole, and has its answer first
            return
        answer = requests.failure(status, fault)
        head = [*answer.raw_headers, *requests.HEADERS, (b"x-request-id", str(uuid.uuid4()).encode())]
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in head]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()
