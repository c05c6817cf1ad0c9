"""The service scores like score-file, validates each transaction on its own, and has one form of error."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.data.cleaning import cards, sources
from fraud3000.errors import DataError, ParamsError, ScorerError, UnavailableError
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from fraud3000.params import ColumnMapping, Params
from fraud3000.service.http.time_slices import Slices
from fraud3000.service.http.validation import RequestValidator
from fraud3000.stages.score_file import score_file
from fraud3000.stages.serve import Service
from tests.service.world import NEWEST, items, post

SHARED = ("transaction_id", "score", "alert", "threshold")


def test_results_equal_those_of_score_file(
    client: TestClient, history: Path, newest: pl.DataFrame, tmp_path: Path
) -> None:
    newest.write_parquet(tmp_path / "newest.parquet")
    score_file(str(tmp_path / "newest.parquet"), out=tmp_path / "out.parquet", history=str(history), model="challenger", reasons="all")  # fmt: skip
    scored = pl.read_parquet(tmp_path / "out.parquet")
    sent, results = items(newest), []
    for start, size in ((0, 1), (1, 1), (2, 30), (32, NEWEST)):
        answer = post(client, {"transactions": sent[start : start + size]}, params={"reasons": "all"})
        assert answer.status_code == 200, answer.text
        results += answer.json()["results"]
    answered = pl.DataFrame(
        {
            **{name: [one[name] for one in results] for name in (*SHARED, "decision")},
            **{
                f"reason_{n + 1}": [one["reasons"][n]["text"] if n < len(one["reasons"]) else None for one in results]
                for n in range(3)
            },
        },
        schema_overrides={f"reason_{n}": pl.String for n in (1, 2, 3)},
    )
    assert answered.equals(scored.select(answered.columns))
    assert {one["decision"] for one in results} <= {"approve", "review"}


def test_policy_declines_in_service_and_file(
    given: Params, history: Path, newest: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, policy = Scorer.load, Policy("cost", None, review_cost=10, lost_sale=0, lost_margin=0.002)
    monkeypatch.setattr(
        Scorer, "load", lambda folder, version=None: replace(load(folder, version=version), policy=policy)
    )
    newest.write_parquet(tmp_path / "newest.parquet")
    out = tmp_path / "out.parquet"
    score_file(str(tmp_path / "newest.parquet"), out=out, history=str(history), model="challenger")
    with closing(Service.open(given, port=0, history=str(history), model="challenger")) as service:
        results = post(TestClient(service.app), {"transactions": items(newest)}).json()["results"]
    scored = pl.read_parquet(out)
    assert scored["decision"].to_list() == [one["decision"] for one in results]
    assert set(scored["decision"]) == {"approve", "review", "decline"}
    assert scored["alert"].to_list() == [one["alert"] for one in results]


def test_retry_gets_the_same_decision_and_other_content_is_a_conflict(client: TestClient, newest: pl.DataFrame) -> None:
    first, second, third = items(newest)[:3]
    before = post(client, first).json()
    post(client, second)
    assert post(client, first).json() == before
    other = post(client, {**first, "amount": first["amount"] + 1})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflicting_duplicate")
    both = post(
        client, {"transactions": [{**first, "amount": 1}, third, third, {**third, "status": "declined"}]}
    ).json()["results"]
    assert [one.get("error", {}).get("code") for one in both] == [
        "conflicting_duplicate",
        None,
        None,
        "conflicting_duplicate",
    ]
    assert both[1] == both[2]


def test_transaction_of_the_history_is_a_conflict(client: TestClient, history: Path) -> None:
    (known,) = items(pl.read_parquet(history).tail(1))
    again, other = post(client, known), post(client, {**known, "terminal_id": "elsewhere"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "in_history")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflicting_duplicate")


def test_features_include_earlier_transactions_of_the_card(client: TestClient, newest: pl.DataFrame) -> None:
    one = items(newest)[-1]
    later = datetime.fromisoformat(one["ts"]) + timedelta(seconds=1)
    burst = [{**one, "transaction_id": f"b{n}", "ts": (later + timedelta(seconds=n)).isoformat()} for n in range(9)]
    told = post(client, {"transactions": burst}, params={"reasons": "all"}).json()["results"]
    assert len({result["score"] for result in told}) > 1


def test_reasons_are_returned_for_alerts_or_on_request(client: TestClient, newest: pl.DataFrame) -> None:
    sent = {"transactions": items(newest)}
    alerts = post(client, sent).json()["results"]
    assert all(one["alert"] or not one["reasons"] for one in alerts)
    none = post(client, sent, params={"reasons": "none"}).json()["results"]
    assert not any(one["reasons"] for one in none)
    wrong = post(client, sent, params={"reasons": "some"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_request")


def test_invalid_transaction_does_not_affect_the_others(client: TestClient, newest: pl.DataFrame) -> None:
    good = items(newest)[0]
    faulty = [
        {**good, "transaction_id": "1", "amount": "12.50"},
        {**good, "transaction_id": "2", "is_fraud": True},
        {**good, "transaction_id": "3", "ts": "2024-01-01T00:00:00"},
        {**good, "transaction_id": "4", "ts": (datetime.now(UTC) + timedelta(minutes=6)).isoformat()},
        {**good, "transaction_id": "5", "ts": "1969-01-01T00:00:00Z"},
        {**good, "transaction_id": "6", "card_lat": "north"},
        {name: value for name, value in good.items() if name != "card_id"},
        {**good, "transaction_id": 7},
        {**good, "transaction_id": "8", "amount": 10**13 + 1},
        {**good, "transaction_id": "9", "amount": True},
    ]
    answer = post(client, {"transactions": [*faulty, good]})
    assert answer.status_code == 200
    *wrong, right = answer.json()["results"]
    assert right["score"] > 0
    assert [one["error"]["code"] for one in wrong] == [
        *["invalid_transaction"] * 3, "future_event", "time_out_of_range", *["invalid_transaction"] * 5,
    ]  # fmt: skip
    said = [one["error"]["message"] for one in wrong]
    assert said[0] == "amount: Input should be a valid integer, found '12.50'"
    assert said[1] == "is_fraud: unknown field"
    assert wrong[1]["error"]["hint"].startswith("Fields of a transaction: transaction_id, ts, card_id")
    assert said[6] == "card_id: missing"
    assert all(one["error"]["hint"] for one in wrong)


def test_request_without_any_decision_has_an_error_status(client: TestClient, newest: pl.DataFrame) -> None:
    bad = {**items(newest)[0], "amount": None}
    single = post(client, bad)
    assert (single.status_code, set(single.json())) == (422, {"error"})
    several = post(client, {"transactions": [bad, bad]})
    assert several.status_code == 422
    assert set(several.json()) == {"error", "model_version", "results"}


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"amount=5", "application/json", 422, "not_json"),
        (b"", "application/json", 422, "not_json"),
        (b"[1, 2]", "application/json", 422, "no_transactions"),
        (b'{"transactions": 5}', "application/json", 422, "no_transactions"),
        (b'{"transactions": []}', "application/json", 422, "no_transactions"),
        (b'{"transactions": [5]}', "application/json", 422, "no_transactions"),
        (b'{"transactions": [{}], "more": 1}', "application/json", 422, "no_transactions"),
        (b'{"amount": NaN}', "application/json", 422, "not_json"),
        (b"<a/>", "text/xml", 415, "media_type"),
        (json.dumps({"transactions": [{}] * 10_001}).encode(), "application/json", 413, "too_large"),
        (b" " * (16 * 1024 * 1024 + 1), "application/json", 413, "too_large"),
        (b"{}\n" * 10_001, "application/x-ndjson", 413, "too_large"),
    ],
)
def test_malformed_body_is_rejected(client: TestClient, content: bytes, kind: str, status: int, code: str) -> None:
    answer = client.post("/score", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) == {"code", "message", "hint"}


def test_ndjson_is_answered_with_ndjson(client: TestClient, newest: pl.DataFrame) -> None:
    lines = "\n".join(json.dumps(one) for one in items(newest)[:3])
    answer = client.post("/score", content=lines, headers={"content-type": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["transaction_id"] for one in told] == newest["transaction_id"].head(3).to_list()
    assert {one["model_version"] for one in told} == {"1"}


def test_health_ready_and_model(client: TestClient, newest: pl.DataFrame) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready", "model_version": "1"}
    post(client, {"transactions": items(newest)[:5]})
    facts = client.get("/model").json()
    assert facts["history"]["since_start"] == 5
    assert facts["history"]["rows"] == 20_000 - NEWEST + 5
    assert facts["trained"]["estimator"] == "random_forest"
    assert {"amount", "card_count_7d"} <= set(facts["features"])


def test_responses_have_a_request_id(client: TestClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "mine"}).headers["X-Request-ID"] == "mine"
    assert len(client.get("/health").headers["X-Request-ID"]) == 36
    missing = client.get("/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert client.get("/score").json()["error"]["code"] == "method_not_allowed"


def test_openapi_has_the_fields_and_examples_of_the_data_set(client: TestClient) -> None:
    page = client.get("/openapi.json").json()
    body = page["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    assert {"category", "card_lat", "terminal_id"} <= set(body["schema"]["oneOf"][1]["properties"])
    example = body["examples"]["one"]["value"]
    assert post(client, example).status_code == 200
    assert "is_fraud" not in body["schema"]["oneOf"][1]["properties"]


def test_start_errors_state_the_reason(given: Params, history: Path, opened: Service, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="is in use by another service"):
        Service.open(given, port=0, model="challenger")
    given = given.model_copy(update={"serve": given.serve.model_copy(update={"store": str(tmp_path / "other")})})
    busy = opened.listener.getsockname()[1]
    with pytest.raises(UnavailableError, match=f"port {busy}: cannot be bound .another program uses it"):
        Service.open(given, port=busy, model="challenger")
    with pytest.raises(ScorerError, match="no champion"):
        Service.open(given, port=0)
    with pytest.raises(DataError, match="no such file"):
        Service.open(given, port=0, model="challenger", history="nowhere.parquet")
    pl.read_parquet(history).head(500).write_parquet(tmp_path / "short.parquet")
    with pytest.raises(DataError, match=r"history: spans \d+\.\d days, but the longest window needs 90d"):
        Service.open(given, port=0, model="challenger", history=str(tmp_path / "short.parquet"))
    short = str(tmp_path / "short.parquet")
    Service.open(given, port=0, model="challenger", history=short, cold_start=True).close()
    with pytest.raises(DataError, match=r"history: spans"):
        Service.open(given, port=0, model="challenger", history=short)
    with pytest.raises(DataError, match=r"other: was seeded with .*short\.parquet, not with .*history\.parquet"):
        Service.open(given, port=0, model="challenger", history=str(history))


NUMBER = "4111111111111111"


def counter(mapping: ColumnMapping, key: cards.CardKey | None = None) -> RequestValidator:
    span = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    return RequestValidator(mapping, span, lambda: key or cards.load_key({}), lambda: datetime(2018, 9, 1, tzinfo=UTC))


def sent(**fields: Any) -> dict[str, Any]:
    return {
        "transaction_id": "1",
        "ts": "2018-08-08T00:00:00Z",
        "card_id": NUMBER,
        "terminal_id": "t",
        "amount": 5,
        **fields,
    }


def test_card_numbers_are_hashed_as_in_prepare() -> None:
    key = cards.new_key()
    mapping = sources.HANDBOOK.model_copy(update={"card_numbers": "yes"})
    checked = asyncio.run(counter(mapping, key).check([sent()], Slices()))
    assert [row["card_id"] for row in checked.rows] == cards.hash_cards(pl.Series([NUMBER]), key).to_list()
    with pytest.raises(ParamsError, match="FRAUD3000_PAN_KEY: not set"):
        counter(mapping)


def test_unexpected_card_number_is_rejected_and_not_quoted() -> None:
    mapping = sources.HANDBOOK.model_copy(update={"card_numbers": "detect"})
    checked = asyncio.run(counter(mapping).check([sent(), sent(card_id="596", terminal_id=4111111111111111)], Slices()))
    assert [error.code for error in checked.errors.values()] == ["card_number", "invalid_transaction"]
    assert NUMBER not in str(checked.errors)


def test_refunds_have_the_sign_and_status_of_files() -> None:
    different: list[dict[str, Any]] = [{"amount": -5}, {"status": "refund"}, {"status": "declined"}]
    rows = asyncio.run(
        counter(sources.HANDBOOK).check([sent(card_id="596", **fields) for fields in different], Slices())
    ).rows
    assert [(row["amount"], row["status"]) for row in rows] == [(-5, "refund"), (-5, "refund"), (5, "declined")]


def test_card_number_in_a_numeric_column_becomes_null() -> None:
    mapping = sources.HANDBOOK.model_copy(update={"numeric": ("basket",)})
    values = [int(NUMBER), float(NUMBER), 4000000000000000006, 57.16, None]
    given = [sent(card_id="596", basket=value) for value in values]
    rows = asyncio.run(counter(mapping).check(given, Slices())).rows
    assert [row["basket"] for row in rows] == [None, None, None, 57.16, None]


def test_card_like_ids_of_the_mapping_are_accepted() -> None:
    mapping = sources.HANDBOOK.model_copy(update={"card_like_ids": ("terminal_id",)})
    given = [sent(card_id="596", terminal_id=NUMBER), sent(transaction_id=NUMBER)]
    checked = asyncio.run(counter(mapping).check(given, Slices()))
    assert [row["terminal_id"] for row in checked.rows] == [NUMBER]
    assert [error.code for error in checked.errors.values()] == ["card_number"]
