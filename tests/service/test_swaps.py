"""Promotions, rollbacks and broken models under load over sockets fail or mix no response."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from fraud3000 import params as params_files
from fraud3000.params import Params
from fraud3000.stages.replay import replay
from tests.service.running import ask, started
from tests.service.test_upkeep import doubtful, of_another_catalogue, promote, publish, workspace_of, wrong
from tests.service.world import items

SENDERS = 4
ROUNDS = 5


class Load:
    """Sends new transactions until `stop`, and records each response."""

    def __init__(self, rows: list[dict[str, Any]], port: int) -> None:
        self.answers: list[dict[str, Any] | None] = []
        self._rows, self._port, self._numbers = rows, port, itertools.count()
        self._end = threading.Event()
        self._senders = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for sender in self._senders:
            sender.start()

    def stop(self) -> None:
        self._end.set()
        for sender in self._senders:
            sender.join()

    def _send(self) -> None:
        while not self._end.is_set():
            numbers = [next(self._numbers) for _ in range(5)]
            self.answers.append(
                ask(self._port, [{**self._rows[n % len(self._rows)], "transaction_id": f"S{n}"} for n in numbers])
            )


def answering(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/model", timeout=10) as answer:
        return str(json.load(answer)["model_version"])


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.fixture
def given(in_trained: Path, history: Path, tmp_path: Path) -> Params:
    (tmp_path / "history.parquet").write_bytes(history.read_bytes())
    serve = {"store": str(tmp_path / "service"), "reload": "1s"}
    params = {"workspace": str(tmp_path / "data"), "serve": serve}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return workspace_of(params_files.load(tmp_path / "params.yaml"))


@pytest.mark.slow
def test_promotion_rollback_and_broken_models_over_sockets(given: Params, newest: pl.DataFrame, tmp_path: Path) -> None:
    models = Path(given.workspace) / "models"
    running, port = started(tmp_path)
    load = Load(items(newest), port)
    try:
        publish(given, "2", doubtful)
        until(lambda: answering(port) == "2")
        for number in range(ROUNDS):
            promote(given, "1")
            until(lambda: answering(port) == "1")
            publish(given, f"{number}0", lambda one: replace(one, recorded=wrong(one.recorded)))
            time.sleep(1.5)
            (models / f"{number}0" / "scorer.json").write_text("{}")
            time.sleep(1.5)
            assert answering(port) == "1"
            promote(given, "2")
            running.send_signal(signal.SIGHUP)
            until(lambda: answering(port) == "2")
        publish(given, "3", of_another_catalogue)
        until(lambda: answering(port) == "3")
    finally:
        load.stop()
        running.send_signal(signal.SIGTERM)
        left, _ = running.communicate()
    assert running.returncode == 143, left
    assert None not in load.answers, "a request failed"
    told = [(answer["model_version"], one) for answer in load.answers if answer for one in answer["results"]]
    assert len(told) > 1_000
    assert {version for version, _ in told} == {"1", "2", "3"}
    assert not any("error" in one or "model_version" in one for _, one in told)
    thresholds = {(version, one["threshold"]) for version, one in told}
    assert len(thresholds) == len({version for version, _ in told}), "no answer is of two models"
    again = replay(given)
    assert (again.facts["replayed"], again.facts["differing"]) == (len(told), 0)
