"""Fallback: transactions that miss their deadline are decided by amount, and stored with that source."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000 import params as params_files
from fraud3000.errors import ParamsError
from fraud3000.params import FallbackParams, Params
from fraud3000.service.entries import TransactionEntry
from fraud3000.stages.serve import Service
from tests.service.conftest import Open
from tests.service.test_keeping import move_store_away
from tests.service.world import items, post

LATE = {"deadline_ms": 0}


@pytest.fixture
def sent(newest: pl.DataFrame) -> list[dict[str, Any]]:
    one, two, three, *_ = items(newest)
    amounts = ((one, 100), (two, 60_000), (three, 700_000))
    return [{**item, "amount": amount, "status": "approved"} for item, amount in amounts]


def test_late_transactions_are_decided_by_amount(reopen: Open, sent: list[dict[str, Any]]) -> None:
    with closing(reopen()) as service:
        client = TestClient(service.app)
        late = post(client, {"transactions": sent}, params=LATE).json()["results"]
        assert [one["decision"] for one in late] == ["approve", "review", "review"]
        for one in late:
            assert (one["decision_source"], one["score"], one["threshold"], one["reasons"]) == (
                "fallback",
                None,
                None,
                [],
            )
        assert post(client, {"transactions": sent}, params={"reasons": "all"}).json()["results"] == late, "a retry"
        kept = [entry for entry in service.contents.journal.after(0) if isinstance(entry, TransactionEntry)]
        assert all(len(one.features) == len(service.contents.store.catalogue.names) for one in kept)
        assert [one.answer.source for one in kept if one.answer] == ["fallback"] * 3
        queue = client.get("/alerts").json()["alerts"]
        assert [(one["amount"], one["expected_loss"]) for one in queue] == [(700_000, 700_000.0), (60_000, 60_000.0)]
        metrics = client.get("/metrics").text
        counted = [line.split()[1] for line in metrics.splitlines() if line.startswith("fraud3000_decisions_total")]
        assert sorted(counted)[-3:] == ["0.0", "1.0", "2.0"], "each once"
        assert 'source="fallback"' in metrics
        assert "fraud3000_score_count 0.0" in metrics
    with closing(reopen()) as service:
        assert post(TestClient(service.app), {"transactions": sent}).json()["results"] == late


def test_features_of_later_transactions_include_fallback_decisions(
    reopen: Open, newest: pl.DataFrame, tmp_path: Any
) -> None:
    first, *rest = items(newest)
    told = []
    for how in ({}, LATE):
        with closing(reopen()) as service:
            client = TestClient(service.app)
            post(client, first, params=how)
            told.append(post(client, {"transactions": rest}).json()["results"])
        move_store_away(tmp_path, f"service-{len(told)}")
    assert [one["score"] for one in told[0]] == [one["score"] for one in told[1]]


def test_model_decides_within_the_deadline(client: TestClient, sent: list[dict[str, Any]]) -> None:
    results = post(client, {"transactions": sent}, params={"deadline_ms": 60_000}).json()["results"]
    assert {one["decision_source"] for one in results} == {"model"}
    assert all(one["score"] > 0 for one in results)


@pytest.mark.parametrize("deadline", ["-1", "soon", "nan", "1e9"])
def test_invalid_deadline_is_rejected(client: TestClient, sent: list[dict[str, Any]], deadline: str) -> None:
    answer = post(client, sent[0], params={"deadline_ms": deadline})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_fallback_uses_the_bands_of_the_params(given: Params, history: Any, sent: list[dict[str, Any]]) -> None:
    bands = FallbackParams(review_from=None, decline_from=600_000)
    given = given.model_copy(update={"serve": given.serve.model_copy(update={"fallback": bands})})
    with closing(Service.open(given, port=0, history=str(history), model="challenger")) as service:
        results = post(TestClient(service.app), {"transactions": sent}, params=LATE).json()["results"]
    assert [one["decision"] for one in results] == ["approve", "approve", "decline"]
    with pytest.raises(ParamsError, match="review_from must not be above decline_from"):
        params_files.parse({"serve": {"fallback": {"review_from": 10, "decline_from": 9}}})
