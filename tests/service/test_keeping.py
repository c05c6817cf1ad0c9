"""Acknowledged decisions survive retries, failures, restarts and damage."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.features.online import FeatureStore
from fraud3000.models.inference.scorer import Scorer
from fraud3000.service.engine import feature_state
from fraud3000.service.entries import LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.serve import Service
from tests.service.conftest import Open
from tests.service.world import items, post


def asked(service: Service, body: Any, **how: Any) -> Any:
    return post(TestClient(service.app, raise_server_exceptions=False), body, **how)


def rebuilt(service: Service, tmp_path: Path) -> str:
    """Checksum of a feature state rebuilt from the files only."""
    store = FeatureStore(service.contents.store.catalogue)
    folder = tmp_path / "service"
    store.absorb(pl.read_parquet(folder / "history.parquet"), pl.read_parquet(folder / "labels.parquet"))
    for entry in service.contents.journal.after(0):
        feature_state.observe_entry(store, entry)
    return store.checksum()


def test_a_restart_returns_logged_decisions(reopen: Open, newest: pl.DataFrame, tmp_path: Path) -> None:
    sent = items(newest)
    with closing(reopen()) as service:
        first = asked(service, {"transactions": sent[:150]}).json()
        checksum = service.contents.store.checksum()
        assert checksum == rebuilt(service, tmp_path)
    with closing(reopen()) as service:
        assert (service.contents.snapshot, service.contents.replayed) == (150, 0)
        assert service.contents.store.checksum() == checksum
        assert asked(service, {"transactions": sent[:150]}).json() == first
        assert service.contents.journal.last == 150
        other = asked(service, {**sent[3], "amount": 1})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "conflicting_duplicate")
        asked(service, {"transactions": sent[150:]})
        assert service.contents.store.checksum() == rebuilt(service, tmp_path)


def move_store_away(place: Path, to: str = "first") -> None:
    """Move the store and its checkpoints away, so that the next service starts empty."""
    (place / to).mkdir()
    for name in ("service", "service.anchors.jsonl", "service.anchors.jsonl.mark"):
        (place / name).rename(place / to / name)


def as_if_killed(place: Path) -> None:
    """Delete the snapshot that was written at shutdown."""
    max((place / "service" / "snapshots").rglob("*.snapshot")).unlink()


def test_a_snapshot_only_speeds_up_the_start(reopen: Open, newest: pl.DataFrame, tmp_path: Path) -> None:
    sent = items(newest)
    with closing(reopen()) as service:
        asked(service, {"transactions": sent[:100]})
        checksum = service.contents.store.checksum()
    (snapshot,) = (tmp_path / "service" / "snapshots").rglob("*.snapshot")
    content = snapshot.read_bytes()
    snapshot.write_bytes(content[:-9] + b"\0" + content[-8:])
    with closing(reopen()) as service:  # a damaged one is passed over
        assert (service.contents.snapshot, service.contents.replayed) == (None, 100)
        assert service.contents.store.checksum() == checksum
        asked(service, {"transactions": sent[100:130]})
        feature_state.save(service.data_dir.root, service.engine.store, service.contents.journal.end)
        asked(service, {"transactions": sent[130:]})
        checksum = service.contents.store.checksum()
    as_if_killed(tmp_path)
    with closing(reopen()) as service:
        assert (service.contents.snapshot, service.contents.replayed) == (130, 270)
        assert service.contents.store.checksum() == checksum
    names = [path.name for path in (tmp_path / "service" / "snapshots").rglob("*.snapshot")]
    assert len(names) == 2, "the older ones go"


def test_a_damaged_journal_keeps_all_but_the_damaged_entry(reopen: Open, newest: pl.DataFrame, tmp_path: Path) -> None:
    sent = items(newest)
    with closing(reopen()) as service:
        first = asked(service, {"transactions": sent[:100]}).json()["results"]
    as_if_killed(tmp_path)
    with closing(sqlite3.connect(tmp_path / "service" / "journal.db")) as connection:
        connection.execute("UPDATE entries SET body = x'00' WHERE number = 41")
        connection.commit()
    with closing(reopen()) as service:
        assert service.contents.recovered is not None
        assert [(hole.first, hole.last) for hole in service.contents.recovered.holes] == [(41, 41)]
        assert "rebuilt from 99 valid entries; lost entries: 41" in service.summary.warnings[0]
        assert service.contents.store.checksum() == rebuilt(service, tmp_path)
        again = asked(service, {"transactions": sent[:100]}).json()["results"]
        assert [*again[:40], *again[41:]] == [*first[:40], *first[41:]], "acknowledged decisions stand"
        assert service.contents.journal.last == 101, "the lost one is decided anew, under another number"
        assert again[40]["decision_id"] != first[40]["decision_id"]
    with closing(reopen()) as service:
        assert service.contents.recovered is None
        assert asked(service, {"transactions": sent[:100]}).json()["results"] == again


@pytest.fixture
def full(opened: Service) -> Iterator[pytest.MonkeyPatch]:
    """The journal's disk is full until the patch is undone."""
    assert isinstance(opened.contents.journal, SqliteJournal)
    with pytest.MonkeyPatch.context() as patch:
        pages = opened.contents.journal._write_connection.execute("PRAGMA page_count").fetchone()[0]
        opened.contents.journal._write_connection.execute(f"PRAGMA max_page_count = {pages}")
        yield patch


