"""A service that is killed repeatedly under load loses no acknowledged decision and duplicates none."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from fraud3000 import params as params_files
from fraud3000.models.inference.scorer import Scorer
from fraud3000.service.data_dir import DataDir
from fraud3000.service.engine.feature_state import from_seed, observe_entry
from fraud3000.service.entries import TransactionEntry
from fraud3000.stages.replay import replay
from tests.service.running import ask, started
from tests.service.world import items

KILLS = int(os.environ.get("FRAUD3000_KILLS", "8"))
CARDS = 100_000
SENDERS = 4


class Load:
    """Sends new transactions, and resends those without a response."""

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
            answer = ask(port, rows)
            with self._lock:
                if answer is None:
                    self._unanswered.append(rows)
                    time.sleep(0.02)
                    continue
                for result in answer["results"]:
                    if self.told.setdefault(result["transaction_id"], result) != result:
                        self.otherwise.append(result)

    def _new(self) -> dict[str, Any]:
        number = next(self._numbers)
        return {**self._rows[number % len(self._rows)], "transaction_id": f"K{number}", "card_id": f"H{number % CARDS}"}


def of_many_cards(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, and one more for each of many cards, spread over the last twenty days."""
    end, number = rows["ts"].max(), pl.int_range(pl.len())
    more = rows.sample(CARDS, with_replacement=True, seed=1).with_columns(
        transaction_id=pl.format("H{}", number),
        card_id=pl.format("H{}", number),
        ts=(pl.lit(end) - pl.duration(seconds=number * (20 * 86_400) // CARDS)).cast(rows.schema["ts"]),
    )
    return pl.concat([rows, more])


@pytest.mark.slow
def test_kill_9_at_any_moment(in_trained: Path, history: Path, newest: pl.DataFrame, tmp_path: Path) -> None:
    of_many_cards(pl.read_parquet(history)).write_parquet(tmp_path / "history.parquet")
    store = str(tmp_path / "service")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"serve": {"store": store}}), encoding="utf-8")
    load, draw = Load(items(newest)), random.Random(9)
    for _ in range(KILLS):
        running, port = started(tmp_path, "--model", "challenger")
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


def _kept(root: Path) -> list[TransactionEntry]:
    with closing(DataDir(root)) as folder, closing(folder.journal()) as journal:
        return [entry for entry in journal.after(0) if isinstance(entry, TransactionEntry)]


def _checksum_as_it_starts(root: Path) -> str:
    with closing(DataDir(root)) as folder:
        kept = folder.open(Scorer.load(Path("data/models/1")).catalogue)
        kept.journal.close()
        return kept.store.checksum()


def _checksum_of_files(root: Path) -> str:
    store = from_seed(root, Scorer.load(Path("data/models/1")).catalogue)
    with closing(DataDir(root)) as folder, closing(folder.journal()) as journal:
        for entry in journal.after(0):
            observe_entry(store, entry)
    return store.checksum()
