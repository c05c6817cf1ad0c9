"""HTTP/1.1 protocol of uvicorn with timeouts for slow clients, size limits, and JSON errors for malformed requests.

uvicorn itself limits neither the time and size of a request head, nor the time for the rest of a request that it has answered,
nor the time in which a client reads its response, nor the number of pipelined requests; and at shutdown it waits for all of these.
The base class is private, so uvicorn is pinned to a minor version: docs/adr/0049-a-protocol-class-of-uvicorn.md.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fraud3000.service.http import parsing
from fraud3000.wire import MAX_BODY_BYTES, ErrorDetail

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a request before its body."""

MAX_PIPELINED = 64
"""Pipelined requests that may wait for the response to an earlier one; with more, the connection is closed."""

MIN_READ = 64 * 1024
"""Bytes of its responses that a client must read within `parsing.READ_TIMEOUT` seconds, unless it reads all of them."""

SHUTDOWN_INTERVAL = 1.0
"""Seconds between two checks of a connection during shutdown."""

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class _BufferedTransport:
    """Transport that joins writes of one event-loop iteration, so that head and body of a response are sent together."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self.written = 0  # bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data in the next event-loop iteration."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        """Send all written data, then close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts:
            content, self._parts = b"".join(self._parts), []
            self.written += len(content)
            self._transport.write(content)


class Connection(HttpToolsProtocol):
    """Connection that is closed if its client does not send requests, or read responses, within the timeout.

    It is checked every `parsing.READ_TIMEOUT` seconds, so a slow client may take up to twice as long.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._buffered: _BufferedTransport
        self._heads = self._heads_before = 0  # request heads, by now and at the last check
        # bytes of responses that the client had read, and that were written, at the last check
        self._read_before = self._written_before = 0
        self._received = 0  # bytes since the end of the last head or body
        self._sent = self._sent_before = 0  # bytes that the client sent, by now and at the last check
        self._in_head = True
        self._problem = ""  # of the head that was read last
        self._shutting_down = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the periodic check."""
        self._buffered = _BufferedTransport(transport, self.loop)
        super().connection_made(self._buffered)  # type: ignore[arg-type]
        self._timer = self.loop.call_later(parsing.READ_TIMEOUT, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the periodic check and drop pipelined requests."""
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse received data; reject a head or body that is too large."""
        self._received += len(data)
        self._sent += len(data)
        super().data_received(data)
        limit = MAX_HEAD_BYTES if self._in_head else MAX_HEAD_BYTES + 2 * MAX_BODY_BYTES
        if self._received > limit and not self.transport.is_closing():
            message = f"the head of the request has more than {MAX_HEAD_BYTES:,} bytes"
            self._reject(
                431, ErrorDetail(code="head_too_large", message=message, hint="Send fewer or shorter headers.")
            )

    def on_headers_complete(self) -> None:
        """Count heads; reject invalid Host headers, which the parser accepts, and too many pipelined requests.

        Raises
        ------
        ValueError
            Stops the parser; the request is answered 400 after those before it.
        """
        self._heads += 1
        self._received, self._in_head = 0, False
        self._problem = self._host_problem() or self._pipeline_problem()
        if self._problem:
            raise ValueError(self._problem)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the head of the next request."""
        self._received, self._in_head = 0, True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request with 400."""
        message = self._problem or msg.rstrip(".")
        self._reject(400, ErrorDetail(code="not_http", message=message, hint="Send HTTP/1.1."))

    def shutdown(self) -> None:
        """Finish the requests in progress, but do not wait for a client that neither sends nor reads."""
        super().shutdown()
        self._shutting_down = True
        if self._timer is not None:
            self._timer.cancel()
        self._schedule_check()

    def _host_problem(self) -> str:
        """Return what is wrong with the Host header by RFC 9112, section 3.2; empty text if it is valid."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1:
            return "more than one Host header"
        if not hosts:
            return "" if self.parser.get_http_version() == "1.0" else "the Host header is missing"
        return "" if _HOST.fullmatch(hosts[0]) else "the Host header is not a valid host"

    def _pipeline_problem(self) -> str:
        return "too many pipelined requests" if len(self.pipeline) >= MAX_PIPELINED else ""

    def _check(self) -> None:
        """Close the connection if its client has kept the service waiting since the last check."""
        if self._client_is_slow():
            self.transport.abort()  # without sending the rest, which the client does not read
            return
        self._schedule_check()

    def _schedule_check(self) -> None:
        self._heads_before, self._sent_before = self._heads, self._sent
        self._read_before, self._written_before = self._read_by_client, self._buffered.written
        interval = SHUTDOWN_INTERVAL if self._shutting_down else parsing.READ_TIMEOUT
        self._timer = self.loop.call_later(interval, self._check)

    def _client_is_slow(self) -> bool:
        """Return True if the service waited since the last check for the client to read responses or send a request."""
        if self._read_by_client < self._written_before:
            return self._read_by_client - self._read_before < (1 if self._shutting_down else MIN_READ)
        if self._shutting_down and self._responding and self.cycle.more_body:
            return self._sent == self._sent_before
        return not self._responding and self._heads == self._heads_before

    @property
    def _read_by_client(self) -> int:
        return self._buffered.written - self.transport.get_write_buffer_size()

    @property
    def _responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _reject(self, status: int, detail: ErrorDetail) -> None:
        if self._responding and not self.cycle.more_body:
            self.cycle.keep_alive = False  # the request before this one is complete: its response goes first
            return
        response = parsing.error_response(status, detail)
        head = [*response.raw_headers, *parsing.HEADERS, (b"x-request-id", str(uuid.uuid4()).encode())]
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in head]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(response.body)]))
        self.transport.close()
