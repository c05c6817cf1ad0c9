"""Clients that ask the real service, through a place that spoils what it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx2
import polars as pl
import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud3000.client import AsyncClient, Client, DecisionResult, ReasonText, payloads
from fraud3000.errors import DataError, ParamsError, ScorerError, UnavailableError
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.policy import Policy
from fraud3000.service.engine.fallback import Fallback
from fraud3000.service.entries import TransactionEntry
from fraud3000.service.http.api_keys import ApiKeys
from fraud3000.stages.serve import Service
from fraud3000.wire import API_KEY_VARIABLE, MAX_ITEMS
from tests.service.conftest import Open
from tests.service.world import items

THRESHOLD = 0.005

Fault = Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]]


@dataclass
class Spoiling:
    """Stands before the service, and does something else with the first requests.

    Attributes
    ----------
    faults
        One for each of them.
    seen
        Request id and body of all.
    """

    app: ASGIApp
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.seen.append((dict(scope["headers"]).get(b"x-request-id", b"").decode(), body))
        parts: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return parts.pop() if parts else await receive()

        if self.faults:
            await self.faults.pop(0)(self.app, scope, again, send)
        else:
            await self.app(scope, again, send)


async def passed(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """No fault."""
    await app(scope, receive, send)


async def cut(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The service answers, and the connection ends in the middle of its answer."""

    async def half(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": message["body"][:20], "more_body": True}
        await send(message)

    await app(scope, receive, half)


async def silent(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The service decides, and nothing comes back until whoever asked has gone."""

    async def nothing(message: Message) -> None:
        pass

    await app(scope, receive, nothing)
    await _gone(receive)


async def mute(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing is done and nothing comes back."""
    await _gone(receive)


async def dripping(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The answer comes byte by byte, and never ends."""
    gone = asyncio.ensure_future(_gone(receive))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not gone.done():
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.wait([gone], timeout=0.02)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def answers(status: int, body: Any = None, **headers: str) -> Fault:
    """Another answer, and the service is not asked."""

    async def answer(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": content})

    return answer


@contextmanager
def served(service: Service) -> Iterator[tuple[str, Spoiling]]:
    """Run a service in a thread; where it is, and what stands before it."""
    spoiling = Spoiling(service.app)
    config = uvicorn.Config(spoiling, log_config=None, log_level="critical", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[service.listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{service.listener.getsockname()[1]}", spoiling
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def opened(reopen_seeded: Open, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that alerts about one in ten."""
    load, policy = Scorer.load, Policy("capacity", THRESHOLD)
    monkeypatch.setattr(
        Scorer, "load", lambda folder, version=None: replace(load(folder, version=version), policy=policy)
    )
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    with closing(reopen_seeded()) as service:
        yield service


@pytest.fixture
def running(opened: Service) -> Iterator[tuple[str, Spoiling]]:
    with served(opened) as place:
        yield place


@pytest.fixture
def url(running: tuple[str, Spoiling]) -> str:
    return running[0]


@pytest.fixture
def spoiling(running: tuple[str, Spoiling]) -> Spoiling:
    return running[1]


@pytest.fixture
def sent(newest: pl.DataFrame) -> list[dict[str, Any]]:
    return items(newest)


class Driven:
    """An AsyncClient whose methods are waited for: what is shown of one client is shown of both."""

    def __init__(self, *given: Any, **how: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*given, **how)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *given, **how: self._runner.run(_done(method(*given, **how)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


async def _done(asked: Any) -> Any:
    return [one async for one in asked] if isinstance(asked, AsyncIterator) else await asked


Make = Callable[..., Any]


@pytest.fixture(params=[Client, Driven])
def make(request: pytest.FixtureRequest) -> Make:
    return partial(request.param, timeout=60)  # the first reasons of a process take seconds


def kept(service: Service) -> list[str]:
    """Ids of the transactions in the journal, in order."""
    return [entry.transaction_id for entry in service.contents.journal.after(0) if isinstance(entry, TransactionEntry)]


def test_one_transaction(make: Make, url: str, sent: list[dict[str, Any]]) -> None:
    raw = httpx2.post(f"{url}/score?reasons=all", json=sent[0], timeout=60).json()
    [told] = raw["results"]
    with make(url) as client:
        decision = client.score(sent[0], reasons="all")
    reasons = tuple(ReasonText(**reason) for reason in told["reasons"])
    assert reasons
    assert decision == DecisionResult(**{**told, "reasons": reasons, "model_version": raw["model_version"]})
    assert not decision.unanswered


def test_several_in_their_order_and_what_is_wrong_in_its_place(
    make: Make, url: str, sent: list[dict[str, Any]]
) -> None:
    wrong = {**sent[1], "amount": "12.50"}
    with make(url) as client:
        one, fault, three = client.score([sent[2], wrong, sent[0]])
        assert [one.transaction_id, three.transaction_id] == [sent[2]["transaction_id"], sent[0]["transaction_id"]]
        assert (fault.transaction_id, fault.decision) == (wrong["transaction_id"], None)
        assert fault.error.code == "invalid_transaction"
        assert "found '12.50'" in fault.error.message
        [alone] = client.score([wrong])
        assert alone == fault
        with pytest.raises(DataError, match=r"POST http://.*/score: 422, amount: .* found '12.50'") as raised:
            client.score(wrong)
        assert (raised.value.code, raised.value.hint) == ("invalid_transaction", fault.error.hint)
        with pytest.raises(DataError, match="409, this transaction_id was used before with other content") as raised:
            client.score({**sent[0], "amount": 1})
        assert raised.value.code == "conflicting_duplicate"
        assert client.score([]) == []


def test_times_are_sent_as_they_are(make: Make, url: str, opened: Service, sent: list[dict[str, Any]]) -> None:
    with make(url) as client:
        first = client.score(sent[0])
        as_objects = {**sent[0], "ts": datetime.fromisoformat(sent[0]["ts"])}
        assert client.score(as_objects) == first
    assert len(kept(opened)) == 1


@pytest.mark.parametrize("fault", [cut, silent])
def test_after_a_lost_answer_the_retry_has_the_same_and_counts_once(
    make: Make, fault: Fault, running: tuple[str, Spoiling], opened: Service, sent: list[dict[str, Any]]
) -> None:
    url, spoiling = running
    before = len(opened.contents.store)
    spoiling.faults = [fault, fault]
    with make(url, attempt_timeout=2, retries=20) as client:
        decisions = client.score(sent[:5])
        assert len(spoiling.seen) >= 3
        assert len(set(spoiling.seen)) == 1, "the same id and the same bytes"
        assert client.score(sent[:5]) == decisions
    assert spoiling.seen[-1][0] != spoiling.seen[0][0], "another request has another id"
    assert sorted(kept(opened)) == sorted(one["transaction_id"] for one in sent[:5])
    assert len(opened.contents.store) == before + 5


PASSES = [
    answers(503),
    answers(503, Retry_After="1"),
    answers(429, Retry_After="0"),
    answers(408),
    answers(502, b"<html>"),
]


def test_what_passes_is_waited_for(make: Make, running: tuple[str, Spoiling], sent: list[dict[str, Any]]) -> None:
    url, spoiling = running
    with make(url) as client:
        for number, fault in enumerate(PASSES):
            spoiling.faults, spoiling.seen = [fault], []
            assert client.score(sent[number]).decision_source == "model"
            assert len(spoiling.seen) == 2


STRANGE = "the response is not that of a fraud3000 service"
STAYS = [
    (500, {"error": {"code": "internal", "message": "a bug", "hint": "Tell."}}, UnavailableError, "500, a bug"),
    (500, b"oh", UnavailableError, "500, the service failed"),
    (404, b"<html>", ParamsError, "404, and the response is not that of a fraud3000 service"),
    (307, b"", ParamsError, "307, and the response is not that of a fraud3000 service"),
    (200, b"<html>", ParamsError, STRANGE),
    (200, {"model_version": "1", "results": []}, ParamsError, STRANGE),
    (200, {"model_version": "1", "results": [{"x": 1}]}, ParamsError, STRANGE),
    (200, {"model_version": "1", "results": [7]}, ParamsError, STRANGE),
]


def test_what_stays_is_told_at_once(make: Make, running: tuple[str, Spoiling], sent: list[dict[str, Any]]) -> None:
    url, spoiling = running
    with make(url) as client:
        for status, body, kind, told in STAYS:
            spoiling.faults, spoiling.seen = [answers(status, body, Location="http://127.0.0.1:9/score")], []
            with pytest.raises(kind, match=told):
                client.score(sent[0])
            assert len(spoiling.seen) == 1


@pytest.mark.parametrize("fault", [mute, dripping])
def test_the_time_there_is_bounds_it(
    make: Make, fault: Fault, running: tuple[str, Spoiling], sent: list[dict[str, Any]]
) -> None:
    url, spoiling = running
    spoiling.faults = [fault] * 10
    with make(url, timeout=2, attempt_timeout=0.5, retries=9) as client:
        with pytest.raises(UnavailableError, match=r"attempts: no response within .* s \(request "):
            client.score(sent[0])
        assert 2 <= len(spoiling.seen) < 10
        spoiling.faults = [answers(503, Retry_After="3600")]
        asked = len(spoiling.seen)
        with pytest.raises(UnavailableError, match="after 1 attempt: 503; retry after 3600 s"):
            client.score(sent[0])
        assert len(spoiling.seen) == asked + 1


def test_nobody_there(make: Make) -> None:
    with make("http://127.0.0.1:9", retries=2) as client:
        with pytest.raises(
            UnavailableError, match=r"GET http://127.0.0.1:9/model: no response after 3 attempts: .*"
        ) as raised:
            client.model()
        assert raised.value.hint is not None
        assert client.ready() is False


def test_the_fallback_decides_as_the_service_would(
    make: Make, running: tuple[str, Spoiling], opened: Service, sent: list[dict[str, Any]]
) -> None:
    url, spoiling = running
    amounts = [0, 49_999, 50_000, 700_000, -60_000, 60_000]
    rows = [{**one, "amount": amount, "status": "approved"} for one, amount in zip(sent, amounts, strict=False)]
    rows[-1]["status"] = "refund"
    with make(url, retries=0, fallback=Fallback(review_from=50_000)) as client:
        spoiling.faults = [answers(503), answers(500), answers(429)]
        made = client.score(rows)
        assert made[0] == client.score(rows[0]) == client.score(rows[0])
        assert all(one.unanswered for one in made)
        assert kept(opened) == []
    others = [{**row, "transaction_id": f"other-{place}"} for place, row in enumerate(rows)]
    with make(url) as client:
        theirs = client.score(others, deadline_ms=0)
        assert not any(one.unanswered for one in theirs)
        assert [
            one.model_copy(update={"transaction_id": mine.transaction_id, "decision_id": None, "model_version": None})
            for one, mine in zip(theirs, made, strict=True)
        ] == made
        later = client.score(rows)
    assert {one.decision_source for one in later} == {"model"}


def test_the_fallback_does_not_hide_what_is_wrong(
    make: Make, running: tuple[str, Spoiling], sent: list[dict[str, Any]]
) -> None:
    url, spoiling = running
    with make(url, retries=0, fallback=Fallback()) as client:
        with pytest.raises(DataError, match="unknown field"):
            client.score({**sent[0], "colour": "red"})
        spoiling.faults = [answers(404, b"")]
        with pytest.raises(ParamsError):
            client.score(sent[0])
        spoiling.faults = [answers(503)] * 2
        one, other = client.score([{"transaction_id": "a", "amount": "7"}, {"transaction_id": "b", "amount": 7}])
        assert (one.error.code, one.decision, one.transaction_id) == ("unavailable", None, "a")
        assert other.decision == "approve"
        with pytest.raises(DataError, match="the service did not respond, and the fallback needs an integer amount"):
            client.score({"transaction_id": "a"})
        spoiling.faults = [answers(503)]
        with pytest.raises(UnavailableError):
            client.model()


def test_more_than_a_request_takes(make: Make, running: tuple[str, Spoiling], sent: list[dict[str, Any]]) -> None:
    url, spoiling = running
    last = sent[-1]
    rows = [{**last, "transaction_id": f"M{number:05}"} for number in range(MAX_ITEMS + 3)]
    with make(url, timeout=300) as client:
        decisions = client.score(rows)
        assert [one.transaction_id for one in decisions] == [row["transaction_id"] for row in rows]
        assert all(one.error is None for one in decisions)
        assert [len(json.loads(body)["transactions"]) for _, body in spoiling.seen] == [MAX_ITEMS, 3]
        labelled = client.labels(
            {"transaction_id": row["transaction_id"], "is_fraud": False, "source": "analyst"} for row in rows[:3]
        )
        assert [one.transaction_id for one in labelled] == [row["transaction_id"] for row in rows[:3]]


def test_where_a_piece_is_not_answered_the_fallback_decides_from_there(
    make: Make,
    running: tuple[str, Spoiling],
    opened: Service,
    sent: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, spoiling = running
    monkeypatch.setitem(payloads.batches.__kwdefaults__, "rows", 3)
    wide = sent[:10]
    with make(url, retries=0, fallback=Fallback()) as client:
        spoiling.faults = [passed, answers(503)]
        decisions = client.score(wide)
    assert [one.decision_source for one in decisions] == ["model"] * 3 + ["fallback"] * 7
    assert len(spoiling.seen) == 2, "the rest is not sent: it would overtake"
    assert sorted(kept(opened)) == sorted(one["transaction_id"] for one in wide[:3])


def test_labels(make: Make, url: str, sent: list[dict[str, Any]]) -> None:
    id_ = sent[0]["transaction_id"]
    with make(url) as client:
        decision = client.score(sent[0])
        at = datetime(2025, 7, 29, 8, tzinfo=UTC)
        one = client.label(id_, is_fraud=True, source="chargeback", reported_at=at)
        assert (one.transaction_id, one.error) == (id_, None)
        assert one.recorded_at.tzinfo is not None
        again = {"transaction_id": id_, "is_fraud": True, "source": "chargeback", "reported_at": at.isoformat()}
        wrong = {"transaction_id": id_, "is_fraud": 1, "source": "chargeback"}
        assert client.labels([again])[0] == one
        same, fault = client.labels([again, wrong])
        assert same == one
        assert fault.error.code == "invalid_label"
        with pytest.raises(DataError, match="is_fraud"):
            client.label(id_, is_fraud="yes", source="chargeback")
        record = client.decision(decision.decision_id)
    assert (record.decision_id, record.score, record.model_version) == (decision.decision_id, decision.score, "1")
    assert record.transaction["card_id"] == sent[0]["card_id"]
    assert record.received_at.tzinfo is not None
    assert len(record.features) > 5
    assert [(label.is_fraud, label.source, label.reported_at) for label in record.labels] == [(True, "chargeback", at)]


def test_alerts_page_by_page(make: Make, running: tuple[str, Spoiling], sent: list[dict[str, Any]]) -> None:
    url, spoiling = running
    with make(url) as client:
        decisions = client.score(sent)
        asked = len(spoiling.seen)
        queue = list(client.alerts(page=7))
        assert len(spoiling.seen) == asked + len(queue) // 7 + 1
        assert len(queue) > 14
        assert {one.decision_id for one in queue} == {one.decision_id for one in decisions if one.alert}
        losses = [one.expected_loss for one in queue]
        assert losses == sorted(losses, reverse=True)
        assert list(client.alerts(page=500)) == queue
        assert list(client.alerts(least=losses[3])) == queue[:4]
        assert list(client.alerts(decision="decline")) == [one for one in queue if one.decision == "decline"]
        first = queue[0]
        assert first.ts == datetime.fromisoformat(
            next(one["ts"] for one in sent if one["transaction_id"] == first.transaction_id)
        )
        client.label(first.transaction_id, is_fraud=False, source="analyst")
        assert list(client.alerts()) == queue[1:]
        assert list(client.alerts(status="closed")) == [first.model_copy(update={"open": False})]
        with pytest.raises(DataError, match="422, limit"):
            list(client.alerts(page=501))


def test_a_queue_is_asked_for_as_it_is_read(running: tuple[str, Spoiling], sent: list[dict[str, Any]]) -> None:
    url, spoiling = running
    with Client(url) as client:
        client.score(sent)
        asked = len(spoiling.seen)
        queue = client.alerts(page=2)
        for _ in range(3):
            next(queue)
        assert len(spoiling.seen) == asked + 2


def test_how_the_service_is(make: Make, running: tuple[str, Spoiling], sent: list[dict[str, Any]]) -> None:
    url, spoiling = running
    with make(f"{url}/") as client:
        assert client.ready() is True
        assert client.model()["model_version"] == "1"
        client.score(sent[0])
        assert "fraud3000_decisions_total" in client.metrics()
        with pytest.raises(DataError, match="there is no decision 000") as raised:
            client.decision("0" * 24)
        assert raised.value.code == "not_found"
        with pytest.raises(DataError):
            client.decision("a/b?c")
        spoiling.faults = [answers(503), answers(404, b"")]
        assert client.ready() is False
        with pytest.raises(ParamsError):
            client.metrics()


def test_keys(
    make: Make, url: str, sent: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ApiKeys(tmp_path / "service" / "keys.json").add("shop", ["score"])
    with make(url) as client, pytest.raises(ParamsError, match="401, the header X-API-Key is missing") as raised:
        client.score(sent[0])
    assert raised.value.code == "no_key"
    with make(url, "f3k_1_nobody", fallback=Fallback()) as client, pytest.raises(ParamsError) as raised:
        client.score(sent[0])
    assert "nobody" not in str(raised.value)
    monkeypatch.setenv(API_KEY_VARIABLE, key)
    with make(url) as client:
        assert client.score(sent[0]).decision_source == "model"
        with pytest.raises(ParamsError, match=r"403, .* has the scopes score; this request needs read") as raised:
            list(client.alerts())
        assert raised.value.code == "wrong_scope"
        assert key not in str(raised.value)
    with make(url, "") as client, pytest.raises(ParamsError, match="401"):
        client.score(sent[0])
    with pytest.raises(ParamsError, match="key: contains spaces or unprintable characters") as raised:
        make(url, key + "\n")
    assert key not in str(raised.value)


def test_what_an_admin_asks_for(make: Make, running: tuple[str, Spoiling]) -> None:
    url, spoiling = running
    fault = {"code": "scorer", "message": "the bundle is not whole", "hint": "Promote another."}
    spoiling.faults = [answers(200, {"model_version": "2"}), answers(202, {"entries": 7})]
    with make(url) as client:
        assert client.reload() == {"model_version": "2"}
        assert client.snapshot() == {"entries": 7}
        spoiling.faults = [answers(409, {"error": fault})]
        with pytest.raises(ScorerError, match="the bundle is not whole") as raised:
            client.reload()
        assert (raised.value.code, raised.value.hint) == ("scorer", "Promote another.")


def test_many_at_once(url: str, opened: Service, sent: list[dict[str, Any]]) -> None:
    async def decided() -> list[DecisionResult]:
        async with AsyncClient(url, timeout=60) as client:
            return await asyncio.gather(*(client.score(one) for one in sent[:150]))

    decisions = asyncio.run(decided())
    assert [one.transaction_id for one in decisions] == [one["transaction_id"] for one in sent[:150]]
    assert len({one.decision_id for one in decisions}) == 150
    assert sorted(kept(opened)) == sorted(one["transaction_id"] for one in sent[:150])
    with Client(url) as client:
        assert client.score(sent[:150], reasons="none") == [one.model_copy(update={"reasons": ()}) for one in decisions]


def test_they_wait_side_by_side(running: tuple[str, Spoiling], sent: list[dict[str, Any]]) -> None:
    """Ten requests that are all under way before any is answered."""
    url, spoiling = running
    together = asyncio.Barrier(10)

    async def all_there(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await together.wait()
        await app(scope, receive, send)

    async def decided() -> list[DecisionResult]:
        async with AsyncClient(url, timeout=60) as client:
            return await asyncio.gather(*(client.score(one) for one in sent[:10]))

    spoiling.faults = [all_there] * 10
    assert len(asyncio.run(decided())) == 10


def test_inside_the_process_without_a_port(opened: Service, sent: list[dict[str, Any]]) -> None:
    async def decided() -> DecisionResult:
        async with AsyncClient("http://service", transport=httpx2.ASGITransport(app=opened.app)) as client:
            return await client.score(sent[0])

    assert asyncio.run(decided()).decision_source == "model"


def test_fields_that_a_newer_service_adds_are_ignored(
    make: Make, running: tuple[str, Spoiling], sent: list[dict[str, Any]]
) -> None:
    url, spoiling = running
    result = {"transaction_id": "1", "decision": "review", "reasons": [{"code": "A", "text": "b", "new": 1}], "new": {}}
    spoiling.faults = [answers(200, {"model_version": "9", "results": [result], "new": 1})]
    with make(url) as client:
        decision = client.score(sent[0])
    assert (decision.decision, decision.reasons) == ("review", (ReasonText(code="A", text="b"),))
