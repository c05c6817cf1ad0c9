"""Prometheus metrics: names and values."""

from __future__ import annotations

import asyncio
import itertools
import math
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from starlette.types import Message

import fraud3000
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from fraud3000.service.engine.decider import Decider
from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.engine.fallback import Fallback
from fraud3000.service.http.metrics import Metrics
from fraud3000.stages.serve import Service
from tests.service.conftest import Open
from tests.service.world import items, post

PROMTOOL = shutil.which("promtool")
CARD = "4111111111111111"


def read(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def total(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return sum(value for (one, of), value in found.items() if one == name and labels.items() <= dict(of).items())


def test_requests_decisions_and_errors_are_counted(client: TestClient, newest: pl.DataFrame) -> None:
    sent = items(newest)[:50]
    post(client, {"transactions": [*sent, {**sent[0], "amount": "x"}, {**sent[1], "amount": 1}]})
    client.post("/score", content=b"no json", headers={"content-type": "application/json"})
    client.post("/labels", json={"transaction_id": "a", "is_fraud": True, "source": "chargeback"})
    client.get("/nowhere")
    found = read(client)
    assert total(found, "fraud3000_requests_total", route="/score", status="200") == 1
    assert total(found, "fraud3000_requests_total", route="/score", status="422") == 1
    assert total(found, "fraud3000_requests_total", route="none", status="404") == 1
    assert total(found, "fraud3000_request_seconds_count", route="/score") == 2
    assert total(found, "fraud3000_stage_seconds_count", stage="decide and keep") == 1
    assert total(found, "fraud3000_decisions_total") == 50
    assert total(found, "fraud3000_score_count") == 50
    assert total(found, "fraud3000_refused_total", code="invalid_transaction") == 1
    assert total(found, "fraud3000_refused_total", code="conflicting_duplicate") == 1
    assert total(found, "fraud3000_labels_total", source="chargeback") == 1
    assert total(found, "fraud3000_journal_entries") == 51
    assert total(found, "fraud3000_journal_waiting") == 0
    assert total(found, "fraud3000_store_transactions") == 20_000 - 400 + 50
    assert total(found, "fraud3000_store_bytes") > 1e6
    assert total(found, "fraud3000_model_info", version="1") == 1
    assert total(found, "fraud3000_build_info", version=fraud3000.__version__) == 1
    assert total(found, "process_resident_memory_bytes") > 1e6
    assert "fraud3000_late_rows_total" in {name for name, _ in found}


def test_late_rows_are_counted(client: TestClient, newest: pl.DataFrame) -> None:
    first, *_, last = items(newest)
    post(client, last)
    post(client, {**first, "card_id": last["card_id"], "terminal_id": last["terminal_id"]})
    found = read(client)
    assert total(found, "fraud3000_late_rows_total") + total(found, "fraud3000_refused_rows_total") > 0


def test_metrics_contain_no_card_ids(client: TestClient, newest: pl.DataFrame) -> None:
    sent = items(newest)[:50]
    post(client, {"transactions": sent})
    text = client.get("/metrics").text
    assert [one["card_id"] for one in sent if one["card_id"] in text] == []


def test_alerts_and_fallback_decisions_are_counted(
    reopen: Open, newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, policy = Scorer.load, Policy("capacity", 0.005)
    monkeypatch.setattr(
        Scorer, "load", lambda folder, version=None: replace(load(folder, version=version), policy=policy)
    )
    small, large, *rest = items(newest)
    late = {"transactions": [{**small, "amount": 100}, {**large, "amount": 60_000}]}
    with closing(reopen()) as service:
        client = TestClient(service.app)
        before = read(client)
        post(client, late, params={"deadline_ms": 0})
        results = post(client, {"transactions": rest}).json()["results"]
        found = read(client)
    none_yet = {"fraud3000_decisions_total", "fraud3000_alerts_total", "fraud3000_reloads_total"}
    assert none_yet <= {name for name, _ in before}, "a rate sees no first step out of nothing"
    assert {total(before, name) for name in none_yet} == {0}
    alerts = sum(one["alert"] for one in results)
    assert alerts > 0
    assert total(found, "fraud3000_alerts_total", source="model") == alerts
    assert total(found, "fraud3000_alerts_total", source="fallback") == 1
    assert total(found, "fraud3000_decisions_total", source="fallback", decision="approve") == 1
    assert total(found, "fraud3000_score_count") == len(rest), "the fallback has no score"


def test_client_disconnect_is_not_counted_as_an_error(opened: Service, client: TestClient) -> None:
    async def leave() -> Message:
        return {"type": "http.disconnect"}

    async def nobody_reads(_: Message) -> None:
        pytest.fail("answered")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/score",
        "raw_path": b"/score",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    scope |= {"root_path": "", "scheme": "http", "http_version": "1.1"}

    async def ask() -> None:
        await opened.app(scope, leave, nobody_reads)

    asyncio.run(ask())
    found = read(client)
    assert total(found, "fraud3000_requests_total", route="/score", status="499") == 1
    assert total(found, "fraud3000_requests_total", route="/score") == 1


def test_label_sources_are_bounded_and_masked(client: TestClient) -> None:
    sources = [CARD, *(f"source-{n}" for n in range(60)), "source-0"]
    said = [{"transaction_id": f"t{n}", "is_fraud": True, "source": one} for n, one in enumerate(sources)]
    assert client.post("/labels", json={"labels": said}).status_code == 200
    found = read(client)
    assert total(found, "fraud3000_labels_total", source="other") == 10
    assert total(found, "fraud3000_labels_total", source="source-0") == 2
    assert total(found, "fraud3000_labels_total") == len(said) - 1, "a source is no card number"
    assert CARD not in client.get("/metrics").text


def test_watched_gauges_are_read_at_each_scrape(opened: Service, in_trained: Path) -> None:
    kept = opened.contents
    decider = Decider(Scorer.load(Path("data/models/1"), version="7"), "f" * 64, Fallback())
    metrics = Metrics(DecisionEngine(decider, kept.store, kept.journal, kept.past))

    def value(name: str) -> float:
        families = text_string_to_metric_families(metrics.read().decode())
        [found] = [s.value for family in families for s in family.samples if s.name == f"fraud3000_{name}"]
        return found

    assert value("ready") == 1
    assert math.isnan(value("snapshot_age_seconds"))
    ages = itertools.count(3.0)
    metrics.watch("snapshot_age_seconds", "Time since the last snapshot", lambda: next(ages))
    assert [value("snapshot_age_seconds"), value("snapshot_age_seconds")] == [3, 4]
    metrics.watch("journal_bytes", "Size of the journal", lambda: Path("nowhere").stat().st_size)
    assert math.isnan(value("journal_bytes")), "what cannot be told does not hide the rest"
    metrics.reloads.labels("refused").inc()
    metrics.snapshots.inc()
    assert value("snapshots_total") == 1


def test_names_follow_the_conventions(client: TestClient, newest: pl.DataFrame) -> None:
    post(client, {"transactions": items(newest)[:50]})
    families = [
        family
        for family in text_string_to_metric_families(client.get("/metrics").text)
        if not family.name.endswith("_created")
    ]
    assert [family.name for family in families if not family.documentation or family.type == "unknown"] == []
    samples = {(family.type, sample.name) for family in families for sample in family.samples}
    assert {name for kind, name in samples if kind == "counter" and not name.endswith(("_total", "_created"))} == set()
    assert {name for kind, name in samples if kind == "gauge" and name.endswith("_total")} == set()
    assert {name for _, name in samples if not name.startswith(("fraud3000_", "process_", "python_"))} == set()


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_has_no_complaints(client: TestClient, newest: pl.DataFrame) -> None:
    post(client, {"transactions": items(newest)[:50]})
    client.post("/labels", json={"transaction_id": "a", "is_fraud": True, "source": "chargeback"})
    told = client.get("/metrics").content
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=told, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
