"""Decisions by their id, and the queue of alerts by what they are expected to lose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from tests.service.conftest import Open
from tests.service.world import items, post

THRESHOLD = 0.005


@pytest.fixture
def client(reopen: Open, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service that alerts about one in ten."""
    load, policy = Scorer.load, Policy("capacity", THRESHOLD)
    monkeypatch.setattr(
        Scorer, "load", lambda folder, version=None: replace(load(folder, version=version), policy=policy)
    )
    with closing(reopen()) as service:
        yield TestClient(service.app, raise_server_exceptions=False)


@pytest.fixture
def decided(client: TestClient, newest: pl.DataFrame) -> list[dict[str, Any]]:
    """What was answered to the newest rows."""
    return list(post(client, {"transactions": items(newest)}).json()["results"])


def queue(client: TestClient, **asked: Any) -> Any:
    answer = client.get("/alerts", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_decision_is_told_with_all_it_was_made_of(
    client: TestClient, decided: list[dict[str, Any]], newest: pl.DataFrame
) -> None:
    one = next(result for result in decided if result["alert"])
    sent = next(item for item in items(newest) if item["transaction_id"] == one["transaction_id"])
    client.post("/labels", json={"transaction_id": one["transaction_id"], "is_fraud": True, "source": "analyst"})
    told = client.get(f"/decisions/{one['decision_id']}").json()
    assert one.items() <= told.items()
    assert told["model_version"] == "1"
    assert told["transaction"]["card_id"] == sent["card_id"]
    assert told["transaction"]["ts"].startswith(sent["ts"][:19])
    assert set(client.get("/model").json()["features"]) <= set(told["features"])
    assert [(label["is_fraud"], label["source"]) for label in told["labels"]] == [(True, "analyst")]


@pytest.mark.parametrize(
    ("decision", "status", "code"),
    [("0" * 24, 404, "not_found"), ("f" * 24, 404, "not_found"), ("zz", 422, "invalid_request")],
)
def test_a_decision_that_is_none(client: TestClient, decision: str, status: int, code: str) -> None:
    answer = client.get(f"/decisions/{decision}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_an_id_of_another_decision_is_none(client: TestClient, decided: list[dict[str, Any]]) -> None:
    forged = decided[0]["decision_id"][:12] + decided[1]["decision_id"][12:]
    assert client.get(f"/decisions/{forged}").status_code == 404


def test_alerts_come_by_expected_loss_page_by_page(client: TestClient, decided: list[dict[str, Any]]) -> None:
    alerted = [result["transaction_id"] for result in decided if result["alert"]]
    assert len(alerted) > 6
    found, after = [], {}
    while True:
        page = queue(client, limit=3, **after)
        assert len(page["alerts"]) <= 3
        found += page["alerts"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    losses = [alert["expected_loss"] for alert in found]
    assert losses == sorted(losses, reverse=True)
    assert [alert["transaction_id"] for alert in found] == [
        a["transaction_id"] for a in queue(client, limit=500)["alerts"]
    ]
    assert sorted(alert["transaction_id"] for alert in found) == sorted(alerted)
    for alert in found:
        assert alert["expected_loss"] == pytest.approx(alert["score"] * max(alert["amount"], 0))
        assert {"card_id", "terminal_id", "ts", "reasons", "decision_id"} <= set(alert)
    least = losses[2]
    assert len(queue(client, least=least)["alerts"]) == sum(loss >= least for loss in losses)
    assert queue(client, decision="decline")["alerts"] == []


def test_ties_stand_in_order_of_arrival(client: TestClient, newest: pl.DataFrame) -> None:
    one = items(newest)[-1]
    burst = [{**one, "transaction_id": f"b{n}", "amount": 90_000_000} for n in range(9)]
    assert all(result["alert"] for result in post(client, {"transactions": burst}).json()["results"])
    found, after = [], {}
    for _ in range(9):
        page = queue(client, limit=1, **after)
        found.append(page["alerts"][0])
        after = {"after": page["next"]}
    by_hand = sorted(found, key=lambda alert: (-alert["expected_loss"], alert["decision_id"]))
    assert found == by_hand
    assert len({alert["transaction_id"] for alert in found}) == 9


def test_a_label_record_closes_an_alert(client: TestClient, decided: list[dict[str, Any]]) -> None:
    first, second, *_ = queue(client)["alerts"]
    client.post("/labels", json={"transaction_id": first["transaction_id"], "is_fraud": False, "source": "analyst"})
    assert queue(client)["alerts"][0] == second
    assert [alert["transaction_id"] for alert in queue(client, status="closed")["alerts"]] == [first["transaction_id"]]
    everything = queue(client, status="all", limit=500)["alerts"]
    assert everything[0] == {**first, "open": False}
    assert len(everything) == sum(result["alert"] for result in decided)


def test_what_was_labelled_before_it_came_is_closed(client: TestClient, newest: pl.DataFrame) -> None:
    one = {**items(newest)[-1], "amount": 90_000_000}
    client.post("/labels", json={"transaction_id": one["transaction_id"], "is_fraud": True, "source": "chargeback"})
    assert post(client, one).json()["results"][0]["alert"]
    assert queue(client)["alerts"] == []
    assert len(queue(client, status="closed")["alerts"]) == 1


@pytest.mark.parametrize(
    "asked", [{"after": "x"}, {"after": "W10"}, {"after": "WyJhIiwxXQ"}, {"limit": 0}, {"limit": 501}, {"status": "new"}, {"least": "nan"}, {"more": 1}]
)  # fmt: skip
def test_what_cannot_be_asked_is_told(client: TestClient, asked: dict[str, Any]) -> None:
    answer = client.get("/alerts", params=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
