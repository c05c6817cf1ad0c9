"""The service accepts nothing while its store, disk or clock has a problem, and resumes by itself."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest

from fraud3000.errors import UnavailableError
from fraud3000.params import Params
from fraud3000.service.engine.clock import CheckedClock, require_plausible
from fraud3000.service.maintenance.maintenance import Maintenance
from fraud3000.stages import serve
from fraud3000.stages.serve import Service
from fraud3000.stages.shared.service_store import checkpoint_file, service_folder
from tests.service.conftest import Open
from tests.service.test_upkeep import run
from tests.service.world import items

NOW = datetime(2026, 11, 30, tzinfo=UTC)


async def becomes(client: httpx2.AsyncClient, status: int, within: float) -> dict[str, Any]:
    """Poll /ready until it has a status; returns the response, and fails if that takes too long."""
    begin = time.monotonic()
    while True:
        answer = await client.get("/ready")
        if answer.status_code == status:
            return dict(answer.json())
        assert time.monotonic() - begin < within, f"/ready answers {answer.status_code} after {within} s"
        await asyncio.sleep(0.05)


def gauge(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"fraud3000_{name} "))


def remove_folder(store: Path) -> None:
    shutil.rmtree(store)


def replace_folder(store: Path) -> None:
    shutil.copytree(store, store.with_name("copy"))
    store.rename(store.with_name("away"))
    store.with_name("copy").rename(store)


def replace_journal(store: Path) -> None:
    shutil.copy(store / "journal.db", store / "other.db")
    (store / "other.db").replace(store / "journal.db")


def remove_log(store: Path) -> None:
    (store / "journal.db-wal").unlink()


def remove_lock(store: Path) -> None:
    (store / "lock").unlink()


@pytest.mark.parametrize("damage", [remove_folder, replace_folder, replace_journal, remove_log, remove_lock])
def test_requests_fail_while_the_store_is_not_in_place(
    reopen: Open, newest: pl.DataFrame, given: Params, damage: Callable[[Path], None], logged: list[str]
) -> None:
    sent = items(newest)
    store = service_folder(given)

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        assert (await client.post("/score", json={"transactions": sent[:20]})).status_code == 200
        await becomes(client, 200, 5)
        damage(store)
        problem = await becomes(client, 503, 5)
        assert str(store) in problem["error"]["message"]
        for body in (sent[3], sent[30]):  # known already, and new
            assert (await client.post("/score", json=body)).status_code == 503
        label = {"transaction_id": sent[3]["transaction_id"], "is_fraud": True, "source": "analyst"}
        assert (await client.post("/labels", json=label)).status_code == 503
        assert (await client.get("/alerts")).status_code == 503
        assert (await client.get("/health")).status_code == 200
        metrics = (await client.get("/metrics")).text
        assert (gauge(metrics, "ready"), gauge(metrics, 'refusing{cause="store"}')) == (0, 1)

    with closing(reopen()) as service:
        run(service, work)
    assert sum("not ready cause=store" in line for line in logged) == 1
    if damage is remove_folder:
        assert not store.exists(), "nothing is written where the store was"


def test_commit_into_a_replaced_file_is_not_acknowledged(reopen: Open, newest: pl.DataFrame, given: Params) -> None:
    sent = items(newest)
    service = reopen()

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        assert (await client.post("/score", json=sent[0])).status_code == 200
        store = service_folder(given)
        store.rename(store.with_name("away"))  # and at once, before any check
        assert (await client.post("/score", json=sent[1])).status_code == 503
        store.with_name("away").rename(store)
        await becomes(client, 200, 5)
        assert (await client.post("/score", json=sent[1])).status_code == 200

    with closing(service):
        run(service, work)
        assert service.contents.journal.last == 2


def test_service_is_unavailable_while_the_disk_is_full(reopen: Open, newest: pl.DataFrame) -> None:
    sent = items(newest)
    with closing(reopen()) as service:
        writing = service.contents.journal._write_connection
        pages = writing.execute("PRAGMA page_count").fetchone()[0]

        async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
            writing.execute(f"PRAGMA max_page_count = {pages}")
            assert (await client.post("/score", json={"transactions": sent[:60]})).status_code == 503
            assert (await becomes(client, 503, 5))["error"]["code"] == "not_ready"
            assert gauge((await client.get("/metrics")).text, 'refusing{cause="disk"}') == 1
            writing.execute("PRAGMA max_page_count = 1000000")
            await becomes(client, 200, 5)  # nobody sends anything meanwhile
            assert service.contents.journal.last == 60

        run(service, work)


class Clocks:
    """Wall clock and monotonic clock that are set by hand."""

    def __init__(self, at: datetime) -> None:
        self.at, self.seconds = at, 0.0

    def now(self) -> datetime:
        return self.at

    def elapsed(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.mark.parametrize("jump", [timedelta(days=20 * 365), -timedelta(days=3), timedelta(hours=1, seconds=1)])
def test_clock_that_jumps_is_rejected_until_it_is_right_again(jump: timedelta) -> None:
    clocks = Clocks(NOW)
    clock = CheckedClock(timedelta(hours=1), now=clocks.now, elapsed=clocks.elapsed)
    clocks.advance(90_000)
    assert clock() == clocks.at
    clocks.at += jump
    for _ in range(2):
        clocks.advance(5)
        with pytest.raises(UnavailableError, match=r"the clock of this machine is wrong: it jumped"):
            clock()
    clocks.at -= jump
    assert (clock(), clock.problem) == (clocks.at, None)


def test_clock_that_is_set_by_less_than_the_limit_is_accepted() -> None:
    clocks = Clocks(NOW)
    clock = CheckedClock(timedelta(hours=1), now=clocks.now, elapsed=clocks.elapsed)
    for _ in range(5):
        clocks.at += timedelta(minutes=50)
        assert clock() == clocks.at


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (NOW - timedelta(days=89), None),
        (NOW + timedelta(minutes=59), None),
        (None, None),
        (NOW - timedelta(days=91), r"91d after the last entry of the journal \(serve.clock.gap is 90d\)"),
        (NOW + timedelta(days=7300), r"last entry of the journal was received at 2046-"),
    ],
)
def test_start_compares_the_clock_with_the_last_entry(last: datetime | None, message: str | None) -> None:
    def check() -> None:
        require_plausible(NOW, last, jump=timedelta(hours=1), gap=timedelta(days=90))

    if message is None:
        check()
        return
    with pytest.raises(UnavailableError, match=message):
        check()


def test_clock_briefly_twenty_years_ahead_leaves_no_trace(
    reopen: Callable[[], Service], newest: pl.DataFrame, given: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = items(newest)
    clocks = Clocks(datetime.now(UTC))
    monkeypatch.setattr(serve, "CheckedClock", lambda jump: CheckedClock(jump, now=clocks.now, elapsed=clocks.elapsed))

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        assert (await client.post("/score", json=sent[0])).status_code == 200
        clocks.at += timedelta(days=20 * 365)
        ahead = {**sent[1], "ts": clocks.at.isoformat()}
        label = {"transaction_id": sent[0]["transaction_id"], "is_fraud": True, "source": "analyst"}
        assert (await client.post("/score", json=ahead)).status_code == 503
        assert (await client.post("/labels", json=label)).status_code == 503
        assert "clock" in (await becomes(client, 503, 5))["error"]["message"]
        assert gauge((await client.get("/metrics")).text, 'refusing{cause="clock"}') == 1
        clocks.at -= timedelta(days=20 * 365)
        await becomes(client, 200, 5)
        (recorded,) = (await client.post("/labels", json=label)).json()["results"]
        assert recorded["recorded_at"].startswith(f"{clocks.at.year}-")

    with closing(reopen()) as service:
        run(service, work)
        assert service.contents.journal.last == 2
    assert checkpoint_file(given).mark.exists()
