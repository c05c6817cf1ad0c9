"""Slow, broken and malformed connections get an error and are closed; other clients are not delayed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn

from fraud3000 import params as params_files
from fraud3000.service.http import parsing
from fraud3000.service.http.connection import MAX_HEAD_BYTES, MAX_PIPELINED, Connection
from fraud3000.stages.serve import Service
from tests.conftest import copy_of
from tests.service.conftest import with_store
from tests.service.world import items

PATIENCE = 15.0
"""Seconds that anything here may take."""


@pytest.fixture(scope="module")
def service(trained: Path, seeded: Path, history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of this file; each sends transactions of its own, if any."""
    folder = copy_of(seeded, tmp_path_factory.mktemp("connections"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        params = with_store(params_files.load(), folder / "service")
        with closing(Service.open(params, port=0, history=str(history), model="challenger")) as service:
            yield service


@pytest.fixture(scope="module")
def server(service: Service) -> Iterator[uvicorn.Server]:
    """The service on a port of its own, in a thread, with a read timeout of half a second."""
    config = uvicorn.Config(
        service.app, http=Connection, ws="none", log_config=None, log_level="critical", access_log=False
    )
    server = uvicorn.Server(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "READ_TIMEOUT", 0.5)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[service.listener])))
        thread.start()
        yield server
        server.should_exit = True
        thread.join()


@pytest.fixture
def port(service: Service, server: uvicorn.Server) -> int:
    """Port of the service, once no connection of an earlier test is left."""
    wait_until(lambda: not server.server_state.connections)
    return int(service.listener.getsockname()[1])


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 4 * PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


Connect = Callable[[], socket.socket]


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    with ExitStack() as opened:

        def one() -> socket.socket:
            made = opened.enter_context(closing(socket.create_connection(("127.0.0.1", port), PATIENCE)))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made

        yield one


@pytest.fixture(scope="module")
def good(newest: pl.DataFrame) -> Callable[[], bytes]:
    """Returns valid bodies, each with another transaction."""
    sent = iter(items(newest))
    return lambda: json.dumps(next(sent)).encode()


