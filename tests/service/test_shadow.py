"""A shadow model scores every transaction with its own catalogue, without affecting decisions, and is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx2
import polars as pl
import pytest

from fraud3000.errors import DataError
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.service.engine.shadow import Shadow, ShadowStore
from fraud3000.service.entries import TransactionEntry
from fraud3000.service.maintenance.maintenance import Maintenance
from fraud3000.stages.serve import Service
from fraud3000.stages.shadow_report import shadow_report
from fraud3000.stages.shared.service_store import open_journal, service_folder
from tests.service import test_upkeep
from tests.service.test_upkeep import of_another_catalogue, promote, publish, run, score, until
from tests.service.world import items

given = test_upkeep.given


def eager(scorer: Scorer) -> Scorer:
    assert scorer.policy.value is not None
    return replace(scorer, policy=replace(scorer.policy, value=scorer.policy.value / 4))


@pytest.fixture
def shadowed(given: Params) -> Params:
    """Version 2, the same model that reviews far more readily and under other rules of time, is the shadow."""
    publish(given, "2", lambda scorer: of_another_catalogue(eager(scorer)))
    promote(given, "1")
    return given.model_copy(update={"serve": given.serve.model_copy(update={"shadow": "2"})})


@pytest.fixture
def reopen(shadowed: Params, history: Path) -> Callable[[], Service]:
    return lambda: Service.open(shadowed, port=0, history=str(history))


@pytest.fixture
def service(reopen: Callable[[], Service], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr("fraud3000.registry.resolve", lambda model, _, root: (model, root / "models" / model))
    with closing(reopen()) as opened:
        yield opened


def seen(params: Params) -> int:
    books = ShadowStore.all(service_folder(params))
    try:
        found = books[0].last_entry if books else None
        return -1 if found is None else found
    finally:
        for book in books:
            book.close()


def test_shadow_scores_new_transactions_and_resumes_after_a_restart(
    service: Service, shadowed: Params, newest: pl.DataFrame
) -> None:
    sent = items(newest)

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        await until(lambda: seen(shadowed) == 0)
        answers = await score(client, sent[:200])
        assert answers["model_version"] == "1"
        label = {"transaction_id": sent[0]["transaction_id"], "is_fraud": True, "source": "chargeback"}
        await client.post("/labels", json={"labels": [label]})
        await until(lambda: seen(shadowed) == 201)

    async def more(client: httpx2.AsyncClient, _: Maintenance) -> None:
        await score(client, sent[200:300])
        await until(lambda: seen(shadowed) == 301)

    run(service, work)
    run(service, more)
    asyncio.run(service.maintenance.snapshot())
    told = shadow_report(shadowed)
    assert (told.facts["shadow"], told.facts["service"], told.facts["transactions"]) == ("version 2", "version 1", 300)
    agreement, money, latency = told.tables
    counts = {row[0]: row[1:] for row in agreement.rows}
    answered = [one.answer.decision for one in taken(shadowed)]  # type: ignore[union-attr]
    assert sum(int(n) for n in counts["approve"]) == answered.count("approve")
    assert int(counts["approve"][1]) > 0, "what a shadow reviews that is more eager"
    assert int(money.rows[1][1]) > int(money.rows[0][1])
    assert money.rows[0][3] == money.rows[1][3]
    assert [row[0] for row in latency.rows] == [
        "shadow: features",
        "shadow: decision",
        "service: decision, 300 recomputed",
    ]
    assert shadow_report(shadowed, "2").facts == told.facts
    with pytest.raises(DataError, match="no decisions of a shadow model of version 3"):
        shadow_report(shadowed, "3")


def taken(params: Params) -> list[TransactionEntry]:
    with closing(open_journal(params)) as journal:
        return [one for one in journal.after(0) if isinstance(one, TransactionEntry)]


def test_shadow_decisions_equal_those_of_the_model(
    service: Service, shadowed: Params, newest: pl.DataFrame, reopen: Callable[[], Service]
) -> None:
    sent = items(newest)
    root, bundled = service_folder(shadowed), Path(shadowed.workspace) / "models" / "2"
    with closing(Shadow.open(root, bundled, "2")) as shadow:

        async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
            await score(client, sent[:50])
            promote(shadowed, "2")
            await upkeep.reload()
            await score(client, sent[50:])

        run(service, work)
        while shadow.process_next():
            pass
        for one in taken(shadowed)[50:]:
            said = shadow.decisions.find(one.number)
            assert said is not None
            assert one.answer is not None
            assert (said.score, said.decision) == (one.answer.score, one.answer.decision)
        assert shadow.store.checksum() == service.engine.store.checksum()


def test_report_without_a_shadow_is_an_error(service: Service, given: Params) -> None:
    with pytest.raises(DataError, match="has no decisions of a shadow model"):
        shadow_report(given)
    with closing(Shadow.open(service_folder(given), Path(given.workspace) / "models" / "2", "2")):
        pass
    with pytest.raises(DataError, match="has no transaction that both models decided"):
        shadow_report(given)


def test_shadow_that_fails_to_load_is_logged_and_retried(service: Service, shadowed: Params) -> None:
    (Path(shadowed.workspace) / "models" / "2" / "scorer.json").write_text("{}")

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        await asyncio.wait_for(upkeep._run_shadow(), 60)
        assert (await client.get("/ready")).status_code == 200

    with pytest.raises(Exception, match="the shadow of version 2 ended with exit code 5"):
        run(service, work)


def test_champion_as_its_own_shadow_is_warned_about_once(service: Service, shadowed: Params, logged: list[str]) -> None:
    promote(shadowed, "2")

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        await upkeep.reload()
        for _ in range(3):
            await upkeep._run_shadow()

    run(service, work)
    assert [line for line in logged if "no shadow: version 2 serves already" in line] == [
        line for line in logged if "no shadow" in line
    ]
    assert sum("no shadow" in line for line in logged) == 1
