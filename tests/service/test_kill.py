"""A service that is killed again and again under load: nothing that it told is lost, nothing is there twice."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from fraud3000 import params as params_files
from fraud3000.scorer import Scorer
from fraud3000.service.entries import Taken
from fraud3000.service.folder import Folder
from fraud3000.service.states import sown
from fraud3000.stages.replay import replay
from tests.service.world import items

COMMAND = str(Path(sys.executable).with_name("fraud3000"))
KILLS = int(os.environ.get("FRAUD3000_KILLS", "8"))
SENDERS = 4


def started(place: Path) -> tuple[subprocess.Popen[str], int]:
    command = [COMMAND, "serve", "--port", "0", "--model", "challenger", "--history", str(place / "history.parquet")]
    command += ["--params", str(place / "params.yaml"), "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert running.stdout is not None
    told = "".join(itertools.takewhile(lambda line: line != "}\n", running.stdout)) + "}"
    return running, int(json.loads(told)["facts"]["listening at"].rpartition(":")[2])


def ask(port: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """What was answered; None where nothing was, or 503."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asked.request("POST", "/score", json.dumps({"transactions": rows}), {"Content-Type": "application/json"})
        answer = asked.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        asked.close()
    if answer.status == 503:
        return None
    assert answer.status == 200, body
    return list(json.loads(body)["results"])


class Load:
    """Sends new transactions and, where an answer stayed out, the same ones again."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self.otherwise: list[dict[str, Any]] = []
        self._rows, self._numbers = rows, itertools.count()
        self._unanswered: list[list[dict[str, Any]]] = []
        self._lock = threading.Lock()

    def go_on(self, port: int, end: threading.Event) -> None:
        draw = random.Random()
        while not end.is_set():
            with self._lock:
                again = self._unanswered.pop() if self._unanswered else None
                rows = again or [self._new() for _ in range(draw.choice((1, 1, 1, 20)))]
            results = ask(port, rows)
            with self._lock:
                if results is None:
                    self._unanswered.append(rows)
                    time.sleep(0.02)
                    continue
                for result in results:
                    if self.told.setdefault(result["transaction_id"], result) != result:
                        self.otherwise.append(result)

    def _new(self) -> dict[str, Any]:
        number = next(self._numbers)
        return {**self._rows[number % len(self._rows)], "transaction_id": f"K{number}"}


@pytest.mark.slow
def test_kill_9_at_any_moment(in_trained: Path, history: Path, newest: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "history.parquet").write_bytes(history.read_bytes())
    store = str(tmp_path / "service")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"serve": {"store": store}}), encoding="utf-8")
    load, draw = Load(items(newest)), random.Random(9)
    for _ in range(KILLS):
        running, port = started(tmp_path)
        end = threading.Event()
        senders = [threading.Thread(target=load.go_on, args=(port, end)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(1 + draw.random())
        running.send_signal(signal.SIGKILL)
        running.communicate()
        end.set()
        for sender in senders:
            sender.join()
    assert load.otherwise == [], "a retry is answered as before"
    given = params_files.load(tmp_path / "params.yaml")
    kept = _kept(Path(store))
    assert len(kept) == len({one.transaction_id for one in kept}), "none is there twice"
    by_id = {one.transaction_id: one for one in kept}
    assert len(load.told) > 100 * KILLS / 8
    for id_, told in load.told.items():
        answer = by_id[id_].answer
        assert answer is not None
        assert (answer.decision_id, answer.score, answer.decision) == tuple(
            told[n] for n in ("decision_id", "score", "decision")
        )
    done = replay(given)
    assert (done.facts["decisions"], done.facts["differing"]) == (len(kept), 0)
    assert _checksum_as_it_starts(Path(store)) == _checksum_of_files(Path(store))


def _kept(root: Path) -> list[Taken]:
    with closing(Folder(root)) as folder, closing(folder.journal()) as journal:
        return [entry for entry in journal.after(0) if isinstance(entry, Taken)]


def _checksum_as_it_starts(root: Path) -> str:
    with closing(Folder(root)) as folder:
        kept = folder.open(Scorer.load(Path("data/models/1")).catalogue)
        kept.journal.close()
        return kept.store.checksum()


def _checksum_of_files(root: Path) -> str:
    store = sown(root, Scorer.load(Path("data/models/1")).catalogue)
    for one in _kept(root):
        store.observe(one.transaction)
    return store.checksum()
