"""What is counted, and by which names."""

from __future__ import annotations

import polars as pl
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tests.service.world import items, post


def read(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def total(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return sum(value for (one, of), value in found.items() if one == name and labels.items() <= dict(of).items())


def test_requests_decisions_and_faults_are_counted(client: TestClient, newest: pl.DataFrame) -> None:
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
    assert total(found, "fraud3000_model", version="1") == 1
    assert "fraud3000_late_rows_total" in {name for name, _ in found}


def test_late_rows_show(client: TestClient, newest: pl.DataFrame) -> None:
    first, *_, last = items(newest)
    post(client, last)
    post(client, {**first, "card_id": last["card_id"], "terminal_id": last["terminal_id"]})
    found = read(client)
    assert total(found, "fraud3000_late_rows_total") + total(found, "fraud3000_refused_rows_total") > 0


def test_no_card_is_named(client: TestClient, newest: pl.DataFrame) -> None:
    sent = items(newest)[:50]
    post(client, {"transactions": sent})
    text = client.get("/metrics").text
    assert [one["card_id"] for one in sent if one["card_id"] in text] == []