def more_room(service: Service) -> None:
    service.contents.journal._write_connection.execute("PRAGMA max_page_count = 1000000")


def test_no_response_before_the_entry_is_durable(
    opened: Service, full: pytest.MonkeyPatch, newest: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(newest)
    broken = asked(opened, {"transactions": sent[:60]})
    assert (broken.status_code, broken.json()["error"]["code"]) == (503, "unavailable")
    assert broken.headers["Retry-After"] == "5"
    assert opened.contents.journal.last == 0
    taken = len(opened.contents.store)
    for body in (sent[100], sent[3]):  # a new one is not taken, and a retry is not answered
        assert asked(opened, body).status_code == 503
    assert len(opened.contents.store) == taken
    assert TestClient(opened.app).get("/health").status_code == 200
    more_room(opened)
    told = asked(opened, {"transactions": sent[:60]}).json()["results"]
    assert opened.contents.journal.last == 60, "each of them once"
    assert len(opened.contents.store) == taken
    assert all(one["score"] > 0 for one in told)
    assert opened.contents.store.checksum() == rebuilt(opened, tmp_path)


def test_a_retry_resumes_a_large_request_after_a_full_disk(
    opened: Service, full: pytest.MonkeyPatch, newest: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(newest)
    full.setattr("fraud3000.service.engine.decision_engine._BACKLOG", 100)
    broken = asked(opened, {"transactions": sent})
    assert broken.status_code == 503
    taken = len(opened.contents.store)
    more_room(opened)
    told = asked(opened, {"transactions": sent}).json()["results"]
    assert [one["transaction_id"] for one in told] == [one["transaction_id"] for one in sent]
    assert all(one["score"] > 0 for one in told)
    assert opened.contents.journal.last == len(sent), "each of them once"
    assert opened.contents.store.checksum() == rebuilt(opened, tmp_path)
    assert taken < len(opened.contents.store), "what came after the failure was not taken"


def test_queued_entries_are_written_before_new_ones(
    opened: Service, full: pytest.MonkeyPatch, newest: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(newest)
    assert asked(opened, {"transactions": sent[:60]}).status_code == 503
    more_room(opened)
    assert asked(opened, sent[60]).status_code == 200
    kept = [
        entry.transaction["transaction_id"]
        for entry in opened.contents.journal.after(0)
        if isinstance(entry, TransactionEntry)
    ]
    assert kept == [one["transaction_id"] for one in sent[:61]]


def test_a_retry_decides_an_undecided_transaction(
    reopen: Open, newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, *others = items(newest)[:20]
    later = {**one, "transaction_id": "later", "ts": items(newest)[30]["ts"]}
    with closing(reopen()) as service:
        with monkeypatch.context() as patch:
            patch.setattr(Scorer, "decide_rows", lambda *_: 1 / 0)
            broken = asked(service, one)
        assert (broken.status_code, broken.json()["error"]["code"]) == (500, "internal")
        assert asked(service, later).status_code == 200
    with closing(reopen()) as service:
        told = asked(service, {"transactions": [one, *others]})
        first, *_ = told.json()["results"]
        entries = list(service.contents.journal.after(0))
        assert [type(entry) for entry in entries[:2]] == [TransactionEntry, TransactionEntry]
        assert entries[0].answer is None
        assert isinstance(entries[-1], LateDecisionEntry)
        assert asked(service, one).json()["results"] == [first]
        assert service.contents.store.checksum() == rebuilt(service, tmp_path)
    with closing(reopen()) as service:
        assert asked(service, one).json()["results"] == [first]
    move_store_away(tmp_path)
    with closing(reopen()) as service:  # the same as if nothing had failed
        assert asked(service, one).json()["results"][0]["score"] == first["score"]


def test_a_request_is_processed_in_time_order(reopen: Open, newest: pl.DataFrame, tmp_path: Path) -> None:
    sent = items(newest)[:90]
    with closing(reopen()) as service:
        ordered = asked(service, {"transactions": sent}).json()["results"]
    move_store_away(tmp_path)
    shuffled = sent[1::2] + sent[::2][::-1]
    with closing(reopen()) as service:
        told = asked(service, {"transactions": shuffled}).json()["results"]
    assert [one["transaction_id"] for one in told] == [one["transaction_id"] for one in shuffled]
    assert sorted(map(json.dumps, told)) == sorted(map(json.dumps, ordered))


def said(one: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"transaction_id": one["transaction_id"], "is_fraud": True, "source": "chargeback", **more}


def told(service: Service, body: Any) -> Any:
    return TestClient(service.app, raise_server_exceptions=False).post("/labels", json=body)


def test_label_records_are_stored_once_and_visible_from_their_time(
    reopen: Open, newest: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(newest)
    first, later = sent[0], {**said(sent[300]), "reported_at": "2025-01-01T00:00:00Z"}
    with closing(reopen()) as service:
        asked(service, {"transactions": sent[:50]})
        early = {**said(first), "recorded_at": "2020-01-01T00:00:00Z"}
        results = told(service, {"labels": [early, later]}).json()["results"]
        moment = datetime.fromisoformat(results[0]["recorded_at"])
        assert moment == datetime.fromisoformat(sent[49]["ts"]) + timedelta(microseconds=1), "not before what was taken"
        assert datetime.fromisoformat(results[1]["recorded_at"]) > datetime.now(UTC) - timedelta(minutes=1)
        assert [one["number"] for one in results] == [51, 52]
        assert told(service, early).json()["results"] == results[:1], "a retry is the same record"
        reversal = told(service, {**said(first), "is_fraud": False}).json()["results"][0]
        again = told(service, said(first)).json()["results"][0]
        analyst = told(service, {**said(first), "source": "analyst"}).json()["results"][0]
        assert [one["number"] for one in (reversal, again, analyst)] == [53, 54, 55]
        asked(service, {"transactions": sent[50:]})
        checksum = service.contents.store.checksum()
        assert checksum == rebuilt(service, tmp_path)
    as_if_killed(tmp_path)
    with closing(reopen()) as service:
        assert service.contents.replayed == 405
        assert service.contents.store.checksum() == checksum
        assert told(service, early).json()["results"][0]["number"] == 54, "the last of its source said the same"


def test_a_visible_label_changes_features_of_later_transactions(reopen: Open, newest: pl.DataFrame) -> None:
    one = items(newest)[-1]
    begin = datetime.fromisoformat(one["ts"])
    burst = [{**one, "transaction_id": f"b{n}", "ts": (begin + timedelta(hours=n)).isoformat()} for n in range(1, 9)]
    late = {**one, "transaction_id": "late", "ts": (begin + timedelta(days=9)).isoformat()}
    features = {}
    for fraud in (False, True):
        with closing(reopen()) as service:
            asked(service, {"transactions": burst})
            labels = [said(each, recorded_at=(begin + timedelta(days=8)).isoformat()) for each in burst]
            if fraud:
                told(service, {"labels": labels})
            late = {**late, "transaction_id": f"late{fraud}"}
            (taken,) = [entry for entry in _asked(service, late) if isinstance(entry, TransactionEntry)]
            features[fraud] = dict(zip(service.contents.store.catalogue.names, taken.features, strict=True))
        shutil.rmtree(service.data_dir.root)
        service.checkpoints.path.unlink()
        service.checkpoints.mark.unlink()
    rates = [name for name in features[True] if "fraud_rate" in name]
    assert any(features[True][name] > features[False][name] for name in rates)  # type: ignore[operator]


def _asked(service: Service, one: dict[str, Any]) -> list[Any]:
    assert asked(service, one).status_code == 200
    return service.contents.journal.of_transaction(one["transaction_id"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_fraud": 1}, "is_fraud: Input should be a valid boolean, found '1'"),
        ({"source": "a b"}, "source: String should match pattern"),
        ({"reported_at": "2025-01-01"}, "reported_at: "),
        ({"reported_at": "2925-01-01T00:00:00Z"}, "is more than 5 minutes after its arrival"),
        ({"more": 1}, "more: unknown field"),
        ({"transaction_id": None}, "transaction_id: Input should be a valid string"),
    ],
)
def test_an_invalid_label_record_does_not_block_the_others(
    opened: Service, newest: pl.DataFrame, change: dict[str, Any], message: str
) -> None:
    one = said(items(newest)[0])
    answer = told(opened, {"labels": [{**one, **change}, one]})
    assert answer.status_code == 200
    wrong, right = answer.json()["results"]
    assert message in wrong["error"]["message"]
    assert right["number"] == 1
    assert told(opened, {**one, **change}).status_code == 422


async def _posted(service: Service, body: Any) -> Any:
    """POST /score in the running event loop, as one of many requests."""
    content, sent = json.dumps(body).encode(), []
    scope = {"type": "http", "method": "POST", "path": "/score", "raw_path": b"/score", "query_string": b"",
             "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
             "server": ("x", 1), "client": ("y", 1), "root_path": ""}  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await service.app(scope, receive, send)  # type: ignore[arg-type]
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_concurrent_requests_share_commits_and_a_transaction_counts_once(
    opened: Service, newest: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = items(newest)
    commits: list[int] = []
    append = SqliteJournal.append
    monkeypatch.setattr(
        SqliteJournal, "append", lambda self, added: (commits.append(len(added)), append(self, added))[1]
    )

    async def everything() -> list[Any]:
        same = [_posted(opened, sent[0]) for _ in range(20)]
        other = [_posted(opened, {**sent[0], "amount": 1})]
        return await asyncio.gather(*same, *other, *(_posted(opened, one) for one in sent[1:100]))

    told = asyncio.run(everything())
    assert {status for status, _ in told[:20]} == {200}
    assert all(body == told[0][1] for _, body in told[:20])
    assert told[20][0] == 409
    assert {status for status, _ in told[21:]} == {200}
    assert sum(commits) == opened.contents.journal.last == 100
    assert len(commits) < 50, "those that wait are written together"
    assert opened.contents.store.checksum() == rebuilt(opened, tmp_path)
