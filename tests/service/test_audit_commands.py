"""The service's journal shows what was done to it, and a cardholder can be forgotten without a break in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.errors import DataError, ParamsError, UnavailableError
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.service.engine.feature_state import from_seed
from fraud3000.service.journal.entries import TransactionEntry
from fraud3000.stages import audit
from fraud3000.stages.explain import explain
from fraud3000.stages.replay import replay
from fraud3000.stages.serve import Service
from fraud3000.stages.shared.service_store import anchors_of, journal_of, service_folder
from tests.service.conftest import Open
from tests.service.world import NEWEST, items, post


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_AUDIT_KEY", "a key that is long enough for the audit")


@pytest.fixture
def ended(keyed: None, reopen: Open, newest: pl.DataFrame) -> None:
    """A service that has decided all of the newest rows, and ended."""
    with closing(reopen()) as service:
        client = TestClient(service.app)
        post(client, {"transactions": items(newest)})
        label = {"transaction_id": newest["transaction_id"][0], "is_fraud": True, "source": "chargeback"}
        assert client.post("/labels", json={"labels": [label]}).status_code == 200


def test_a_journal_that_is_whole(ended: None, given: Params) -> None:
    told = audit.verify(given)
    assert (told.facts["entries"], told.facts["anchors"], told.facts["findings"]) == (NEWEST + 1, 2, 0)
    assert (told.refused, told.warnings) == (None, ())
    assert told.facts["sealed with"].startswith("key ")


def test_one_that_is_not(ended: None, given: Params) -> None:
    with closing(sqlite3.connect(service_folder(given) / "journal.db")) as journal:
        journal.execute("UPDATE entries SET kind = 'label' WHERE number = 9")
        journal.execute("DELETE FROM entries WHERE number > 390")
        journal.commit()
    told = audit.verify(given)
    assert told.refused == "2 findings: the journal is not what was written"
    assert [row[0] for row in told.tables[0].rows] == ["9", "391"]
    path = anchors_of(given).path
    path.write_text(path.read_text().replace('"number": 401', '"number": 390'))
    assert "anchors.jsonl: line 2 is not as it was written" in audit.verify(given).tables[0].rows[0][1]


def test_without_a_key_and_without_anchors_that_is_said(reopen: Open, given: Params) -> None:
    reopen().close()
    anchors_of(given).path.unlink()
    told = audit.verify(given)
    assert told.refused is None
    assert [warning.partition(":")[0] for warning in told.warnings] == [
        "no FRAUD3000_AUDIT_KEY seals it",
        "no anchor tells how long it was",
    ]


def test_another_key_is_refused(ended: None, given: Params, reopen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_AUDIT_KEY", "another key that is long enough for it")
    for look in (lambda: audit.verify(given), reopen, lambda: replay(given)):
        with pytest.raises(ParamsError, match="is sealed with another key than the key in FRAUD3000_AUDIT_KEY"):
            look()


def test_a_card_is_forgotten_and_all_else_stays(
    ended: None, given: Params, newest: pl.DataFrame, reopen: Open, trained: Path
) -> None:
    card = newest["card_id"][0]
    mine = newest.filter(pl.col("card_id") == card)["transaction_id"].to_list()
    before = {one: explain(given, one).facts for one in newest["transaction_id"].to_list()[:20]}
    told = audit.erase(given, card)
    assert told.facts["entries of the journal"] == len(mine)
    assert told.facts["transactions of the history"] > 0
    root = service_folder(given)
    for file in root.iterdir():
        if file.is_file():
            assert card.encode() not in file.read_bytes()
    assert card not in pl.read_parquet(root / "history.parquet")["card_id"].to_list()
    assert audit.verify(given).refused is None
    again = replay(given)
    assert (again.refused, again.facts["differing"]) == (None, 0)
    assert (again.facts["replayed"], again.facts["erased"]) == (NEWEST - len(mine), len(mine))
    for one, facts in before.items():
        after = dict(explain(given, one).facts)
        expected = dict(facts)
        if one in mine:
            assert str(after.pop("card")).startswith("erased-")
            expected = {name: fact for name, fact in expected.items() if name != "card" and name in after}
        assert after == expected
    with pytest.raises(DataError, match="nothing is known of it"):
        audit.erase(given, card)
    with closing(reopen()) as service:
        scorer = Scorer.load(trained / "data" / "models" / "1")
        rebuilt = from_seed(root, scorer.catalogue)
        for entry in service.contents.journal.after(0):
            if isinstance(entry, TransactionEntry):
                rebuilt.observe(entry.transaction)
            elif entry.kind == "label":
                rebuilt.record_label(
                    entry.transaction_id, entry.is_fraud, source=entry.source, reported_at=None, recorded_at=entry.recorded_at  # type: ignore[union-attr]
                )  # fmt: skip
        assert service.contents.store.checksum() == rebuilt.checksum()
        with pytest.raises(UnavailableError, match="another service keeps its journal there"):
            audit.erase(given, newest["card_id"][1])


def test_an_erasure_that_was_cut_off_goes_on_under_the_same_name(
    ended: None, given: Params, newest: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = newest["card_id"][0]

    def fails(*_: object) -> int:
        raise OSError("gone")

    with monkeypatch.context() as broken:
        broken.setattr("fraud3000.service.journal.sqlite.SqliteJournal.erase", fails)
        with pytest.raises(OSError, match="gone"):
            audit.erase(given, card)
    audit.erase(given, card)
    with closing(journal_of(given)) as journal:
        names = {
            one.transaction["card_id"]
            for one in journal.after(0)
            if isinstance(one, TransactionEntry) and one.commitment
        }
    history = pl.read_parquet(service_folder(given) / "history.parquet")
    assert len(names) == 1
    assert history.filter(pl.col("card_id").is_in(list(names))).height > 0


def test_one_decision_is_told_to_a_person(ended: None, given: Params, newest: pl.DataFrame) -> None:
    id_ = newest["transaction_id"][0]
    told = explain(given, id_)
    assert told.facts["card"] == newest["card_id"][0]
    assert told.facts["decision"] in {"approve", "review"}
    assert explain(given, str(told.facts["decision id"])).facts == told.facts
    titles = [table.title for table in told.tables]
    assert titles[-2:] == ["Features by what they add to the log-odds", "What was said since"]
    assert told.tables[-1].rows[0][:2] == ("chargeback", "fraud")
    with pytest.raises(DataError, match="nobody: no decision of the journal"):
        explain(given, "nobody")
    with pytest.raises(DataError, match=r"f{24}: no decision"):
        explain(given, "f" * 24)
    away = given.model_copy(update={"workspace": "elsewhere"})
    assert "the bundle of version 1 that decided is not there" in explain(away, id_).warnings[0]


def test_a_service_is_open_on_what_it_kept(ended: None, reopen: Open) -> None:
    service: Service = reopen()
    with closing(service):
        assert service.contents.journal.last == NEWEST + 1
