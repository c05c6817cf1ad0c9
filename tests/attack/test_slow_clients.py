"""Clients that never read, send slowly, pipeline without end or have no key delay neither others nor the shutdown."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fraud3000.service.http import parsing
from fraud3000.service.http.api_keys import SCOPES, ApiKeys
from fraud3000.service.http.connection import MAX_PIPELINED
from tests.attack.bystander import PATIENCE, Bystander, Running, ask, serving, transaction

GRACE = 30.0
"""Seconds of `serve.grace`: the documented time for requests under way once the service is asked to end."""

MANY = 400
RESPONSIVE = 1.0
"""Seconds, beyond those in quiet, in which a bystander is answered while hundreds of connections are open."""


@pytest.fixture
def running(trained: Path, tmp_path: Path) -> Iterator[Running]:
    with serving(trained, tmp_path) as service:
        yield service


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def connected(opened: ExitStack, port: int, *, room: int | None = None) -> socket.socket:
    """A connection; with `room`, one that takes so many bytes of its answers before it is full."""
    made = opened.enter_context(closing(socket.socket()))
    if room is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    made.settimeout(PATIENCE)
    made.connect(("127.0.0.1", port))
    return made


def send_what_goes(connection: socket.socket, content: bytes, times: int) -> None:
    """Send until the service stops reading or closes the connection."""
    connection.settimeout(0.05)
    with contextlib.suppress(OSError):
        for _ in range(times):
            connection.sendall(content)


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def never_reading(opened: ExitStack, port: int, many: int) -> list[socket.socket]:
    """Connections that request long responses and read none."""
    asked = get("/openapi.json") * MAX_PIPELINED
    made = [connected(opened, port, room=4096) for _ in range(many)]
    for connection in made:
        send_what_goes(connection, asked, 4)
    return made


def slowly_sending(opened: ExitStack, port: int, many: int) -> list[socket.socket]:
    """Connections with an incomplete request body."""
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    made = [connected(opened, port) for _ in range(many)]
    for connection in made:
        connection.sendall(head)
    return made


def seconds_to_end(running: Running) -> float:
    begin = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(timeout=4 * GRACE) == 128 + signal.SIGTERM
    return time.monotonic() - begin


def transactions_taken(running: Running) -> int:
    """Number of transactions since the start of the service."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/model", timeout=PATIENCE) as answer:
        return int(json.load(answer)["history"]["since_start"])


def still_open(connections: list[socket.socket], seconds: float) -> int:
    """How many connections, from which nothing is read, the service has not closed by then; each round tries all of them."""
    end, left = time.monotonic() + seconds, list(connections)
    while left and time.monotonic() < end:
        left = [connection for connection in left if not _is_closed(connection)]
        time.sleep(0.5)
    return len(left)


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        connection.send(b"X")  # the other end answers the first one by a reset, which the next one reports
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False


def test_shutdown_does_not_wait_for_idle_clients(running: Running, connections: ExitStack) -> None:
    never_reading(connections, running.port, 20)
    slowly_sending(connections, running.port, 20)
    connected(connections, running.port).sendall(b"GET /health HTTP/1.1\r\nHos")
    connected(connections, running.port)
    bystander = Bystander(running.port)
    bystander.quiet()
    assert bystander.statuses == {200}
    assert seconds_to_end(running) < GRACE / 2


def test_request_in_progress_is_answered_before_shutdown(running: Running, connections: ExitStack) -> None:
    never_reading(connections, running.port, 5)
    content = json.dumps({"transactions": [transaction() for _ in range(2_000)]}).encode()
    found: list[int] = []

    def send() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)) as connection:
            found.append(ask(connection, content))

    beside = threading.Thread(target=send)
    beside.start()
    while transactions_taken(running) == 0:
        time.sleep(0.01)
    assert seconds_to_end(running) < 2 * GRACE
    beside.join()
    assert found == [200]


def test_hundreds_of_clients_without_a_key_do_not_delay_others(
    running: Running, connections: ExitStack, tmp_path: Path
) -> None:
    key = ApiKeys(tmp_path / "service" / "keys.json").add("bystander", SCOPES)
    bystander = Bystander(running.port, {"X-API-Key": key})
    quiet = bystander.quiet()
    asked = (get("/model") + get("/nowhere", "X-API-Key: f3k_1_2")) * 500
    with bystander.watching():
        for _ in range(MANY):
            send_what_goes(connected(connections, running.port, room=4096), asked, 2)
    assert bystander.statuses == {200}
    assert sorted(bystander.seconds)[len(bystander.seconds) // 2] - quiet < RESPONSIVE
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)) as connection:
        assert {ask(connection, b"", "/alerts") for _ in range(100)} <= {0, 401, 429}
    assert seconds_to_end(running) < GRACE / 2


def test_pipelined_requests_are_answered_up_to_the_limit(running: Running, connections: ExitStack) -> None:
    connection = connected(connections, running.port)
    connection.sendall(get("/health") * 20)
    with connection.makefile("rb") as file:
        for _ in range(20):
            assert file.readline().startswith(b"HTTP/1.1 200")
            length = next(int(line.split()[1]) for line in iter(file.readline, b"\r\n") if b"content-length" in line)
            while file.readline() != b"\r\n":
                pass
            assert json.loads(file.read(length)) == {"status": "ok"}
    greedy = connected(connections, running.port)
    send_what_goes(greedy, get("/health") * 5_000, 1)
    greedy.settimeout(PATIENCE)
    answered = b""
    with contextlib.suppress(ConnectionResetError):
        while part := greedy.recv(65_536):
            answered += part
    assert 0 < answered.count(b"HTTP/1.1 200") < 5_000


@pytest.mark.slow
@pytest.mark.alone
def test_slow_clients_are_disconnected_within_the_documented_time(running: Running, connections: ExitStack) -> None:
    lazy = never_reading(connections, running.port, MANY)
    slow = slowly_sending(connections, running.port, 50)
    bystander = Bystander(running.port)
    quiet = bystander.quiet()
    with bystander.watching():
        assert still_open([*lazy, *slow], 2 * parsing.READ_TIMEOUT + PATIENCE) == 0
    assert bystander.statuses == {200}
    assert sorted(bystander.seconds)[len(bystander.seconds) // 2] - quiet < RESPONSIVE
    assert seconds_to_end(running) < GRACE / 2


@pytest.mark.slow
@pytest.mark.alone
def test_client_that_reads_a_byte_at_a_time_is_disconnected(running: Running, connections: ExitStack) -> None:
    """Some bytes now and then are no progress: an answer must be taken at a least rate."""
    (trickling,) = never_reading(connections, running.port, 1)
    end = time.monotonic() + 2 * parsing.READ_TIMEOUT + PATIENCE
    ended = False
    trickling.settimeout(1)
    while not ended and time.monotonic() < end:
        try:
            ended = not trickling.recv(16)
        except TimeoutError:
            continue
        except ConnectionError:
            ended = True
        time.sleep(0.2)
        if not ended and time.monotonic() > end - PATIENCE:  # what the kernel holds still comes; the other end is gone
            try:
                trickling.send(b"X")
            except ConnectionError:
                ended = True
    assert ended
