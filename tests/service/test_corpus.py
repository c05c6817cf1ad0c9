"""Invalid requests are refused in one format, without card numbers, and change nothing."""

from __future__ import annotations

import gc
import json
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from coverage import Coverage
from loguru import logger
from starlette.testclient import TestClient

from fraud3000.params import Params
from fraud3000.stages.serve import Service
from tests.service.conftest import Open
from tests.service.corpus import CARDS, Bad, corpus
from tests.service.world import items, post

REFUSED = {409, 413, 415, 422}


def send(client: TestClient, bad: Bad) -> Any:
    return client.post(bad.to, content=bad.content, headers=bad.headers)


def faults(answer: Any) -> list[Any]:
    """Errors of a response that contains errors only."""
    if answer.headers["content-type"].startswith("application/x-ndjson"):
        return [json.loads(line)["error"] for line in answer.text.rstrip("\n").split("\n")]
    return [answer.json()["error"], *(one["error"] for one in answer.json().get("results", ()))]


def wrong(answer: Any) -> list[str]:
    """Defects of the response to an invalid body."""
    if answer.status_code not in REFUSED:
        return [f"{answer.status_code} {answer.text[:200]}"]
    found = []
    for fault in faults(answer):
        if set(fault) != {"code", "message", "hint"} or not all(fault.values()):
            found.append(f"form: {fault}")
        if len(fault["message"]) > 1_500:
            found.append(f"length: {fault['message'][:100]}")
    if not answer.headers.get("x-request-id"):
        found.append("no id")
    if (answer.headers.get("x-content-type-options"), answer.headers.get("cache-control")) != ("nosniff", "no-store"):
        found.append("no headers")
    if "x-injected" in answer.headers or "set-cookie" in answer.headers:
        found.append("injected")
    return found + [f"tells {number}" for number in told(answer.text + str(answer.headers))]


def told(text: str) -> list[str]:
    digits = re.sub(r"(?<=\d)[-. ](?=\d)", "", text)
    return [number for number in CARDS if number in text or number in digits]


def test_the_corpus_is_large_and_reproducible() -> None:
    bodies = corpus()
    assert bodies == corpus.__wrapped__()
    assert len({(bad.to, bad.content, *sorted(bad.headers.items())) for bad in bodies}) > 5_000


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_invalid_bodies_are_refused_and_change_nothing(
    opened: Service, client: TestClient, newest: pl.DataFrame, logged: list[str], every: int
) -> None:
    first, later = items(newest)[0], items(newest)[1]
    before = post(client, first).json()
    kept = opened.contents.journal.last
    bodies = corpus()[::every]
    assert len(bodies) > 2_000
    found = [(bad.family, bad.to, bad.content[:300], problem) for bad in bodies for problem in wrong(send(client, bad))]
    assert found == []
    assert opened.contents.journal.last == kept
    assert post(client, first).json() == before
    assert post(client, later).json()["results"][0]["score"] > 0
    assert told(client.get("/metrics").text) == []
    assert told("\n".join(logged)) == []
    assert len(logged) > 100


def test_invalid_bodies_do_not_affect_decisions(
    reopen: Open, given: Params, history: Path, newest: pl.DataFrame, tmp_path: Path
) -> None:
    sent = {"transactions": items(newest)[:50]}
    with closing(reopen()) as service:
        client = TestClient(service.app)
        for bad in corpus()[::50]:
            send(client, bad)
        after = post(client, sent).json()
    apart = given.model_copy(update={"serve": given.serve.model_copy(update={"store": str(tmp_path / "apart")})})
    with closing(Service.open(apart, port=0, history=str(history), model="challenger")) as service:
        assert post(TestClient(service.app), sent).json() == after


def test_invalid_bodies_leak_no_memory(client: TestClient) -> None:
    bodies = [bad for bad in corpus() if len(bad.content) < 100_000][::40]
    _send_all(client, bodies)
    logger.disable("fraud3000")  # whoever listens may keep what is said
    tracemalloc.start()
    try:
        with unmeasured():
            _send_all(client, bodies)
            first = _size()
            _send_all(client, bodies)
            _send_all(client, bodies)
            assert _size() - first < 200 * 2 * len(bodies)
    finally:
        tracemalloc.stop()
        logger.enable("fraud3000")


def _send_all(client: TestClient, bodies: Sequence[Bad]) -> None:
    for bad in bodies:
        send(client, bad)


def _size() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def unmeasured() -> Iterator[None]:
    """Suspend coverage, which keeps memory for every thread."""
    stopped = []
    while (measuring := Coverage.current()) is not None:
        measuring.stop()
        stopped.append(measuring)
    try:
        yield
    finally:
        for measuring in reversed(stopped):
            measuring.start()
