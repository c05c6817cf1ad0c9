"""Behavior of all routes: authentication, HEAD, query parameters, and internal errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.http import authentication
from fraud3000.service.http.api_keys import SCOPES, ApiKeys, RateLimiter
from fraud3000.service.http.metrics import Metrics
from fraud3000.service.maintenance.maintenance import Maintenance
from fraud3000.stages.serve import Service
from tests.service.world import items, post

ROUTES = {
    "GET": ("/openapi.json", "/model", "/metrics", "/alerts", f"/decisions/{'0' * 24}", "/nowhere", "/health/", "//ready"),
    "POST": ("/score", "/labels", "/admin/reload", "/admin/snapshot", "/health", "/nowhere"),
    "HEAD": ("/openapi.json", "/model", "/nowhere"),
    "DELETE": ("/score", "/model"),
}  # fmt: skip


@pytest.fixture
def key(opened: Service, tmp_path: Path) -> str:
    """A key with all scopes; creating it makes the service require keys."""
    return ApiKeys(tmp_path / "service" / "keys.json").add("all", SCOPES)


def test_every_path_but_two_requires_a_key(client: TestClient, key: str) -> None:
    for method, paths in ROUTES.items():
        for path in paths:
            if (method, path) == ("POST", "/health"):
                continue  # open paths are open to every method: this one is answered 405
            without = client.request(method, path)
            assert without.status_code in (401, 429), path
            assert client.request(method, path, headers={"X-API-Key": key}).status_code not in (401, 403, 429), path
    for path in ("/health", "/ready"):
        assert client.get(path).status_code == client.head(path).status_code == 200


def test_any_valid_key_may_read_the_openapi_description(client: TestClient, key: str, tmp_path: Path) -> None:
    one = ApiKeys(tmp_path / "service" / "keys.json").add("shop", ["score"])
    assert client.get("/openapi.json", headers={"X-API-Key": one}).json()["info"]["title"] == "fraud3000"


def test_address_without_a_valid_key_is_rate_limited(client: TestClient, key: str, newest: pl.DataFrame) -> None:
    wrong = [
        client.get("/model", headers={"X-API-Key": f"f3k_1_{number}"})
        for number in range(3 * authentication.UNAUTHENTICATED)
    ]
    assert {answer.status_code for answer in wrong} == {401, 429}
    last = next(answer for answer in reversed(wrong) if answer.status_code == 429)
    assert last.json()["error"]["code"] == "too_many"
    assert (last.headers["Retry-After"], last.headers["Connection"]) == ("1", "close")
    assert last.headers["X-Request-ID"]
    assert post(client, items(newest)[0], headers={"X-API-Key": key}).status_code == 200


def test_rate_limiter_has_bounded_memory() -> None:
    rate_limiter = RateLimiter(20, clock=lambda: 0.0)
    for number in range(50_000):
        rate_limiter.acquire(str(number))
    assert len(rate_limiter._buckets) <= 10_000


@pytest.mark.parametrize("path", ["/health", "/ready", "/model", "/metrics", "/openapi.json", "/alerts"])
def test_head_is_answered_like_get_without_a_body(client: TestClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_a_post_route_is_not_allowed(client: TestClient) -> None:
    answer = client.head("/score")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


TAKEN = {"/score": "reasons, deadline_ms", "/alerts": "status, decision, least, limit, after"}


@pytest.mark.parametrize(
    ("method", "path"), [
        ("POST", "/score"), ("POST", "/labels"), ("GET", "/alerts"), ("GET", "/model"), ("GET", "/metrics"), ("GET", "/health"),
        ("GET", "/ready"), ("GET", "/openapi.json"), ("GET", f"/decisions/{'0' * 24}"), ("POST", "/admin/reload"), ("POST", "/admin/snapshot"),
    ],
)  # fmt: skip
def test_unknown_parameter_is_rejected_with_the_known_ones(
    client: TestClient, newest: pl.DataFrame, method: str, path: str
) -> None:
    sent: dict[str, Any] = {"json": items(newest)[0]} if path == "/score" else {}
    for query in ("reason=all", "Reasons=all", "=1", "x", "a=1&b=2", "4111111111111111=1"):
        answer = client.request(method, f"{path}?{query}", **sent)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "invalid_request"), query
        assert "unknown parameter" in error["message"]
        assert "4111" not in error["message"]
        route = "/decisions/{decision}" if "decisions" in path else path
        expected = f"Parameters of {path}: {TAKEN[path]}." if path in TAKEN else f"{route} has no parameters."
        assert error["hint"] == expected


@pytest.mark.parametrize(("method", "path"), [("POST", "/score?reasons=all&reasons=none"), ("GET", "/alerts?limit=1&limit=2")])  # fmt: skip
def test_repeated_parameter_is_rejected(client: TestClient, newest: pl.DataFrame, method: str, path: str) -> None:
    sent: dict[str, Any] = {"json": items(newest)[0]} if method == "POST" else {}
    answer = client.request(method, path, **sent)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].endswith("repeated parameter")


def broken(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("4111111111111111")


BUGS = {
    ("POST", "/score"): (DecisionEngine, "decide"),
    ("POST", "/labels"): (DecisionEngine, "record"),
    ("GET", "/alerts"): (DecisionEngine, "alerts"),
    ("GET", f"/decisions/{'0' * 24}"): (DecisionEngine, "decision"),
    ("GET", "/model"): (DecisionEngine, "history"),
    ("GET", "/metrics"): (Metrics, "read"),
    ("POST", "/admin/reload"): (Maintenance, "reload"),
    ("POST", "/admin/snapshot"): (Maintenance, "snapshot"),
}


@pytest.mark.parametrize(("method", "path"), [*BUGS])
def test_internal_error_has_the_common_form_on_every_route(
    opened: Service, newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, logged: list[str], method: str, path: str
) -> None:
    owner, name = BUGS[method, path]
    client = TestClient(opened.app)  # which would raise what reaches the server
    monkeypatch.setattr(owner, name, broken)
    sent = {"/score": items(newest)[0], "/labels": {"transaction_id": "1", "is_fraud": True, "source": "analyst"}}
    how: dict[str, Any] = {"json": sent[path]} if path in sent else {}
    answer = client.request(method, path, headers={"X-Request-ID": "mine"}, **how)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["error"]["code"], answer.headers["X-Request-ID"]) == ("internal", "mine")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert sum("internal error" in line for line in logged) == 1, "once"
    assert client.get("/health").status_code == 200


def test_internal_error_in_authentication_has_the_common_form(
    opened: Service, monkeypatch: pytest.MonkeyPatch, newest: pl.DataFrame
) -> None:
    monkeypatch.setattr(ApiKeys, "required", property(broken))
    answer = TestClient(opened.app).get("/model")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")


BAD_IDS = (
    "1.23E+15",
    "4E+15",
    "123.0",
    "C4\x002",
    "C42\u202e",
    "\u200eC42",
    "C\u20664",
    "C\x1b[2J",
    "C\x7f",
    "C\ufeff4",
)


@pytest.mark.parametrize("bad", BAD_IDS)
def test_ids_that_are_rejected_in_files_are_rejected(client: TestClient, newest: pl.DataFrame, bad: str) -> None:
    for name in ("transaction_id", "card_id", "terminal_id"):
        answer = post(client, {**items(newest)[0], name: bad})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_transaction"), name
        assert bad not in answer.json()["error"]["message"] or bad.isprintable()
    label = {"transaction_id": bad, "is_fraud": True, "source": "analyst"}
    assert client.post("/labels", json=label).json()["error"]["code"] == "invalid_label"


@pytest.mark.parametrize("good", ["C-42", "a/b", "é", "1e5", "12:30", "0042", "card 7", "550e8400-e29b-41d4-a716-446655440000"])  # fmt: skip
def test_other_ids_are_accepted(client: TestClient, newest: pl.DataFrame, good: str) -> None:
    one = {**items(newest)[0], "card_id": good, "transaction_id": good}
    assert post(client, one).json()["results"][0]["transaction_id"] == good


@pytest.mark.parametrize("at", ["2025-06-01T12:00:00\u221201:00", "2025-06-01T12:00:00\uff0b01:00", "2025-06-01T12:00:00\u201301:00"])  # fmt: skip
def test_offset_needs_an_ascii_sign(client: TestClient, newest: pl.DataFrame, at: str) -> None:
    assert post(client, {**items(newest)[0], "ts": at}).status_code == 422
    label = {"transaction_id": "1", "is_fraud": True, "source": "analyst", "reported_at": at}
    assert client.post("/labels", json=label).status_code == 422
