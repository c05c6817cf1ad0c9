"""Model swaps under load fail or mix no response; snapshots, checkpoints and archive are written in the background."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
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
from fraud3000.service.journal.history_frames import read_history
from fraud3000.service.maintenance import maintenance as upkeeps
from fraud3000.service.maintenance.maintenance import Maintenance
from fraud3000.stages import audit
from fraud3000.stages.replay import replay
from fraud3000.stages.serve import Service
from fraud3000.stages.shared.service_store import checkpoint_file, open_journal, service_folder
from tests.service.test_keeping import rebuilt
from tests.service.world import items

DAY = 86_400_000_000
Work = Callable[[httpx2.AsyncClient, Maintenance], Awaitable[None]]


@pytest.fixture
def given(given: Params, tmp_path: Path) -> Params:
    return workspace_of(given.model_copy(update={"workspace": str(tmp_path / "data")}))


def workspace_of(params: Params) -> Params:
    """Create the workspace, in which version 1 is the champion."""
    shutil.copytree("data/models/1", Path(params.workspace) / "models" / "1")
    promote(params, "1")
    return params


def promote(params: Params, version: str) -> None:
    """Set the champion alias to a version, as `promote` does."""
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
    """The same model with another review threshold."""
    assert scorer.policy.value is not None
    return replace(scorer, policy=replace(scorer.policy, value=scorer.policy.value * 2))


def of_another_catalogue(scorer: Scorer) -> Scorer:
    """The same model with another catalogue."""
    return replace(scorer, catalogue=replace(scorer.catalogue, late_horizon=scorer.catalogue.late_horizon * 2))


@pytest.fixture
def reopen(given: Params, history: Path) -> Callable[[], Service]:
    return lambda: Service.open(given, port=0, history=str(history))


@pytest.fixture
def service(reopen: Callable[[], Service]) -> Iterator[Service]:
    with closing(reopen()) as opened:
        yield opened


def run(service: Service, work: Work) -> None:
    """Run the service and its background tasks while `work` runs."""

    async def both() -> None:
        transport = httpx2.ASGITransport(app=service.app)
        async with (
            httpx2.AsyncClient(transport=transport, base_url="http://here") as client,
            service.maintenance.running(),
        ):
            await work(client, service.maintenance)

    asyncio.run(both())


async def score(client: httpx2.AsyncClient, rows: list[dict[str, Any]]) -> dict[str, Any]:
    answer = await client.post("/score", json={"transactions": rows})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_start_with_a_model_that_scores_differently_is_refused_and_frees_the_port(
    reopen: Callable[[], Service], given: Params
) -> None:
    """A new image on which the model scores differently never becomes ready, so its deployment is rolled back."""
    publish(given, "2", lambda scorer: replace(scorer, recorded=wrong(scorer.recorded)))
    with pytest.raises(ScorerError, match="scores its self-test rows differently"):
        reopen()
    promote(given, "1")
    with closing(reopen()) as service:
        assert service.engine.decider.scorer.version == "1"


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
    assert service.engine.store.checksum() == rebuilt(service, tmp_path)
    again = replay(given)
    assert (again.facts["replayed"], again.facts["differing"]) == (len(sent), 0)


def wrong(recorded: SelfTestRows) -> SelfTestRows:
    return replace(recorded, scores=(recorded.scores[0] / 2, *recorded.scores[1:]))


def test_a_swap_to_another_catalogue_builds_its_state_in_the_background(
    service: Service, reopen: Callable[[], Service], given: Params, newest: pl.DataFrame
) -> None:
    sent = items(newest)

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        await score(client, sent[:100])
        publish(given, "2", of_another_catalogue)
        before = upkeep.engine.decider.catalogue
        swap = asyncio.create_task(upkeep.reload())
        for place in range(100, 300, 10):
            await score(client, sent[place : place + 10])
            await asyncio.sleep(0.05)
        assert await swap == upkeeps.Reloaded("swapped", "2")
        assert upkeep.engine.decider.catalogue != before
        assert (await score(client, sent[300:]))["model_version"] == "2"
        again = await score(client, sent[:1])
        assert again["results"][0]["model_version"] == "1"

    run(service, work)
    entries = [one for one in service.contents.journal.after(0) if isinstance(one, TransactionEntry)]
    assert len({one.catalogue for one in entries}) == 2
    checksum = service.engine.store.checksum()
    service.close()
    assert replay(given).facts["differing"] == 0
    shutil.rmtree(service_folder(given) / "snapshots")
    with closing(reopen()) as anew:
        assert anew.contents.store.checksum() == checksum


def test_a_model_that_reads_other_fields_is_refused(service: Service, given: Params) -> None:
    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        publish(given, "2", lambda one: replace(one, mapping=one.mapping.model_copy(update={"numeric": ("weight",)})))
        refused = await client.post("/admin/reload")
        assert (refused.status_code, (await client.get("/model")).json()["model_version"]) == (409, "1")
        assert "version 2: reads other fields of a transaction than version 1" in refused.json()["error"]["message"]
        told = (await client.get("/metrics")).text
        assert 'fraud3000_reloads_total{result="refused"} 1.0' in told

    run(service, work)


def test_a_promotion_is_loaded_and_a_refused_one_is_not_retried(
    reopen: Callable[[], Service], given: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    ready = Maintenance._load

    def counted(self: Maintenance, version: str, *rest: Any) -> Any:
        looked.append(version)
        return ready(self, version, *rest)

    monkeypatch.setattr(Maintenance, "_load", counted)

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        publish(given, "2", lambda scorer: replace(scorer, recorded=wrong(scorer.recorded)))
        await until(lambda: "2" in looked)
        await asyncio.sleep(0.5)
        publish(given, "3", doubtful)
        while (await client.get("/ready")).json()["model_version"] != "3":  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    with closing(reopen()) as service:
        service.maintenance._schedule = replace(service.maintenance._schedule, reload=timedelta(seconds=0.05))
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
        assert told == {"entry": 150, "checksum": service.engine.store.checksum()}
        await score(client, sent[150:])
        metrics = (await client.get("/metrics")).text
        assert "fraud3000_snapshots_total 1.0" in metrics

    run(service, work)
    checksum = service.engine.store.checksum()
    service.close()
    max((service_folder(given) / "snapshots").rglob("*.snapshot")).unlink()  # as if it had been killed
    with closing(reopen()) as anew:
        assert (anew.contents.snapshot, anew.contents.replayed) == (150, len(sent) - 150)
        assert anew.contents.store.checksum() == checksum


def test_a_snapshot_is_written_after_enough_entries(
    reopen: Callable[[], Service], newest: pl.DataFrame, given: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeeps, "_SNAPSHOT_CHECK_SECONDS", 0.05)
    with closing(reopen()) as service:
        service.maintenance._schedule = replace(service.maintenance._schedule, snapshot_entries=100)

        async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
            await score(client, items(newest)[:100])
            await until(lambda: any((service_folder(given) / "snapshots").rglob("000000000000100-*.snapshot")))

        run(service, work)


def test_a_failed_snapshot_is_reported_and_the_service_keeps_running(
    service: Service, newest: pl.DataFrame, given: Params
) -> None:
    (service_folder(given) / "snapshots").write_text("in the way")

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        await score(client, items(newest)[:10])
        failed = await client.post("/admin/snapshot")
        assert (failed.status_code, failed.json()["error"]["code"]) == (503, "unavailable")
        assert "building a snapshot failed" in failed.json()["error"]["message"]
        await score(client, items(newest)[10:20])

    run(service, work)
    (service_folder(given) / "snapshots").unlink()


def test_old_entries_move_to_the_archive_and_stay_readable(
    service: Service, reopen: Callable[[], Service], newest: pl.DataFrame, given: Params, tmp_path: Path
) -> None:
    sent = items(newest)

    async def work(client: httpx2.AsyncClient, upkeep: Maintenance) -> None:
        before = await score(client, sent[:200])
        upkeep._schedule = replace(upkeep._schedule, journal=-timedelta(days=2))
        await upkeep.archive_old_entries()
        assert service.contents.journal.moved == 200
        assert await score(client, sent[:200]) == before
        conflict = await client.post("/score", json={**sent[3], "amount": 1})
        assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "conflicting_duplicate")
        decision = before["results"][7]["decision_id"]
        assert (await client.get(f"/decisions/{decision}")).json()["transaction_id"] == sent[7]["transaction_id"]
        await score(client, sent[200:])
        upkeep._schedule = replace(upkeep._schedule, decisions=-timedelta(days=2))
        await upkeep.archive_old_entries()
        gone = await client.post("/score", json=sent[3])
        assert (gone.status_code, gone.json()["error"]["code"]) == (409, "expired")
        told = (await client.get(f"/decisions/{decision}")).status_code
        assert told == 404

    run(service, work)
    checksum = service.engine.store.checksum()
    assert checksum == rebuilt(service, tmp_path)
    service.close()
    again = replay(given)
    assert (again.facts["expired"], again.facts["replayed"], again.facts["differing"]) == (400, 0, 0)
    assert audit.verify(given).refused is None
    shutil.rmtree(service_folder(given) / "snapshots")
    with closing(reopen()) as anew:
        assert anew.contents.store.checksum() == checksum


def test_checkpoints_are_written_while_the_service_runs(
    reopen: Callable[[], Service], newest: pl.DataFrame, given: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeeps, "CHECKPOINT_SECONDS", 0.05)

    async def work(client: httpx2.AsyncClient, _: Maintenance) -> None:
        await score(client, items(newest)[:10])
        await until(lambda: anchored()[-1] == 10)

    def anchored() -> list[int]:
        with closing(open_journal(given)) as journal:
            return [one.number for one in checkpoint_file(given).read().of_store(journal.store)]

    with closing(reopen()) as service:
        run(service, work)
    assert anchored() == [0, 10]


def test_a_repeated_task_error_is_logged_once(logged: list[str]) -> None:
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


def test_declined_transactions_have_no_label_even_after_expiry(
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
        await upkeep.archive_old_entries()
        await score(client, sent[300:])

    with closing(Service.open(declining, port=0, history=str(history))) as service:
        run(service, work)
        checksum = service.engine.store.checksum()
        assert checksum == rebuilt(service, tmp_path)
        kept = [entry for entry in service.contents.journal.after(0) if isinstance(entry, TransactionEntry)]
        assert [one.transaction_id for one in kept if one.declined] == sorted(
            declined, key=[one.transaction_id for one in kept].index
        )
        assert all(one.expired for one in kept[:300])
        later = {**kept[-1].transaction, "transaction_id": "later", "ts": kept[-1].transaction["ts"] + 15 * DAY}
        live = service.engine.store.peek(later)
    shutil.rmtree(service_folder(given) / "snapshots")
    with closing(Service.open(given, port=0)) as anew:
        assert anew.contents.store.checksum() == checksum
    found = read_history(service_folder(given))
    assert found is not None
    transactions = found.transactions.collect()
    assert set(transactions.filter(~pl.col("labelled"))["transaction_id"]) == set(declined)
    store = FeatureStore.rebuild(transactions, found.ledger, Scorer.load(Path("data/models/1")).catalogue)
    assert store.peek(later) == live
    presumed = transactions.with_columns(labelled=pl.lit(value=True))
    other = FeatureStore.rebuild(presumed, found.ledger, store.catalogue)
    assert other.peek(later) != live


@pytest.mark.parametrize("rounds", range(5))
def test_a_check_that_ends_while_it_is_cancelled_stops_its_task(rounds: int) -> None:
    """Otherwise the shutdown waits for the task without end."""

    async def cancelled() -> bool:
        begun, end = threading.Event(), threading.Event()
        task = asyncio.ensure_future(upkeeps._problem_in_thread(lambda: (begun.set(), end.wait())))
        await asyncio.to_thread(begun.wait)
        end.set()
        time.sleep(0.05)  # noqa: ASYNC251 - the thread ends while the event loop stands still
        for _ in range(rounds):
            await asyncio.sleep(0)
        if not task.cancel():
            return True  # it had ended
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancelled())
