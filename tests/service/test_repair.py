"""A sealed entry repairs times that a wrong clock dated in the future; decisions do not change."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.errors import DataError, UnavailableError
from fraud3000.features.online.event_encoder import microseconds
from fraud3000.params import Params
from fraud3000.service.engine.clock import CheckedClock
from fraud3000.service.entries import LabelEntry, TransactionEntry
from fraud3000.service.journal.history_frames import read_history
from fraud3000.service.journal.repair import Corrections, find_wrong_times
from fraud3000.service.operator_entries import RepairEntry
from fraud3000.stages import audit, serve
from fraud3000.stages.replay import replay
from fraud3000.stages.shared.service_store import open_journal, service_folder
from tests.service.conftest import Open
from tests.service.test_journal import transaction_entry
from tests.service.test_readiness import Clocks
from tests.service.world import items, post

NOW = datetime(2026, 11, 30, tzinfo=UTC)
YEARS = timedelta(days=20 * 365)


@pytest.fixture
def clocks(newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Settable clock of the service, whose check accepts any jump."""
    made = Clocks(datetime.now(UTC))
    hundred_years = timedelta(days=36_500)
    monkeypatch.setattr(
        serve, "CheckedClock", lambda _: CheckedClock(hundred_years, now=made.now, elapsed=made.elapsed)
    )
    return made


def told(client: TestClient, id_: str, source: str) -> Any:
    return client.post("/labels", json={"transaction_id": id_, "is_fraud": True, "source": source}).json()


@pytest.fixture
def poisoned(reopen: Open, newest: pl.DataFrame, clocks: Clocks) -> dict[str, Any]:
    """Service whose clock ran twenty years ahead for a moment, so that later labels were recorded in 2046."""
    sent = items(newest)
    with closing(reopen()) as service:
        client = TestClient(service.app)
        post(client, {"transactions": sent[:50]})
        clocks.at += YEARS
        ahead = {**sent[60], "transaction_id": "ahead", "ts": clocks.at.isoformat()}
        (decided,) = post(client, ahead).json()["results"]
        clocks.at -= YEARS
        (label,) = told(client, sent[3]["transaction_id"], "analyst")["results"]
        assert datetime.fromisoformat(label["recorded_at"]) > clocks.at + YEARS - timedelta(days=1)
        later = {**sent[60], "transaction_id": "later"}
        assert post(client, later).status_code == 200
    return {"card": sent[60], "sent": sent, "decision": decided["decision_id"]}


def features(service: Any, id_: str) -> dict[str, Any]:
    (entry,) = service.contents.journal.of_transaction(id_)
    return dict(zip(service.contents.store.catalogue.names, entry.features, strict=True))


def test_a_repair_restores_features_and_label_times(poisoned: dict[str, Any], reopen: Open, given: Params) -> None:
    with closing(reopen()) as service:
        before = features(service, "later")
        assert before["card_count_7d"] is None, "the card is late by twenty years"
    told_ = audit.repair(given, "the clock ran ahead")
    assert told_.facts["withdrawn transactions"] == 1
    assert told_.facts["label records with another time"] == 1
    assert audit.verify(given).refused is None
    with closing(open_journal(given)) as journal:
        (repair,) = [entry for entry in journal.of_transaction("") if isinstance(entry, RepairEntry)]
        assert repair.reason == "the clock ran ahead"
        assert repair.recorded[0][1] < microseconds(datetime.now(UTC)) + 1
    with closing(reopen()) as service:
        client = TestClient(service.app)
        again = {**poisoned["card"], "transaction_id": "again"}
        assert post(client, again).status_code == 200
        assert features(service, "again")["card_count_7d"] is not None
        (label,) = told(client, poisoned["sent"][5]["transaction_id"], "analyst")["results"]
        assert datetime.fromisoformat(label["recorded_at"]) < datetime.now(UTC) + timedelta(minutes=1)
        assert client.get(f"/decisions/{poisoned['decision']}").json()["transaction_id"] == "ahead", (
            "its decision stays"
        )
        checksum = service.contents.store.checksum()
    found = replay(given)
    assert (found.facts["replayed"], found.facts["differing"]) == (53, 0)
    service_root = service_folder(given)
    for snapshot in service_root.rglob("*.snapshot"):
        snapshot.unlink()
    with closing(reopen()) as service:
        assert service.contents.store.checksum() == checksum, "a rebuild gives the same state"
    exported = read_history(service_root)
    assert exported is not None
    ids = exported.transactions.select("transaction_id").collect()["transaction_id"].to_list()
    assert ("ahead" in ids, "later" in ids) == (False, True)
    assert exported.ledger["recorded_at"].max() < datetime.now(UTC) + timedelta(minutes=1)  # type: ignore[operator]
    with pytest.raises(DataError, match="no entry is dated more than"):
        audit.repair(given, "again")


def test_a_start_after_the_clock_went_back_asks_for_a_repair(
    reopen: Open, newest: pl.DataFrame, clocks: Clocks, given: Params
) -> None:
    clocks.at += YEARS
    with closing(reopen()) as service:
        ahead = {**items(newest)[0], "ts": clocks.at.isoformat()}
        assert post(TestClient(service.app), ahead).status_code == 200
    clocks.at -= YEARS
    with pytest.raises(UnavailableError, match="last entry of the journal was received at 20") as refused:
        reopen()
    assert "fraud3000 audit repair" in str(refused.value.hint)
    audit.repair(given, "the clock ran ahead")
    with closing(reopen()) as service:
        assert post(TestClient(service.app), items(newest)[1]).status_code == 200


def at(number: int, received: timedelta, ts: timedelta) -> TransactionEntry:
    one = transaction_entry(number, ts=microseconds(NOW + ts))
    assert isinstance(one, TransactionEntry)
    return TransactionEntry(
        number, microseconds(NOW + received), None, one.transaction, one.catalogue, one.features, one.answer, one.salt
    )


def test_only_entries_dated_after_later_ones_are_corrected() -> None:
    day = timedelta(days=1)
    entries = [
        at(1, -9 * day, -9 * day),
        at(2, YEARS, YEARS),  # by the wrong clock
        at(3, YEARS, -8 * day),  # its own time is right
        LabelEntry(4, "t1", 1, "analyst", None, microseconds(NOW + YEARS) + 1),
        at(5, -7 * day, -7 * day + timedelta(minutes=4)),  # ahead by less than clocks differ
        LabelEntry(6, "t1", 1, "bank", None, microseconds(NOW - 6 * day)),
        at(7, -5 * day, -5 * day),
    ]
    withdrawn, recorded = find_wrong_times(entries, now=NOW, ahead=timedelta(minutes=5), jump=timedelta(hours=1))
    assert (withdrawn, recorded) == ([2], [(4, microseconds(NOW - 8 * day) + 1)])
    corrections = Corrections(frozenset(withdrawn), dict(recorded))
    left = list(corrections.apply(entries))
    assert [entry.number for entry in left] == [1, 3, 4, 5, 6, 7]
    assert find_wrong_times(left, now=NOW, ahead=timedelta(minutes=5), jump=timedelta(hours=1)) == ([], [])


def test_a_repair_needs_a_reason(poisoned: dict[str, Any], given: Params) -> None:
    with pytest.raises(DataError, match="--reason: is empty"):
        audit.repair(given, "")
