"""Rate limits, concurrency limits, slow clients and disconnects."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
from starlette.testclient import TestClient

from fraud3000.params import Params
from fraud3000.service.engine import decision_engine
from fraud3000.service.http import parsing
from fraud3000.service.http.api_keys import ApiKeys
from fraud3000.stages.serve import Service
from tests.service.world import items, post


def test_each_key_has_its_rate_limit(given: Params, history: Path, newest: pl.DataFrame, tmp_path: Path) -> None:
    serve = given.serve.model_copy(update={"requests_per_second": 2.0})
    how: dict[str, Any] = {"port": 0, "history": str(history), "model": "challenger"}
    with closing(Service.open(given.model_copy(update={"serve": serve}), **how)) as service:
        client = TestClient(service.app)
        one, other = (ApiKeys(tmp_path / "service" / "keys.json").add(name, ["score"]) for name in "ab")
        first = [post(client, items(newest)[0], headers={"X-API-Key": one}) for _ in range(5)]
        assert [answer.status_code for answer in first[:2]] == [200, 200]
        refused = [answer for answer in first if answer.status_code == 429]
        assert len(refused) >= 2
        assert (refused[0].json()["error"]["code"], refused[0].headers["Retry-After"]) == ("too_many", "1")
        assert post(client, items(newest)[0], headers={"X-API-Key": other}).status_code == 200
        assert client.get("/health").status_code == 200


def test_too_many_transactions_in_progress_are_rejected(
    client: TestClient, newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_engine, "MAX_IN_PROGRESS", 10)
    sent = items(newest)
    busy = post(client, {"transactions": sent[:11]})
    assert (busy.status_code, busy.json()["error"]["code"], busy.headers["Retry-After"]) == (503, "unavailable", "5")
    assert post(client, {"transactions": sent[:10]}).status_code == 200
    assert post(client, {"transactions": sent[10:20]}).status_code == 200, "room is given back"


def test_every_response_has_security_headers(client: TestClient) -> None:
    for place in ("/health", "/nowhere", "/model"):
        headers = client.get(place).headers
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


@pytest.fixture
def running(opened: Service) -> Iterator[int]:
    """The service on a port of its own, in a thread."""
    config = uvicorn.Config(opened.app, log_config=None, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[opened.listener])))
    thread.start()
    yield opened.listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def status(port: int, one: dict[str, Any]) -> int:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with closing(asked):
        asked.request("POST", "/score", json.dumps(one), {"Content-Type": "application/json"})
        return asked.getresponse().status


def test_slow_client_does_not_delay_others(running: int, newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "READ_TIMEOUT", 0.5)
    with closing(socket.create_connection(("127.0.0.1", running))) as slow:
        slow.sendall(
            b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        assert status(running, items(newest)[0]) == 200
        slow.settimeout(10)
        told = b""
        while b"}" not in told and (part := slow.recv(4096)):
            told += part
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"too_slow"' in told


def test_client_disconnect_does_no_harm(running: int, newest: pl.DataFrame) -> None:
    for begun in (b"", b"POST /sc", b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
        with closing(socket.create_connection(("127.0.0.1", running))) as gone:
            gone.sendall(begun)
    assert status(running, items(newest)[0]) == 200
