"""Models are swapped under load without a failed or mixed answer; snapshots, anchors and the archive grow beside."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest

from fraud3000.errors import FraudError, ScorerError, UnavailableError
from fraud3000.features.online import FeatureStore
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.inference.self_test_rows import SelfTestRows
from fraud3000.params import Params
from fraud3000.service.journal.entries import TransactionEntry
from fraud3000.service.journal.history_frames import known
from fraud3000.service.maintenance import maintenance as upkeeps
from fraud3000.service.maintenance.maintenance import Maintenance
from fraud3000.stages import audit
from fraud3000.stages.replay import replay
from fraud3000.stages.serve import Service
from fraud3000.stages.shared.service_store import anchors_of, journal_of, service_folder
from tests.service.test_keeping import rebuilt
from tests.service.world import items

DAY = 86_400_000_000
Work = Callable[[httpx2.AsyncClient, Maintenance], Awaitable[None]]


@pytest.fixture
def given(given: Params, tmp_path: Path) -> Params:
    return workspace_of(given.model_copy(update={"workspace": str(tmp_path / "data")}))


def workspace_of(params: Params) -> Params:
    """Make the workspace, in which version 1 is the champion."""
    shutil.copytree("data/models/1", Path(params.workspace) / "models" / "1")
    promote(params, "1")
    return params


def promote(params: Params, version: str) -> None:
    """Point the champion to a version, as `promote` does."""
    models = Path(params.workspace) / "models"
    told = {"alias": "champion", "version": version, "bundle_sha256": bundle.fingerprint(models / version)}
    (models / "champion.json.part").write_text(json.dumps(told))
    (models / "champion.json.part").replace(models / "champion.json")


def publish(params: Params, version: str, change: Callable[[Scorer], Scorer]) -> None:
    """Write another bundle, and promote it."""
    models = Path(params.workspace) / "models"
    change(Scorer.load(models / "1")).save(models / version)
    promote(params, version)


def doubtful(scorer: Scorer) -> Scorer:
    """The same model, that reviews half as readily."""
    assert scorer.policy.value is not None
    return replace(scorer, policy=replace(scorer.policy, value=scorer.policy.value * 2))


def of_another_catalogue(scorer: Scorer) -> Scorer:
    """The same model under other rules of time."""
    return replace(scorer, catalogue=replace(scorer.catalogue, late_horizon=scorer.catalogue.late_horizon * 2))


@pytest.fixture
def reopen(given: Params, history: Path) -> Callable[[], Service]:
    return lambda: Service.open(given, port=0, history=str(history))


@pytest.fixture
def service(reopen: Callable[[], Service]) -> Iterator[Service]:
    with closing(reopen()) as opened:
        yield opened


def run(service: Service, work: Work) -> None:
    """Let the service run, with all that goes on beside, while work is done."""

    async def both() -> None:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client, service.upkeep.running():
            await work(client, service.upkeep)

    asyncio.run(both())


async def score(client: httpx2.AsyncClient, rows: list[dict[str, Any]]) -> dict[str, Any]:
    answer = await client.post("/score", json={"transactions": rows})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_start_with_a_model_that_scores_otherwise_is_refused_and_leaves_the_port(
    reopen: Callable[[], Service], given: Params
) -> None:
    """So a new image on which a model does not score the same never gets ready, and its deployment is rolled back."""
    publish(given, "2", lambda scorer: replace(scorer, recorded=wrong(scorer.recorded)))
    with pytest.raises(ScorerError, match="scores its self-test rows differently"):
        reopen()
    promote(given, "1")
    with closing(reopen()) as service:
        assert service.desk.judge.scorer.version == "1"


def test_promotion_rollback_and_a_broken_model_under_load(
    service: Service, given: Params, newest: pl.DataFrame, tmp_path: Path
) -> None:
    sent = items(newest)
    answers: list[dict[str, Any]] = []

    async def load(client: httpx2.AsyncClient, rows: list[dict[str, Any]], end: asyncio.Event) -> None:
        coming = iter(rows)
        while not end.is_set():
            part = list(islice(coming, 5))
            if not part:
                return
            answers.append(await score(client, part))

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        end = asyncio.Event()
        loads = [asyncio.create_task(load(client, sent[place::4], end)) for place in range(4)]
        await asyncio.sleep(0)
        publish(given, "2", doubtful)
        assert (await upkeep.reload()).result == "swapped"
        promote(given, "1")
        assert (await client.post("/admin/reload")).json() == {"result": "swapped", "model_version": "1"}
        publish(given, "3", lambda scorer: replace(scorer, recorded=wrong(scorer.recorded)))
        refused = await client.post("/admin/reload")
        assert refused.status_code == 409
        assert "scores its self-test rows differently" in refused.json()["error"]["message"]
        (Path(given.workspace) / "models" / "3" / "scorer.json").write_text("{}")
        with pytest.raises(ScorerError):
            await upkeep.reload()
        promote(given, "2")
        assert await upkeep.reload() == upkeeps.Reloaded("swapped", "2")
        assert (await upkeep.reload()).result == "same"
        await asyncio.gather(*loads)
        end.set()

    run(service, work)
    told = [one for answer in answers for one in answer["results"]]
    assert len(told) == len(sent)
    assert not any("error" in one or "model_version" in one for one in told)
    thresholds = {(answer["model_version"], one["threshold"]) for answer in answers for one in answer["results"]}
    assert {version for version, _ in thresholds} <= {"1", "2"}
    assert len(thresholds) == len({version for version, _ in thresholds}), "no answer is of two models"
    assert service.desk.store.checksum() == rebuilt(service, tmp_path)
    again = replay(given)
    assert (again.facts["replayed"], again.facts["differing"]) == (len(sent), 0)


def wrong(recorded: SelfTestRows) -> SelfTestRows:
    return replace(recorded, scores=(recorded.scores[0] / 2, *recorded.scores[1:]))


def test_another_catalogue_has_its_state_built_beside(
    service: Service, reopen: Callable[[], Service], given: Params, newest: pl.DataFrame
) -> None:
    sent = items(newest)

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        await score(client, sent[:100])
        publish(given, "2", of_another_catalogue)
        before = upkeep.desk.judge.catalogue
        swap = asyncio.create_task(upkeep.reload())
        for place in range(100, 300, 10):
            await score(client, sent[place : place + 10])
            await asyncio.sleep(0.05)
        assert await swap == upkeeps.Reloaded("swapped", "2")
        assert upkeep.desk.judge.catalogue != before
        assert (await score(client, sent[300:]))["model_version"] == "2"
        again = await score(client, sent[:1])
        assert again["results"][0]["model_version"] == "1"

    run(service, work)
    entries = [one for one in service.kept.journal.after(0) if isinstance(one, TransactionEntry)]
    assert len({one.catalogue for one in entries}) == 2
    checksum = service.desk.store.checksum()
    service.close()
    assert replay(given).facts["differing"] == 0
    shutil.rmtree(service_folder(given) / "snapshots")
    with closing(reopen()) as anew:
        assert anew.kept.store.checksum() == checksum


def test_a_model_that_takes_other_transactions_is_refused(service: Service, given: Params) -> None:
    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        publish(given, "2", lambda one: replace(one, mapping=one.mapping.model_copy(update={"numeric": ("weight",)})))
        refused = await client.post("/admin/reload")
        assert (refused.status_code, (await client.get("/model")).json()["model_version"]) == (409, "1")
        assert "version 2: takes other transactions than version 1" in refused.json()["error"]["message"]
        told = (await client.get("/metrics")).text
        assert 'fraud3000_reloads_total{result="refused"} 1.0' in told

    run(service, work)


def test_a_promotion_is_seen_by_itself_and_one_that_was_refused_is_not_tried_again(
    reopen: Callable[[], Service], given: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    ready = Maintenance._ready

    def counted(self: Maintenance, version: str, *rest: Any) -> Any:
        looked.append(version)
        return ready(self, version, *rest)

    monkeypatch.setattr(Maintenance, "_ready", counted)

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        publish(given, "2", lambda scorer: replace(scorer, recorded=wrong(scorer.recorded)))
        await until(lambda: "2" in looked)
        await asyncio.sleep(0.5)
        publish(given, "3", doubtful)
        while (await client.get("/ready")).json()["model_version"] != "3":  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    with closing(reopen()) as service:
        service.upkeep._schedule = replace(service.upkeep._schedule, reload=timedelta(seconds=0.05))
        run(service, work)
    assert looked == ["2", "3"]


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)


def test_snapshots_are_written_while_it_runs(
    service: Service, reopen: Callable[[], Service], newest: pl.DataFrame, given: Params
) -> None:
    sent = items(newest)

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        await score(client, sent[:150])
        told = (await client.post("/admin/snapshot")).json()
        assert told == {"entry": 150, "checksum": service.desk.store.checksum()}
        await score(client, sent[150:])
        metrics = (await client.get("/metrics")).text
        assert "fraud3000_snapshots_total 1.0" in metrics

    run(service, work)
    checksum = service.desk.store.checksum()
    service.close()
    max((service_folder(given) / "snapshots").rglob("*.snapshot")).unlink()  # as if it had been killed
    with closing(reopen()) as anew:
        assert (anew.kept.snapshot, anew.kept.replayed) == (150, len(sent) - 150)
        assert anew.kept.store.checksum() == checksum


def test_a_snapshot_is_written_when_enough_came(
    reopen: Callable[[], Service], newest: pl.DataFrame, given: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeeps, "_LOOKED_EVERY", 0.05)
    with closing(reopen()) as service:
        service.upkeep._schedule = replace(service.upkeep._schedule, snapshot_entries=100)

        async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
            await score(client, items(newest)[:100])
            await until(lambda: any((service_folder(given) / "snapshots").rglob("000000000000100-*.snapshot")))

        run(service, work)


def test_a_snapshot_that_cannot_be_made_is_told_and_the_service_goes_on(
    service: Service, newest: pl.DataFrame, given: Params
) -> None:
    (service_folder(given) / "snapshots").write_text("in the way")

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        await score(client, items(newest)[:10])
        failed = await client.post("/admin/snapshot")
        assert (failed.status_code, failed.json()["error"]["code"]) == (503, "unavailable")
        assert "no snapshot could be made" in failed.json()["error"]["message"]
        await score(client, items(newest)[10:20])

    run(service, work)
    (service_folder(given) / "snapshots").unlink()


def test_old_entries_leave_and_are_at_hand(
    service: Service, reopen: Callable[[], Service], newest: pl.DataFrame, given: Params, tmp_path: Path
) -> None:
    sent = items(newest)

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        before = await score(client, sent[:200])
        upkeep._schedule = replace(upkeep._schedule, journal=-timedelta(days=2))
        await upkeep.let_leave()
        assert service.kept.journal.moved == 200
        assert await score(client, sent[:200]) == before
        conflict = await client.post("/score", json={**sent[3], "amount": 1})
        assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "conflicting_duplicate")
        decision = before["results"][7]["decision_id"]
        assert (await client.get(f"/decisions/{decision}")).json()["transaction_id"] == sent[7]["transaction_id"]
        await score(client, sent[200:])
        upkeep._schedule = replace(upkeep._schedule, decisions=-timedelta(days=2))
        await upkeep.let_leave()
        gone = await client.post("/score", json=sent[3])
        assert (gone.status_code, gone.json()["error"]["code"]) == (409, "expired")
        told = (await client.get(f"/decisions/{decision}")).status_code
        assert told == 404

    run(service, work)
    checksum = service.desk.store.checksum()
    assert checksum == rebuilt(service, tmp_path)
    service.close()
    again = replay(given)
    assert (again.facts["expired"], again.facts["replayed"], again.facts["differing"]) == (400, 0, 0)
    assert audit.verify(given).refused is None
    shutil.rmtree(service_folder(given) / "snapshots")
    with closing(reopen()) as anew:
        assert anew.kept.store.checksum() == checksum


def test_anchors_are_dropped_while_it_runs(
    reopen: Callable[[], Service], newest: pl.DataFrame, given: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeeps, "ANCHORED_EVERY", 0.05)

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        await score(client, items(newest)[:10])
        await until(lambda: anchored()[-1] == 10)

    def anchored() -> list[int]:
        with closing(journal_of(given)) as journal:
            return [one.number for one in anchors_of(given).read().of(journal.store)]

    with closing(reopen()) as service:
        run(service, work)
    assert anchored() == [0, 10]


def test_what_goes_wrong_beside_is_told_once_and_tried_again(logged: list[str]) -> None:
    calls: list[int] = []
    full, other = UnavailableError("a: full"), FraudError("b")
    errors: list[Exception] = [full, ValueError("a bug"), other, full, full, full]

    async def fails() -> None:
        calls.append(1)
        if errors:
            raise errors.pop()

    async def work() -> None:
        task = asyncio.create_task(upkeeps._every(0.001, fails))
        await until(lambda: len(calls) > 8)
        task.cancel()

    asyncio.run(work())
    assert not errors
    assert ["a: full" in line for line in logged if "ERROR" in line] == [True, False, False, True]


def test_what_the_service_declined_has_no_label_in_windows_even_when_the_answer_is_gone(
    given: Params, history: Path, newest: pl.DataFrame, tmp_path: Path
) -> None:
    fallback = given.serve.fallback.model_copy(update={"review_from": 0, "decline_from": 0})
    declining = given.model_copy(update={"serve": given.serve.model_copy(update={"fallback": fallback})})
    sent, declined = items(newest), list[str]()

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        answer = await client.post("/score?deadline_ms=0", json={"transactions": sent[:300]})
        results = answer.json()["results"]
        assert {one["decision_source"] for one in results} == {"fallback"}
        declined.extend(one["transaction_id"] for one in results if one["decision"] == "decline")
        assert len(declined) > 200
        upkeep._schedule = replace(upkeep._schedule, journal=-timedelta(days=2), decisions=-timedelta(days=2))
        await upkeep.let_leave()
        await score(client, sent[300:])

    with closing(Service.open(declining, port=0, history=str(history))) as service:
        run(service, work)
        checksum = service.desk.store.checksum()
        assert checksum == rebuilt(service, tmp_path)
        kept = [entry for entry in service.kept.journal.after(0) if isinstance(entry, TransactionEntry)]
        assert [one.transaction_id for one in kept if one.declined] == sorted(
            declined, key=[one.transaction_id for one in kept].index
        )
        assert all(one.expired for one in kept[:300])
        later = {**kept[-1].transaction, "transaction_id": "later", "ts": kept[-1].transaction["ts"] + 15 * DAY}
        live = service.desk.store.features_for(later)
    shutil.rmtree(service_folder(given) / "snapshots")
    with closing(Service.open(given, port=0)) as anew:
        assert anew.kept.store.checksum() == checksum
    found = known(service_folder(given))
    assert found is not None
    transactions = found.transactions.collect()
    assert set(transactions.filter(~pl.col("labelled"))["transaction_id"]) == set(declined)
    store = FeatureStore.rebuild(transactions, found.ledger, Scorer.load(Path("data/models/1")).catalogue)
    assert store.features_for(later) == live
    presumed = transactions.with_columns(labelled=pl.lit(value=True))
    other = FeatureStore.rebuild(presumed, found.ledger, store.catalogue)
    assert other.features_for(later) != live
