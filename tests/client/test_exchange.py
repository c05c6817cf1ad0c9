"""When a request is sent again, without a clock and without a network."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fraud3000.client.calls import checked_url
from fraud3000.client.exchange import RETRIED, Attempt, Call, Limits, NoResponse, Response, error_from, exchange
from fraud3000.errors import ParamsError, UnavailableError
from tests.test_imports import HEAVY, loaded_by

CALL = Call("POST", "http://127.0.0.1:8000/score", content=b"{}")


class Clock:
    """Time passes by waiting and asking alone."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(
    limits: Limits, *outcomes: Response | NoResponse, draw: float = 1.0, takes: float = 0.0
) -> tuple[list[Attempt], Response]:
    """Attempts that were made, with the last outcome going on for ever, and the answer."""
    clock = Clock()
    steps = exchange(CALL, limits, clock=clock, draw=lambda: draw)
    made = [next(steps)]
    while True:
        clock.now += made[-1].delay + min(takes, made[-1].seconds)
        try:
            made.append(steps.send(outcomes[min(len(made), len(outcomes)) - 1]))
        except StopIteration as done:
            return made, done.value


def test_waits_double_up_to_five_seconds() -> None:
    made, _ = run(Limits(600, 10, 12), *[NoResponse("refused")] * 9, Response(200, b""))
    assert [one.delay for one in made] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert all(one.call is CALL for one in made)
    made, _ = run(Limits(600, 10, 12), NoResponse("refused"), Response(200, b""), draw=0.25)
    assert made[1].delay == 0.1 / 4


@pytest.mark.parametrize("status", sorted(RETRIED))
def test_what_another_attempt_may_change(status: int) -> None:
    made, answer = run(Limits(10, 5, 1), Response(status, b""), Response(200, b"x"))
    assert (len(made), answer.content) == (2, b"x")


@pytest.mark.parametrize("status", [200, 202, 307, 400, 401, 403, 404, 405, 409, 413, 415, 422, 500])
def test_what_it_may_not(status: int) -> None:
    made, answer = run(Limits(10, 5, 3), Response(status, b""))
    assert (len(made), answer.status) == (1, status)


def test_an_attempt_has_its_time_and_no_more_than_is_left() -> None:
    made, _ = run(Limits(10, 4, 9), NoResponse("slow"), NoResponse("slow"), Response(200, b""), draw=0.0, takes=60)
    assert [one.seconds for one in made] == [4.0, 4.0, 2.0]


def test_there_is_an_end() -> None:
    with pytest.raises(UnavailableError, match="no response after 3 attempts: slow"):
        run(Limits(10, 4, 9), NoResponse("slow"), draw=0.0, takes=60)
    with pytest.raises(UnavailableError, match="no response after 1 attempt: refused"):
        run(Limits(10, 4, 0), NoResponse("refused"))


def test_a_date_to_come_back_at() -> None:
    at = datetime.now(UTC) + timedelta(seconds=90)
    made, _ = run(Limits(600, 4, 1), Response(503, b"", format_datetime(at, usegmt=True)), Response(200, b""), draw=0.0)
    assert 80 < made[1].delay <= 90


def test_the_last_word_of_the_service_is_told() -> None:
    said = b'{"error": {"code": "unavailable", "message": "the disk is full", "hint": "Wait."}}'
    with pytest.raises(UnavailableError, match="503, the disk is full; retry after 60 s") as raised:
        run(Limits(10, 4, 9), Response(503, said, "60"))
    assert (raised.value.code, CALL.request_id in raised.value.message) == ("unavailable", True)


@pytest.mark.parametrize("content", [b"", b"[]", b'"error"', b'{"error": "no"}', b'{"error": {"code": "x"}}', b"\xff"])
def test_an_error_of_something_else(content: bytes) -> None:
    assert isinstance(error_from(CALL, Response(400, content)), ParamsError)


@pytest.mark.parametrize(
    ("timeout", "attempt", "retries"), [(0, None, 3), (-1, 1, 3), (1, 0, 3), (1, 1, -1), (float("nan"), 1, 1)]
)
def test_limits_leave_time(timeout: float, attempt: float | None, retries: int) -> None:
    with pytest.raises(ParamsError, match="out of range"):
        Limits.from_options(timeout, attempt, retries)


def test_half_of_the_time_is_for_another_attempt_if_there_may_be_one() -> None:
    assert Limits.from_options(10, None, 3).attempt == 5
    assert Limits.from_options(10, None, 0).attempt == 10
    assert Limits.from_options(10, 2, 3).attempt == 2


@pytest.mark.parametrize(
    "url", ["", "fraud.example", "ftp://fraud.example", "http://", "http://a:b", "http://a?x=1", "http://[::1"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ParamsError, match=r"^url"):
        checked_url(url)


def test_a_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(ParamsError) as raised:
        checked_url("https://me:secret@fraud.example")
    assert "secret" not in str(raised.value)


def test_a_client_is_light() -> None:
    assert loaded_by("from fraud3000 import AsyncClient, Client, Fallback") & HEAVY == set()
    made = subprocess.run(
        [sys.executable, "-c", "import fraud3000, sys; print('httpx2' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == "False\n"
