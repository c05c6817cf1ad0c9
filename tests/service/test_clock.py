"""Clock skew and jumps: times in the future are rejected, and labels count after the newest transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.service.http import validation
from fraud3000.stages import serve
from tests.service.conftest import Open
from tests.service.world import items, post


class Clock:
    """Clock that is set by hand."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self, _: Any = None) -> datetime:
        return self.at


@pytest.fixture
def clock(newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The service's clock, set to a minute after the newest row."""
    last = newest["ts"].max()
    assert isinstance(last, datetime)
    made = Clock(last.replace(tzinfo=UTC) + timedelta(minutes=1))
    validator = validation.RequestValidator
    monkeypatch.setattr(
        serve, "RequestValidator", lambda mapping, span, key, _: validator(mapping, span, key, made.now)
    )
    return made


@pytest.fixture
def client(reopen: Open, clock: Clock) -> Iterator[TestClient]:
    with closing(reopen()) as service:
        yield TestClient(service.app)


def decision(client: TestClient, answer: Any) -> Any:
    return client.get(f"/decisions/{answer.json()['results'][0]['decision_id']}").json()


def label(client: TestClient, id_: str, **more: Any) -> Any:
    return client.post("/labels", json={"transaction_id": id_, "is_fraud": True, "source": "analyst", **more})


def recorded(answer: Any) -> datetime:
    return datetime.fromisoformat(answer.json()["results"][0]["recorded_at"])


@pytest.mark.parametrize(
    ("ahead", "status"), [(300, 200), (300.000001, 422), (301, 422), (10**6, 422), (-(10**6), 200)]
)
def test_times_up_to_five_minutes_in_the_future_are_accepted(
    client: TestClient, clock: Clock, newest: pl.DataFrame, ahead: float, status: int
) -> None:
    at = (clock.at + timedelta(seconds=ahead)).isoformat()
    answers = [
        post(client, {**items(newest)[0], "ts": at}),
        label(client, "a", reported_at=at),
        label(client, "b", recorded_at=at),
    ]
    assert [answer.status_code for answer in answers] == [status] * 3
    codes = {answer.json()["error"]["code"] for answer in answers if status == 422}
    assert codes == ({"future_event"} if status == 422 else set())


def test_future_time_with_an_offset_is_rejected(client: TestClient, clock: Clock, newest: pl.DataFrame) -> None:
    local = (clock.at + timedelta(minutes=6)).astimezone(timezone(timedelta(hours=-12)))
    assert post(client, {**items(newest)[0], "ts": local.isoformat()}).json()["error"]["code"] == "future_event"


def test_clock_that_jumps_back(client: TestClient, clock: Clock, newest: pl.DataFrame) -> None:
    one, other, third = items(newest)[-3:]
    told_at = clock.at
    first = decision(client, post(client, one))
    assert datetime.fromisoformat(first["received_at"]) == told_at
    post(client, other)
    clock.at -= timedelta(days=400)
    assert post(client, third).json()["error"]["code"] == "future_event", "by the clock it is"
    late = {**third, "ts": (clock.at - timedelta(days=1)).isoformat()}
    assert datetime.fromisoformat(decision(client, post(client, late))["received_at"]) == clock.at, "as it was"
    clock.at = told_at
    assert decision(client, post(client, one)) == first


def test_labels_count_after_the_newest_transaction_with_any_clock(
    client: TestClient, clock: Clock, newest: pl.DataFrame
) -> None:
    one, other = items(newest)[-2:]
    post(client, {"transactions": [one, other]})
    last = datetime.fromisoformat(other["ts"])
    assert recorded(label(client, one["transaction_id"])) == clock.at
    clock.at -= timedelta(days=400)
    jumped = label(client, other["transaction_id"])
    assert recorded(jumped) == last + timedelta(microseconds=1)
    assert recorded(label(client, other["transaction_id"])) == recorded(jumped), "a retry"
    given = (clock.at - timedelta(days=1)).isoformat()
    assert recorded(label(client, "later", recorded_at=given)) == last + timedelta(microseconds=1)
    clock.at += timedelta(days=800)
    assert recorded(label(client, "latest")) == clock.at
