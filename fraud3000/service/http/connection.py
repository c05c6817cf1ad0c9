"""Connections that keep the service waiting are ended, and what is no HTTP is refused in the form of all refusals.

uvicorn waits for ever for the head of a request, keeps all of it however long it is, and waits for ever for the rest of
a request that it has answered, and for a client to take its answer. It queues as many pipelined requests as come, and waits
for all of that when it is asked to end.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fraud3000.service.http import parsing
from fraud3000.service.http.schemas import ErrorDetail

MOST_HEAD = 64 * 1024
"""Bytes of a request before its body."""

MOST_WAITING = 64
"""Pipelined requests that wait for the answer to the one before them; the connection takes no more than these."""

LEAST_TAKEN = 64 * 1024
"""Bytes of its answers that a client must take within `requests.LONGEST` seconds, unless it takes all of them."""

LEAVING = 1.0
"""Seconds between two looks at a connection once the service is asked to end."""

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class _Gathered:
    """A transport that sends in one piece what is written in one go: head and body of an answer."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self.written = 0  # bytes so far

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
            content, self._parts = b"".join(self._parts), []
            self.written += len(content)
            self._transport.write(content)


class Connection(HttpToolsProtocol):
    """A connection whose client must send requests, and take the answers, within `requests.LONGEST` seconds each.

    It is looked at every `requests.LONGEST` seconds, so it may last up to twice as long.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._gathered: _Gathered
        self._heads = self._seen = 0
        self._taken = self._written = (
            0  # bytes of answers that the client had taken, and that there were, at the last look
        )
        self._received = 0  # bytes since the last head was whole, or the last body
        self._sent = self._sent_before = 0  # bytes that the client sent, by now and at the last look
        self._in_head = True
        self._wrong = ""  # what is wrong with the head that was read
        self._leaving = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at it now and then."""
        self._gathered = _Gathered(transport, self.loop)
        super().connection_made(self._gathered)  # type: ignore[arg-type]
        self._timer = self.loop.call_later(parsing.LONGEST, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more, and answer none of the requests that wait."""
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless that is too much."""
        self._received += len(data)
        self._sent += len(data)
        super().data_received(data)
        most = MOST_HEAD if self._in_head else MOST_HEAD + 2 * parsing.MOST_BYTES
        if self._received > most and not self.transport.is_closing():
            hint = "Send fewer and shorter headers."
            self._refuse(431, ErrorDetail(code="head_too_large", message=f"more than {MOST_HEAD:,} bytes", hint=hint))

    def on_headers_complete(self) -> None:
        """Count heads, and refuse those that are no HTTP although they can be read, and pipelined ones that are too many.

        Raises
        ------
        ValueError
            The parser stops there, and the request is answered 400 after those before it.
        """
        self._heads += 1
        self._received, self._in_head = 0, False
        self._wrong = self._wrong_host() or self._too_many()
        if self._wrong:
            raise ValueError(self._wrong)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._received, self._in_head = 0, True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        message = self._wrong or msg.rstrip(".")
        self._refuse(400, ErrorDetail(code="not_http", message=message, hint="Send HTTP/1.1."))

    def shutdown(self) -> None:
        """Finish what was taken, without waiting for a client that does nothing meanwhile."""
        super().shutdown()
        self._leaving = True
        if self._timer is not None:
            self._timer.cancel()
        self._look_again()

    def _wrong_host(self) -> str:
        """What is wrong with the header Host, by RFC 9112, section 3.2."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1:
            return "more than one header Host"
        if not hosts:
            return "" if self.parser.get_http_version() == "1.0" else "no header Host"
        return "" if _HOST.fullmatch(hosts[0]) else "the header Host is no host"

    def _too_many(self) -> str:
        return "too many requests before the first is answered" if len(self.pipeline) >= MOST_WAITING else ""

    def _look(self) -> None:
        """End a connection whose client has kept the service waiting since the last look."""
        if self._client_is_slow():
            self.transport.abort()  # at once: what it did not take by now it will not take
            return
        self._look_again()

    def _look_again(self) -> None:
        self._seen, self._sent_before = self._heads, self._sent
        self._taken, self._written = self._taken_by_now, self._gathered.written
        self._timer = self.loop.call_later(LEAVING if self._leaving else parsing.LONGEST, self._look)

    def _client_is_slow(self) -> bool:
        """Whether the service waited for the client since the last look: to take answers, or to send a request."""
        if self._taken_by_now < self._written:
            return self._taken_by_now - self._taken < (1 if self._leaving else LEAST_TAKEN)
        if self._leaving and self._answering and self.cycle.more_body:
            return self._sent == self._sent_before
        return not self._answering and self._heads == self._seen

    @property
    def _taken_by_now(self) -> int:
        return self._gathered.written - self.transport.get_write_buffer_size()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, fault: ErrorDetail) -> None:
        if self._answering and not self.cycle.more_body:
            self.cycle.keep_alive = False  # what came before is whole, and has its answer first
            return
        answer = parsing.failure(status, fault)
        head = [*answer.raw_headers, *parsing.HEADERS, (b"x-request-id", str(uuid.uuid4()).encode())]
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in head]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()
