"""Replay reproduces every logged decision byte for byte, and lists those that differ."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000 import params as params_files
from fraud3000.errors import CheckFailed, DataError, ScorerError
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.service.entries import TransactionEntry
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.replay import replay
from fraud3000.stages.serve import Service
from tests.service.world import NEWEST, items, post

RAW = "data/raw/transactions.parquet"


@pytest.fixture
def given(in_trained: Path, tmp_path: Path) -> Params:
    params = params_files.load()
    return params.model_copy(update={"serve": params.serve.model_copy(update={"store": str(tmp_path / "service")})})


@pytest.fixture
def served(given: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Running service that has made every kind of decision, with labels in between."""
    raw = pl.read_parquet(RAW).sort("ts", "transaction_id")
    raw.head(-NEWEST).write_parquet(tmp_path / "history.parquet")
    sent = items(raw.tail(NEWEST))
    how: dict[str, Any] = {"port": 0, "history": str(tmp_path / "history.parquet"), "model": "challenger"}
    with closing(Service.open(given, **how)) as service:
        client = TestClient(service.app, raise_server_exceptions=False)
        post(client, {"transactions": sent[:100]})
        labels = [{"transaction_id": one["transaction_id"], "is_fraud": True, "source": "analyst"} for one in sent[:30]]
        client.post("/labels", json={"labels": [{**one, "recorded_at": "2020-01-01T00:00:00Z"} for one in labels]})
        post(client, {"transactions": sent[100:120]}, params={"deadline_ms": 0})
        post(client, {"transactions": sent[120:140]}, params={"reasons": "all"})
        with monkeypatch.context() as patch:
            patch.setattr(Scorer, "decide_rows", lambda *_: 1 / 0)
            assert post(client, sent[140]).status_code == 500
        post(client, {"transactions": sent[140:]})
        yield service


def test_all_decisions_are_reproduced(given: Params, served: Service) -> None:
    told = replay(given)
    expected = {
        "decisions": NEWEST,
        "replayed": NEWEST,
        "by the model": NEWEST - 20,
        "by the fallback": 20,
        "differing": 0,
    }
    assert (told.facts, told.refused) == (expected, None)


def test_selected_decisions_are_reproduced(given: Params, served: Service) -> None:
    first, second, *_ = [
        entry for entry in served.contents.journal.after(0) if isinstance(entry, TransactionEntry) and entry.answer
    ]
    assert second.answer is not None
    assert replay(given, [first.transaction_id, second.answer.decision_id]).facts["replayed"] == 2
    with pytest.raises(DataError, match="nobody: is not in the journal"):
        replay(given, ["nobody"])


def test_a_differing_decision_is_listed(given: Params, served: Service, tmp_path: Path) -> None:
    entries = list(served.contents.journal.after(0))
    wrong = next(entry for entry in entries[50:] if isinstance(entry, TransactionEntry) and entry.answer)
    place = entries.index(wrong)
    assert wrong.answer is not None
    features = list(wrong.features)
    features[5] = 1e9
    forged = TransactionEntry(
        wrong.number, wrong.received_at, wrong.newest, wrong.transaction, wrong.catalogue, tuple(features), wrong.answer
    )
    root = tmp_path / "forged"
    root.mkdir()
    for name in ("history.parquet", "labels.parquet"):
        (root / name).write_bytes((tmp_path / "service" / name).read_bytes())
    with closing(SqliteJournal(root / "journal.db")) as journal:
        journal.append([*entries[:place], forged, *entries[place + 1 :]])
    other = given.model_copy(update={"serve": given.serve.model_copy(update={"store": str(root)})})
    told = replay(other)
    assert told.facts["differing"] == 1
    assert told.tables[0].rows == ((wrong.transaction_id, wrong.answer.decision_id, "features"),)
    assert told.refused is not None
    assert "1 of 400 decisions were not reproduced" in told.refused


def test_decisions_that_cannot_be_replayed_are_reported(given: Params, served: Service, tmp_path: Path) -> None:
    away = given.model_copy(update={"workspace": str(tmp_path / "elsewhere")})
    with pytest.raises(ScorerError, match="the bundle of version 1 with fingerprint"):
        replay(away)
    with closing(sqlite3.connect(tmp_path / "service" / "journal.db")) as connection:
        connection.execute("UPDATE entries SET kind = 'label' WHERE number = 9")
        connection.commit()
    with pytest.raises(CheckFailed, match="entry 9 does not match its seal"):
        replay(given)
    nothing = given.model_copy(update={"serve": given.serve.model_copy(update={"store": str(tmp_path / "nothing")})})
    with pytest.raises(DataError, match="has no service journal"):
        replay(nothing)
