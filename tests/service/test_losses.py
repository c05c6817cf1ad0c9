"""A loss of acknowledged entries prevents the start and stays a finding until an operator acknowledges it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.errors import CheckFailed, DataError, UnavailableError
from fraud3000.params import Params
from fraud3000.service.data_dir import DataDir
from fraud3000.service.operator_entries import AcknowledgementEntry
from fraud3000.stages import audit
from fraud3000.stages.shared.service_store import checkpoint_file, open_journal, service_folder
from tests.service.conftest import Open
from tests.service.world import items, post

Damage = Callable[[Path, Path], object]


@pytest.fixture(autouse=True)
def _keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_AUDIT_KEY", "a key that is long enough for the audit")


@pytest.fixture
def ended(reopen: Open, newest: pl.DataFrame, given: Params, tmp_path: Path) -> Path:
    """Stopped service that decided 200 and then 100 transactions; returns a backup from in between."""
    sent = items(newest)
    with closing(reopen()) as service:
        post(TestClient(service.app), {"transactions": sent[:200]})
    shutil.copytree(service_folder(given), tmp_path / "backup")
    with closing(reopen()) as service:
        post(TestClient(service.app), {"transactions": sent[200:300]})
    return tmp_path / "backup"


def restore_backup(store: Path, backup: Path) -> None:
    shutil.rmtree(store)
    shutil.copytree(backup, store)


def delete_by_sql(store: Path, _: Path) -> None:
    with closing(sqlite3.connect(store / "journal.db")) as connection:
        connection.execute("DELETE FROM entries WHERE number > 250")
        connection.commit()


def remove_journal(store: Path, _: Path) -> None:
    (store / "journal.db").unlink()


def found(params: Params) -> list[tuple[str, ...]]:
    told = audit.verify(params)
    return [row for table in told.tables if table.title == "Findings" for row in table.rows]


@pytest.mark.parametrize(
    ("damage", "kept", "exit_code"), [(restore_backup, 200, 6), (delete_by_sql, 250, 6), (remove_journal, 0, 7)]
)
def test_a_lost_end_is_a_finding_until_it_is_acknowledged(
    ended: Path, reopen: Open, given: Params, newest: pl.DataFrame, damage: Damage, kept: int, exit_code: int
) -> None:
    damage(service_folder(given), ended)
    for _ in range(2):
        with pytest.raises((CheckFailed, UnavailableError)) as refused:
            reopen()
        assert refused.value.exit_code == exit_code
        assert "audit acknowledge" in str(refused.value.hint)
        assert len(found(given)) == 1
    told = audit.acknowledge(given, "the disk was restored")
    assert told.facts["lost entries"] == 300 - kept
    assert found(given) == []
    assert "the disk was restored" in str(audit.verify(given).tables)
    with closing(reopen()) as service:
        client = TestClient(service.app)
        results = post(client, {"transactions": items(newest)[240:310]}).json()["results"]
        numbers = {int(one["decision_id"][:12], 16) for one in results}
        assert not numbers & set(range(kept + 1, 301)), "no lost number is used again"
        assert client.get("/alerts").status_code == 200
    assert found(given) == []
    with closing(open_journal(given)) as journal:
        (note,) = [entry for entry in journal.of_transaction("") if isinstance(entry, AcknowledgementEntry)]
        assert (note.number, note.holes, note.reason) == (301, ((kept + 1, 300),), "the disk was restored")
    with pytest.raises(DataError, match="nothing is lost"):
        audit.acknowledge(given, "again")


def test_a_second_loss_needs_another_acknowledgement(ended: Path, reopen: Open, given: Params) -> None:
    delete_by_sql(service_folder(given), ended)
    audit.acknowledge(given, "first")
    with closing(sqlite3.connect(service_folder(given) / "journal.db")) as connection:
        connection.execute("DELETE FROM entries WHERE number > 240")
        connection.commit()
    with pytest.raises(CheckFailed):
        reopen()
    assert [row[0] for row in found(given)] == ["241", "251", "301"], "the acknowledgement itself is lost too"
    audit.acknowledge(given, "second")
    assert found(given) == []
    reopen().close()


def test_one_flipped_bit_loses_one_entry(ended: Path, reopen: Open, given: Params) -> None:
    path = service_folder(given) / "journal.db"
    with closing(open_journal(given)) as journal:
        store = journal.store
    with closing(sqlite3.connect(path)) as connection:
        body = bytearray(connection.execute("SELECT body FROM entries WHERE number = 100").fetchone()[0])
        body[40] ^= 1
        connection.execute("UPDATE entries SET body = ? WHERE number = 100", (bytes(body),))
        connection.commit()
    shutil.rmtree(service_folder(given) / "snapshots")
    for _ in range(2):
        reopen().close()
        with closing(open_journal(given)) as journal:
            assert (journal.store, journal.last, len(list(journal.after(0)))) == (store, 300, 299)
        assert found(given) == [("100", "is not what was sealed")]
    assert list(path.parent.glob("journal.db.damaged-*"))


@pytest.mark.parametrize("left", ["seed.json", "journal.db.rescued", "journal.db.damaged-20261130T000000", "anchors"])
def test_a_missing_journal_is_not_replaced_by_an_empty_one(
    reopen: Open, given: Params, newest: pl.DataFrame, left: str
) -> None:
    with closing(reopen()) as service:
        post(TestClient(service.app), items(newest)[0])
    store, anchors = service_folder(given), checkpoint_file(given)
    for path in [path for path in store.iterdir() if path.is_file() and path.name != left]:
        path.rename(store / left) if path.name == "journal.db" and left.startswith("journal.db.") else path.unlink()
    shutil.rmtree(store / "snapshots")
    if left != "anchors":
        anchors.path.unlink()
    anchors.mark.unlink()
    before = {path: path.read_bytes() for path in store.iterdir()}
    with pytest.raises(UnavailableError, match=r"has no journal\.db, but ") as refused:
        reopen()
    assert refused.value.exit_code == 7
    for way in ("restore", "journal.db.rescued", "audit acknowledge", "another serve.store"):
        assert way in str(refused.value.hint)
    assert {path: path.read_bytes() for path in before if path.name != "lock"} == {
        path: content for path, content in before.items() if path.name != "lock"
    }, "nothing is deleted"


def test_a_rescued_file_without_a_journal_is_not_used(ended: Path, given: Params, reopen: Open) -> None:
    path = service_folder(given) / "journal.db"
    path.rename(path.with_name("journal.db.rescued"))  # as a recovery that was killed between two moves left it once
    for _ in range(2):
        with pytest.raises(
            UnavailableError, match=r"has no journal\.db, but seed\.json.*journal\.db\.rescued"
        ) as refused:
            reopen()
        assert refused.value.exit_code == 7
        assert len(found(given)) == 1
    path.with_name("journal.db.rescued").rename(path)
    with closing(reopen()) as service:
        assert service.contents.journal.last == 300
    assert found(given) == []


def test_a_missing_journal_is_a_finding_without_checkpoints_too(ended: Path, given: Params) -> None:
    for path in (service_folder(given) / "journal.db", checkpoint_file(given).path, checkpoint_file(given).mark):
        path.unlink()
    assert "has no journal.db, but seed.json" in str(found(given))


def test_the_next_start_finishes_an_interrupted_recovery(ended: Path, given: Params, reopen: Open) -> None:
    path = service_folder(given) / "journal.db"
    shutil.copy(path, path.with_name("journal.db.rescued"))
    path.write_bytes(b"\0" * 9_000)
    with closing(reopen()) as service:
        assert service.contents.journal.last == 300
    assert not path.with_name("journal.db.rescued").exists()
    assert found(given) == []


def test_a_store_whose_lock_file_was_deleted_stays_locked(ended: Path, reopen: Open, given: Params) -> None:
    with closing(reopen()):
        (service_folder(given) / "lock").unlink()
        with pytest.raises(UnavailableError, match="is in use by another service"):
            DataDir(service_folder(given))


def test_only_the_owner_can_read_the_store(ended: Path, reopen: Open, given: Params) -> None:
    store, anchors = service_folder(given), checkpoint_file(given)
    (store / "history.parquet").chmod(0o644)
    with closing(reopen()):
        paths = [store, *store.rglob("*"), anchors.path, anchors.mark]
        assert {path.name: path.stat().st_mode & 0o077 for path in paths if path.stat().st_mode & 0o077} == {}


def test_acknowledge_needs_a_reason_and_a_loss(ended: Path, given: Params) -> None:
    with pytest.raises(DataError, match="--reason: is empty"):
        audit.acknowledge(given, " ")
    with pytest.raises(DataError, match="nothing is lost"):
        audit.acknowledge(given, "a reason")
    command = [sys.executable, "-m", "fraud3000", "audit", "acknowledge", "--help"]
    assert "lost numbers are never used again" in " ".join(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    )
