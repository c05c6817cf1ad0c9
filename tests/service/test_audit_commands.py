"""The audit commands find changes of the journal, and erase a cardholder without breaking its seals."""

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
from fraud3000.service.entries import TransactionEntry
from fraud3000.stages import audit
from fraud3000.stages.explain import explain
from fraud3000.stages.replay import replay
from fraud3000.stages.serve import Service
from fraud3000.stages.shared.service_store import checkpoint_file, open_journal, service_folder
from tests.service.conftest import Open
from tests.service.world import NEWEST, items, post


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_AUDIT_KEY", "a key that is long enough for the audit")


@pytest.fixture
def ended(keyed: None, reopen: Open, newest: pl.DataFrame) -> None:
    """Stopped service that has decided all of the newest rows."""
    with closing(reopen()) as service:
        client = TestClient(service.app)
        post(client, {"transactions": items(newest)})
        label = {"transaction_id": newest["transaction_id"][0], "is_fraud": True, "source": "chargeback"}
        assert client.post("/labels", json={"labels": [label]}).status_code == 200


def test_verify_an_intact_journal(ended: None, given: Params) -> None:
    told = audit.verify(given)
    assert (told.facts["entries"], told.facts["anchors"], told.facts["findings"]) == (NEWEST + 1, 2, 0)
    assert (told.refused, told.warnings) == (None, ())
    assert told.facts["sealed with"].startswith("key ")


def test_verify_a_changed_journal(ended: None, given: Params) -> None:
    with closing(sqlite3.connect(service_folder(given) / "journal.db")) as journal:
        journal.execute("UPDATE entries SET kind = 'label' WHERE number = 9")
        journal.execute("DELETE FROM entries WHERE number > 390")
        journal.commit()
    told = audit.verify(given)
    assert told.refused == "2 findings: the journal does not match what was written"
    assert [row[0] for row in told.tables[0].rows] == ["9", "391"]
    path = checkpoint_file(given).path
    path.write_text(path.read_text().replace('"number": 401', '"number": 390'))
    assert "anchors.jsonl: line 2 was altered" in audit.verify(given).tables[0].rows[0][1]


def test_verify_warns_without_key_and_checkpoints(reopen: Open, given: Params) -> None:
    reopen().close()
    checkpoint_file(given).path.unlink()
    told = audit.verify(given)
    assert told.refused is None
    assert [warning.partition(":")[0] for warning in told.warnings] == [
        "FRAUD3000_AUDIT_KEY is not set",
        "there is no checkpoint",
    ]


def test_another_key_is_refused(ended: None, given: Params, reopen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_AUDIT_KEY", "another key that is long enough for it")
    for look in (lambda: audit.verify(given), reopen, lambda: replay(given)):
        with pytest.raises(ParamsError, match="is sealed with another key than the key in FRAUD3000_AUDIT_KEY"):
            look()


def test_erase_removes_a_card_and_nothing_else(
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
    with pytest.raises(DataError, match="is unknown to the service"):
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
        with pytest.raises(UnavailableError, match="is in use by another service"):
            audit.erase(given, newest["card_id"][1])


def test_an_interrupted_erasure_resumes_with_the_same_pseudonym(
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
    with closing(open_journal(given)) as journal:
        names = {
            one.transaction["card_id"]
            for one in journal.after(0)
            if isinstance(one, TransactionEntry) and one.commitment
        }
    history = pl.read_parquet(service_folder(given) / "history.parquet")
    assert len(names) == 1
    assert history.filter(pl.col("card_id").is_in(list(names))).height > 0


def test_explain_a_decision(ended: None, given: Params, newest: pl.DataFrame) -> None:
    id_ = newest["transaction_id"][0]
    told = explain(given, id_)
    assert told.facts["card"] == newest["card_id"][0]
    assert told.facts["decision"] in {"approve", "review"}
    assert explain(given, str(told.facts["decision id"])).facts == told.facts
    titles = [table.title for table in told.tables]
    assert titles[-2:] == ["Features by contribution to the log-odds", "Labels"]
    assert told.tables[-1].rows[0][:2] == ("chargeback", "fraud")
    with pytest.raises(DataError, match="nobody: is not in the journal"):
        explain(given, "nobody")
    with pytest.raises(DataError, match=r"f{24}: is not in the journal"):
        explain(given, "f" * 24)
    away = given.model_copy(update={"workspace": "elsewhere"})
    assert "the bundle of version 1 with fingerprint" in explain(away, id_).warnings[0]


def test_commands_read_the_journal_of_a_running_service(ended: None, reopen: Open) -> None:
    service: Service = reopen()
    with closing(service):
        assert service.contents.journal.last == NEWEST + 1
