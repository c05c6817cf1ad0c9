"""The most expensive request bodies delay other requests by less than 250 ms."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.attack.bystander import PATIENCE, Bystander, Running, ask, serving, transaction

ALLOWED = 0.25
"""Seconds that an answer may be delayed by another client's body."""

ATTEMPTS = 3
"""A machine that is shared has pauses of its own: one attempt of these must do."""

MOST = 16 * 1024**2
LINES = "application/x-ndjson"
ROOM = MOST - 64


def rows(many: int, **changed: Any) -> bytes:
    return json.dumps({"transactions": [transaction(**changed) for _ in range(many)]}).encode()


def lines(many: int, **changed: Any) -> bytes:
    return b"\n".join(json.dumps(transaction(**changed)).encode() for _ in range(many))


def labels(many: int) -> bytes:
    said = [{"transaction_id": f"L{number}", "is_fraud": True, "source": "analyst"} for number in range(many)]
    return json.dumps({"labels": said}).encode()


def keys(many: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(many)) + b"}"


def repeated(item: bytes, last: bytes) -> bytes:
    """A list of one repeated item, as long as a body may be."""
    return b'{"transactions":[' + item * ((ROOM - len(last)) // len(item)) + last + b"]}"


NUMBERS = " ".join(map(str, range(1_000)))[:1_000]
"""A category in which many card numbers could begin."""

Made = tuple[Callable[[], bytes], str, str, int]

FEW: dict[str, Made] = {
    "10,000 transactions": (lambda: rows(10_000), "/score", "application/json", 200),
    "300 categories of numbers": (lambda: rows(300, category=NUMBERS), "/score", "application/json", 200),
    "1.2 million keys": (lambda: keys(1_200_000), "/score", "application/json", 413),
    "1.2 million keys in objects": (lambda: b'{"transactions":[' + b",".join([keys(2_000)] * 600) + b"]}", "/score", "application/json", 422),
    "millions of lists on lines": (lambda: b"\n".join([b"[" + b"[]," * 270 + b"[]]"] * 16_000), "/score", LINES, 413),
    "10,000 labels": (lambda: labels(10_000), "/labels", "application/json", 200),
}  # fmt: skip
ALL: dict[str, Made] = FEW | {
    "1,000 transactions with reasons": (lambda: rows(1_000), "/score?reasons=all", "application/json", 200),
    "10,000 transactions on lines": (lambda: lines(10_000), "/score", LINES, 200),
    "10,000 long categories": (lambda: rows(10_000, category="x y " * 250), "/score", "application/json", 200),
    "10,000 categories of numbers": (lambda: rows(10_000, category=NUMBERS), "/score", "application/json", 200),
    "10,000 errors": (lambda: rows(10_000, amount="x"), "/score", "application/json", 422),
    "10,000 keys twice": (lambda: rows(10_000).replace(b'"amount"', b'"ts": 1, "amount"'), "/score", "application/json", 422),
    "objects of many keys": (lambda: b'{"transactions":[' + b",".join([keys(15_000)] * 80) + b"]}", "/score", "application/json", 413),
    "objects of many keys on lines": (lambda: b"\n".join([keys(15_000)] * 80), "/score", LINES, 413),
    "numbers": (lambda: repeated(b"1,", b"1"), "/score", "application/json", 413),
    "strings": (lambda: repeated(b'"",', b'""'), "/score", "application/json", 413),
    "quotes": (lambda: repeated(b'{"a":"', b"").replace(b'{"a":"', b'\\"'), "/score", "application/json", 413),
    "one long string": (lambda: repeated(b"x", b"").replace(b"[x", b'[{"a":"x', 1), "/score", "application/json", 413),
    "lists": (lambda: repeated(b"[],", b"[]"), "/score", "application/json", 413),
    "long integers": (lambda: repeated(b'{"a":' + b"9" * 4_299 + b"},", b"{}"), "/score", "application/json", 422),
    "spaces": (lambda: b" " * ROOM + b"{}", "/score", "application/json", 413),
    "line ends": (lambda: b"\n" * ROOM, "/score", LINES, 413),
    "long lines": (lambda: b"\n".join([b'{"a":"' + b"x" * 200_000 + b'"}'] * 80), "/score", LINES, 422),
}  # fmt: skip


@pytest.fixture(scope="module")
def running(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(trained, tmp_path_factory.mktemp("costly")) as service:
        yield service


def delay(running: Running, made: Made) -> tuple[float, float]:
    """Increase of a bystander's highest latency, and the time of the answer to the body, in seconds."""
    make, path, kind, status = made
    content, bystander = make(), Bystander(running.port)
    assert len(content) <= MOST
    quiet = bystander.quiet()
    asking = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5 * PATIENCE)
    with closing(asking) as connection, bystander.watching():
        begin = time.perf_counter()
        assert ask(connection, content, path, headers={"Content-Type": kind}) == status
        taken = time.perf_counter() - begin
    assert bystander.statuses == {200}
    return max(bystander.seconds) - quiet, taken


@pytest.mark.parametrize("name", FEW)
def test_expensive_body_is_processed_beside_other_requests(running: Running, name: str) -> None:
    """A body that blocked the service would delay others by all of its time, however fast the machine is."""
    for _ in range(ATTEMPTS):
        delayed, taken = delay(running, FEW[name])
        if delayed <= max(ALLOWED, taken / 2):
            return
    assert delayed <= max(ALLOWED, taken / 2)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", ALL)
def test_no_expensive_body_delays_others(running: Running, name: str) -> None:
    assert any(delay(running, ALL[name])[0] <= ALLOWED for _ in range(ATTEMPTS))
