"""Archived entries stay readable, decisions expire, and seals stay valid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from fraud3000.errors import CheckFailed, DataError
from fraud3000.service.alerts import AlertFilter
from fraud3000.service.entries import Entry, LabelEntry, LateDecisionEntry, TransactionEntry
from fraud3000.service.journal import sqlite_archiving
from fraud3000.service.journal.audit import audit
from fraud3000.service.journal.recovery import recover
from fraud3000.service.journal.sqlite import SqliteJournal
from tests.service.test_journal import ANSWER, execute_sql, transaction_entry

DAY = 86_400_000_000
START = 1_533_600_000_000_000  # 2018-08-07


def came(number: int, day: float, **content: object) -> TransactionEntry:
    one = transaction_entry(number, card_id=f"c{number % 3}", **content)
    return replace(one, received_at=START + int(day * DAY), salt=f"{number:032x}")


def a_week() -> list[Entry]:
    days = [came(number, number / 10) for number in range(1, 61)]
    return [*days, LabelEntry(61, "t3", 1, "chargeback", None, START + 7 * DAY), came(62, 7.5)]


def day(count: int) -> datetime:
    return datetime.fromtimestamp(START / 1e6, UTC) + timedelta(days=count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(path, key=b"k" * 32)) as journal:
        journal.append(a_week())
        yield journal


def same(journal: SqliteJournal, expected: list[Entry]) -> None:
    assert list(journal.after(0)) == expected
    assert list(journal.after(25)) == expected[25:]
    assert [journal.entry(one.number) for one in expected] == expected
    assert journal.of_transaction("t3") == [expected[2], expected[60]]
    assert [one.number for one in journal.ends()] == [1, 62]
    assert audit(journal.steps_after(0), [], [], []).findings == []


def test_entries_move_by_day_and_reads_do_not_change(journal: SqliteJournal, path: Path) -> None:
    same(journal, a_week())
    assert journal.move(day(2)) == 19
    assert journal.move(day(2)) == 0
    assert [file.path.name for file in journal.archive.files] == [
        "2018-08-07_000000000000001_000000000000009.parquet",
        "2018-08-08_000000000000010_000000000000019.parquet",
    ]
    same(journal, a_week())
    journal.close()
    with closing(SqliteJournal(path, key=b"k" * 32)) as again:
        assert (again.moved, again.last) == (19, 62)
        same(again, a_week())
        again.move(day(30))
        assert again.moved == 62
        same(again, a_week())
        again.append([came(63, 31)])
        assert again.of_transaction("t63") == [came(63, 31)]


def test_open_alerts_of_archived_entries_stay_listed(journal: SqliteJournal) -> None:
    open_before = journal.alerts(AlertFilter(limit=500))
    journal.move(day(30))
    assert journal.alerts(AlertFilter(limit=500)) == open_before
    assert all(alert.open for alert in journal.alerts(AlertFilter(open=None, limit=500)))


def test_an_interrupted_move_is_finished_by_the_next(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    delete_batch = sqlite_archiving._delete_batch
    monkeypatch.setattr(sqlite_archiving, "_DELETE_BATCH", 4)
    calls = iter(range(100))

    def fails(*arguments: object) -> None:
        if next(calls) == 1:
            raise OSError("gone")
        delete_batch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite_archiving, "_delete_batch", fails)
    with pytest.raises(OSError, match="gone"):
        journal.move(day(3))
    assert journal.moved == 4
    same(journal, a_week())
    journal.move(day(3))
    same(journal, a_week())


def test_decisions_expire_and_transactions_stay(journal: SqliteJournal, path: Path) -> None:
    open_ = replace(came(63, 8), answer=None)
    journal.append([open_, LateDecisionEntry(64, "t63", ANSWER), came(65, 40)])
    journal.move(day(20))
    assert journal.archive.expire(date(2018, 8, 9)) == 19
    assert journal.archive.expire(date(2018, 8, 9)) == 0
    gone, kept = journal.of_transaction("t3")[0], journal.of_transaction("t30")[0]
    assert isinstance(gone, TransactionEntry)
    assert (gone.expired, gone.answer, gone.features) == (True, None, ())
    assert gone.transaction == came(3, 0.3).transaction
    assert kept == came(30, 3.0)
    assert journal.archive.expire(date(2019, 1, 1)) == 43
    assert [type(entry) for entry in journal.of_transaction("t63")] == [TransactionEntry]
    found = audit(journal.steps_after(0), [], [], [])
    assert (found.findings, found.entries, found.expired) == ([], 65, 63)
    journal.close()
    with closing(SqliteJournal(path, key=b"k" * 32)) as again:
        assert len(list(again.after(0))) == 64


def test_recovery_of_a_journal_with_an_archive(journal: SqliteJournal, path: Path) -> None:
    journal.move(day(2))
    journal.close()
    execute_sql(path, "UPDATE entries SET body = zeroblob(9) WHERE number = 41")
    with closing(SqliteJournal(path, key=b"k" * 32)) as spoilt, pytest.raises(CheckFailed, match="entry 41"):
        list(spoilt.after(0))
    assert [(hole.first, hole.last) for hole in recover(path, key=b"k" * 32).holes] == [(41, 41)]
    with closing(SqliteJournal(path, key=b"k" * 32)) as again:
        assert list(again.after(0)) == [*a_week()[:40], *a_week()[41:]]
        assert again.of_transaction("t5") == [a_week()[4]]


def test_the_error_names_a_damaged_archive_file(journal: SqliteJournal) -> None:
    journal.move(day(2))
    file = journal.archive.files[0].path
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"2018-08-07_.*parquet: cannot be read"):
        list(journal.after(0))
    assert next(journal.after(19)) == a_week()[19]


def test_a_card_is_erased_in_database_and_archive(journal: SqliteJournal, path: Path) -> None:
    journal.append([came(63, 8, card_lat=48.85, card_long=2.35), transaction_entry(64)])
    journal.move(day(2))
    assert journal.erase({"c0": "erased-1"}, START) == 21
    mine = journal.of_transaction("t63")[0]
    assert isinstance(mine, TransactionEntry)
    assert {name: mine.transaction.get(name) for name in ("card_id", "card_lat", "card_long", "amount")} == {
        "card_id": "erased-1",
        "card_lat": None,
        "card_long": None,
        "amount": 5716,
    }
    assert (mine.salt, mine.body()) == ("", came(63, 8, card_lat=48.85, card_long=2.35).body())
    assert journal.of_transaction("t4")[0] == came(4, 0.4)
    assert audit(journal.steps_after(0), [], [], []).findings == []
    assert journal.last == 65
    everything = [file.path.read_bytes() for file in journal.archive.files]
    assert not any(b'"c0"' in content for content in [*everything, path.read_bytes()])
    assert journal.erase({"nobody": "erased-2"}, START) == 0
    assert journal.last == 65
