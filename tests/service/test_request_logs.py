"""Request log: one JSON object per line, with the request id of the response and without card numbers."""

from __future__ import annotations

import asyncio
import http.client
import io
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
import yaml
from loguru import logger
from starlette.testclient import TestClient

from fraud3000 import logs
from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.http.api_keys import ApiKeys
from fraud3000.stages.serve import Service
from tests.service.world import items, post

CARD = "4111 1111 1111 1111"
DIGITS = CARD.replace(" ", "")
ABOUT_A_REQUEST = {"time", "level", "module", "message", "request_id", "method", "route", "status", "ms", "bytes"}
COMMAND = str(Path(sys.executable).with_name("fraud3000"))

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    yield
    logger.remove()
    logging.captureWarnings(capture=False)
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)


def logged(verbosity: int) -> Lines:
    """Log as JSON; returns a function for the lines since its last call."""
    stream = io.StringIO()
    logs.set_up(verbosity, style="json", stream=stream)

    def lines() -> list[dict[str, Any]]:
        told = stream.getvalue()
        stream.truncate(0)
        stream.seek(0)
        assert DIGITS not in told.replace(" ", "")
        return [json.loads(line) for line in told.splitlines()]

    return lines


@contextmanager
def running(opened: Service) -> Iterator[int]:
    """The service on a port of its own, in a thread; the log is complete after it."""
    server = uvicorn.Server(uvicorn.Config(opened.app, log_config=None, log_level="warning", access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[opened.listener])))
    thread.start()
    try:
        yield opened.listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def ask(
    port: int, method: str, place: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, str, int]:
    """Send a request; returns status, request id and length of the response."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as asked:
        content = None if body is None else json.dumps(body)
        asked.request(method, place, content, {"Content-Type": "application/json", **(headers or {})})
        answer = asked.getresponse()
        return answer.status, answer.headers["X-Request-ID"], len(answer.read())


def test_each_request_has_one_line_with_its_main_fields(
    client: TestClient, newest: pl.DataFrame, tmp_path: Path
) -> None:
    lines = logged(1)
    key = ApiKeys(tmp_path / "service" / "keys.json").add("shop", ["score"])
    answer = post(client, items(newest)[0], headers={"X-API-Key": key})
    [line] = [one for one in lines() if one["message"] == "request"]
    assert set(line) == {*ABOUT_A_REQUEST, "key"}
    told = {name: line[name] for name in ("level", "method", "route", "status", "bytes", "request_id")}
    assert told == {
        "level": "debug",
        "method": "POST",
        "route": "/score",
        "status": 200,
        "bytes": len(answer.content),
        "request_id": answer.headers["X-Request-ID"],
    }
    assert line["ms"] > 0
    assert key.startswith(f"f3k_{line['key']}_")
    assert key.rpartition("_")[2] not in json.dumps(line)


def test_request_ids_of_concurrent_requests_do_not_mix(opened: Service, newest: pl.DataFrame) -> None:
    lines = logged(1)
    sent = items(newest)
    kinds = [
        ("POST", "/score", "/score"),
        ("GET", "/nowhere", "none"),
        ("GET", "/decisions/x", "/decisions/{decision}"),
    ]

    def go(n: int) -> tuple[str, tuple[str, str, int, int]]:
        (method, place, route), mine = kinds[n % 3], {"X-Request-ID": f"mine-{n}"} if n % 2 else {}
        status, id_, length = ask(port, method, place, sent[n] if method == "POST" else None, mine)
        assert id_ == mine.get("X-Request-ID", id_)
        return id_, (method, route, status, length)

    with running(opened) as port, ThreadPoolExecutor(12) as pool:
        answers = dict(pool.map(go, range(60)))
    found = lines()
    of_requests = [one for one in found if one["message"] == "request"]
    told = {one["request_id"]: (one["method"], one["route"], one["status"], one["bytes"]) for one in of_requests}
    assert len(of_requests) == len(answers) == 60
    assert told == answers
    on_the_way = [one["request_id"] for one in found if one["message"].startswith("score rows=")]
    assert sorted(on_the_way) == sorted(id_ for id_, (_, route, *_) in answers.items() if route == "/score")


@pytest.mark.parametrize(
    ("verbosity", "heard"),
    [(0, {404}), (1, {404, "/score"}), (2, {404, "/score", "/health", "/ready", "/metrics"})],
)
def test_successful_requests_are_logged_only_with_verbosity(
    client: TestClient, newest: pl.DataFrame, verbosity: int, heard: set[object]
) -> None:
    lines = logged(verbosity)
    post(client, items(newest)[0])
    for place in ("/health", "/ready", "/metrics", "/nowhere"):
        client.get(place)
    told = [one for one in lines() if one["message"] == "request"]
    assert {404 if one["status"] == 404 else one["route"] for one in told} == heard
    assert {one["level"] for one in told if one["status"] == 404} == {"info"}


def test_internal_error_is_logged_with_its_request_id_and_without_card_numbers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(f"found {CARD}")

    lines = logged(0)
    monkeypatch.setattr(DecisionEngine, "alerts", fail)
    answer = client.get("/alerts")
    bug, line = lines()
    assert (answer.status_code, line["status"], line["level"]) == (500, 500, "error")
    assert {bug["request_id"], line["request_id"]} == {answer.headers["X-Request-ID"]}
    assert bug["exception"].endswith("ValueError: found [card number]")


def test_no_line_contains_a_card_number(client: TestClient, newest: pl.DataFrame) -> None:
    lines = logged(2)
    one = items(newest)[0]
    answers = [
        post(client, {**one, "card_id": DIGITS}),
        post(client, {**one, "transaction_id": CARD, "amount": CARD}),
        post(client, {CARD: 1}),
        client.post("/labels", json={"transaction_id": DIGITS, "is_fraud": True, "source": DIGITS}),
        client.get(f"/decisions/{DIGITS}"),
        client.get(f"/{DIGITS}"),
        client.get("/alerts", params={"after": CARD}),
        client.get("/health", headers={"X-API-Key": DIGITS}),
        client.get("/health", headers={"X-Request-ID": CARD}),
    ]
    told = lines()  # which looks for it
    assert [one["request_id"] for one in told if one["message"] == "request"] == [
        answer.headers["X-Request-ID"] for answer in answers
    ]
    assert len(answers[-1].headers["X-Request-ID"]) == 36, "an id that is a card number is not repeated"


def test_request_id_that_looks_like_a_card_number_is_not_masked(client: TestClient) -> None:
    logs.set_up(2, style="json", stream=(stream := io.StringIO()))
    ids = ["41111111-1111-1111-ab12-000000000000", "a" * 16 + DIGITS]
    assert [client.get("/health", headers={"X-Request-ID": id_}).headers["X-Request-ID"] for id_ in ids] == ids
    told = map(json.loads, stream.getvalue().splitlines())
    assert [line["request_id"] for line in told if line["message"] == "request"] == ids


def test_every_line_of_the_log_is_a_json_object(in_trained: Path, history: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"serve": {"store": str(tmp_path / "service")}}))
    command = [COMMAND, "serve", "--port", "0", "--model", "challenger", "--history", str(history), "--json", "-vv"]
    told = tmp_path / "log"
    with told.open("w") as log:
        running = subprocess.Popen(
            [*command, "--params", str(tmp_path / "params.yaml")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "FRAUD3000_LOG_FORMAT": "json"},
        )
    assert running.stdout is not None
    with running, running.stdout as summary:
        facts = json.loads("".join(itertools.takewhile(lambda line: line != "}\n", summary)) + "}")["facts"]
        port = int(facts["listening at"].rpartition(":")[2])
        status, id_, _ = ask(port, "GET", "/nowhere")
        with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as odd:
            odd.sendall(f"\x01 {DIGITS}\r\n\r\n".encode())
            assert odd.recv(100).startswith(b"HTTP/1.1 400 ")
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    text = told.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert DIGITS not in text
    assert all({"time", "level", "module", "message"} <= set(line) for line in lines)
    assert [line["status"] for line in lines if line.get("request_id") == id_] == [status] == [404]
    assert any((line["module"], line["level"]) == ("uvicorn.error", "warning") for line in lines)