def request(body: bytes, *headers: str, to: str = "/score", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [f"POST {to} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {size}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def rest(connection: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def answers(connection: socket.socket, many: int = 1) -> list[tuple[int, dict[str, str], Any]]:
    """Read a number of responses: status, headers and content."""
    found: list[tuple[int, dict[str, str], Any]] = []
    with connection.makefile("rb") as file:
        while len(found) < many:
            status = int(file.readline().split()[1])
            lines = iter(lambda: file.readline().strip().decode(), "")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            if status >= 200:
                found.append((status, headers, json.loads(file.read(int(headers["content-length"])))))
    return found


def ask(connect: Connect, content: bytes) -> tuple[int, dict[str, str], Any]:
    connection = connect()
    connection.sendall(content)
    return answers(connection)[0]


def is_ended(connection: socket.socket, part: bytes) -> bool:
    """Send a part repeatedly; returns True if the service closes the connection."""
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            connection.sendall(part)
            time.sleep(0.05)
    except OSError:
        return True
    return False


def is_refused(answer: tuple[int, dict[str, str], Any], status: int, code: str) -> None:
    assert (answer[0], answer[2]["error"]["code"]) == (status, code)
    assert set(answer[2]["error"]) == {"code", "message", "hint"}
    assert answer[1]["x-request-id"]
    assert answer[1]["x-content-type-options"] == "nosniff"


def test_request_sent_byte_by_byte_is_answered(connect: Connect, good: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "READ_TIMEOUT", PATIENCE)
    connection = connect()
    for byte in request(good()):
        connection.send(bytes([byte]))
    assert answers(connection)[0][0] == 200


HEADS = [
    b"", b"P", b"POST /sc", b"POST /score HTTP/1.1\r\n", b"POST /score HTTP/1.1\r\nHost: x\r\nX: 1", b"\r\n\r\n"
]  # fmt: skip


def test_incomplete_head_times_out(connect: Connect, good: Any) -> None:
    slow = [connect() for _ in HEADS]
    for connection, begun in zip(slow, HEADS, strict=True):
        connection.sendall(begun)
    assert ask(connect, request(good()))[0] == 200
    assert [rest(connection) for connection in slow] == [b""] * len(HEADS)


def test_slowly_sent_head_times_out(connect: Connect) -> None:
    slow = connect()
    slow.sendall(b"POST /score HTTP/1.1\r\n")
    assert is_ended(slow, b"X: 1\r\n")


@pytest.mark.parametrize("endless", [b"x" * 1024, b"x: 1\r\n" * 100, b"x: " + b"y" * 1021])
def test_too_large_head_is_rejected(connect: Connect, good: Any, endless: bytes) -> None:
    connection = connect()
    connection.sendall(b"GET /health HTTP/1.1\r\n")
    sent = 0
    while sent <= MAX_HEAD_BYTES:
        connection.sendall(endless)
        sent += len(endless)
    is_refused(answers(connection)[0], 431, "head_too_large")
    assert ask(connect, request(good()))[0] == 200


def test_incomplete_body_times_out(connect: Connect, good: Any) -> None:
    body = good()
    begun = (request(body, length=len(body) + 1), request(b"", length=5), request(body, length=10**18))
    slow = [connect() for _ in begun]
    for connection, part in zip(slow, begun, strict=True):
        connection.sendall(part)
    for connection in slow:
        is_refused(answers(connection)[0], 408, "too_slow")
        assert rest(connection) == b"", "nothing more is waited for"


def test_rest_of_an_answered_request_times_out(connect: Connect) -> None:
    slow = connect()
    slow.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n")
    is_refused(answers(slow)[0], 415, "media_type")
    assert is_ended(slow, b"x")


def test_unread_response_times_out(server: uvicorn.Server, port: int, connect: Connect) -> None:
    before = server.server_state.total_requests
    with closing(socket.socket()) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", port))
        body = json.dumps({"transactions": [{f"{n}{'x' * 30}": 0 for n in range(5)}] * 10_000}).encode()
        lazy.settimeout(PATIENCE)
        lazy.sendall(request(body))
        wait_until(lambda: server.server_state.total_requests > before)
        wait_until(lambda: not server.server_state.connections)


def test_body_ends_at_its_content_length(connect: Connect, good: Any) -> None:
    body = good()
    connection = connect()
    connection.sendall(request(body + b"\x00more", length=len(body)))
    assert answers(connection)[0][0] == 200
    assert rest(connection) == b"", "what follows is no request"
    is_refused(ask(connect, request(body, length=len(body) - 1)), 422, "not_json")


def test_client_disconnect_is_not_an_error(connect: Connect, good: Any) -> None:
    body = good()
    errors, gone_before = counted(connect)
    for begun in (request(body, length=len(body) + 1), request(body)[:-1], b"POST /score HTTP/1.1\r\nHos"):
        gone = connect()
        gone.sendall(begun)
        time.sleep(0.05)
        gone.close()
    assert ask(connect, request(good()))[0] == 200
    wait_until(lambda: counted(connect)[1] >= gone_before + 2)
    assert counted(connect) == (errors, gone_before + 2)


def counted(connect: Connect) -> tuple[list[str], float]:
    """Counts of responses with an error of the service, and of `/score` requests whose client left."""
    connection = connect()
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    page = rest(connection).decode()
    gone = re.search(r'requests_total{route="/score",status="499"} (\S+)', page)
    return re.findall(r'requests_total{.*status="5..".*', page), float(gone[1]) if gone else 0.0


LENGTHS = ["-1", "+5", "5,5", "5, 6", "0x5", "5 5", "five", "", "9" * 40, "1e2", "5\t6"]


@pytest.mark.parametrize("length", LENGTHS)
def test_invalid_content_length_is_rejected(connect: Connect, good: Any, length: str) -> None:
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    is_refused(ask(connect, head.encode() + good()), 400, "not_http")


@pytest.mark.parametrize(
    "headers", [
        ("Content-Length: 5",), ("Transfer-Encoding: chunked",), ("Transfer-Encoding: gzip",), ("Transfer-Encoding: chunked, gzip",),
        ("Bad Header: 1",), (": 1",), ("X\x00: 1",), ("X: \x00",), (" folded",), ("X : 1",),
    ],
)  # fmt: skip
def test_ambiguous_headers_are_rejected(connect: Connect, good: Any, headers: tuple[str, ...]) -> None:
    answer = ask(connect, request(good(), *headers))
    is_refused(answer, 400, "not_http")


@pytest.mark.parametrize(
    "content", [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"{}\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1 x\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 100, b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n",
    ],
)  # fmt: skip
def test_malformed_request_is_rejected(connect: Connect, content: bytes) -> None:
    is_refused(ask(connect, content), 400, "not_http")


def test_pipelined_requests_are_answered_in_order(connect: Connect, good: Any) -> None:
    bodies = [good() for _ in range(20)]
    connection = connect()
    connection.sendall(b"".join(map(request, bodies)))
    found = [answer[2]["results"][0]["transaction_id"] for answer in answers(connection, 20)]
    assert found == [json.loads(body)["transaction_id"] for body in bodies]


def test_too_many_pipelined_requests_close_the_connection_after_earlier_responses(connect: Connect, good: Any) -> None:
    connection = connect()
    connection.sendall(request(good()) + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
    with connection.makefile("rb") as file:
        answered = file.read()
    assert answered.count(b"HTTP/1.1 200 ") == 1 + MAX_PIPELINED
    assert answered.count(b"connection: close") == 1


def test_unread_responses_close_a_pipelining_connection(server: uvicorn.Server, connect: Connect) -> None:
    lazy = connect()
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * MAX_PIPELINED
    lazy.settimeout(0.2)
    with contextlib.suppress(OSError):
        for _ in range(100):
            lazy.sendall(asked)
    wait_until(lambda: not server.server_state.connections)


@pytest.mark.parametrize(
    "head", [
        "GET /health HTTP/1.1\r\n", "GET /health HTTP/1.1\r\nHost: x\r\nHost: x\r\n", "GET /health HTTP/1.1\r\nHost: x\r\nX: 1\r\nhOST: y\r\n",
        "GET /health HTTP/1.1\r\nHost: x y\r\n", "GET /health HTTP/1.1\r\nHost: a/b\r\n", "GET /health HTTP/1.1\r\nHost: a@b\r\n",
        "GET http://x/health HTTP/1.1\r\n", "GET /health HTTP/1.0\r\nHost: x\r\nHost: x\r\n", "GET /health HTTP/1.1\r\nX-Host: x\r\n",
    ],
)  # fmt: skip
def test_request_needs_exactly_one_host_header(connect: Connect, head: str) -> None:
    is_refused(ask(connect, f"{head}\r\n".encode()), 400, "not_http")


@pytest.mark.parametrize("host", ["x", "127.0.0.1:80", "[::1]:8000", "a-b.example", ""])
def test_any_valid_host_is_accepted(connect: Connect, host: str) -> None:
    assert ask(connect, f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[0] == 200
    assert rest_of_old_http(connect).startswith(b"HTTP/1.1 200 ")


def rest_of_old_http(connect: Connect) -> bytes:
    """Response to an HTTP/1.0 request, which needs no Host header."""
    connection = connect()
    connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
    return rest(connection)


def test_many_idle_connections_are_closed(server: uvicorn.Server, connect: Connect, good: Any) -> None:
    idle = [connect() for _ in range(200)]
    for half, connection in enumerate(idle):
        connection.sendall(b"POST /score HTTP/1.1\r\n" if half % 2 else b"")
    assert ask(connect, request(good()))[0] == 200
    assert {rest(connection) for connection in idle} == {b""}
    wait_until(lambda: not server.server_state.connections)


def test_expect_continue_is_answered(connect: Connect, good: Any) -> None:
    whole = request(good(), "Expect: 100-continue")
    head = whole.index(b"\r\n\r\n") + 4
    connection = connect()
    connection.sendall(whole[:head])
    assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(whole[head:])
    assert answers(connection)[0][0] == 200


CHUNKED = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_chunked_body_is_read(connect: Connect, good: Any) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in good())
    assert ask(connect, CHUNKED + chunks + b"0\r\nTrailer: 1\r\n\r\n")[0] == 200


@pytest.mark.parametrize(
    "chunk",
    [b"x\r\n", b"-1\r\n", b"5\r\n{}\r\nxx\r\n", b"1\r\n{}\r\n", b"F" * 20 + b"\r\n", b"1 1\r\n", b"0x1\r\n{\r\n"],
)
def test_malformed_chunks_are_rejected(connect: Connect, good: Any, chunk: bytes) -> None:
    is_refused(ask(connect, CHUNKED + chunk), 400, "not_http")
    assert ask(connect, request(good()))[0] == 200


def test_incomplete_chunks_time_out(connect: Connect) -> None:
    parts = [b"", b"5\r\n", b"5\r\n{}", b"2\r\n{}\r\n", b"2\r\n{}\r\n0\r\nTrailer: "]
    slow = [connect() for _ in parts]
    for connection, part in zip(slow, parts, strict=True):
        connection.sendall(CHUNKED + part)
    for connection in slow:
        is_refused(answers(connection)[0], 408, "too_slow")
