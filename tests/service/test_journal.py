"""The journal writes groups of entries atomically and in order, and detects later changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fraud3000.errors import CheckFailed, ParamsError, ScorerError, UnavailableError
from fraud3000.models.inference.decision import Decision
from fraud3000.models.inference.explain import Reason
from fraud3000.service.entries import Entry, LabelEntry, LateDecisionEntry, TransactionEntry, decision_id
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.recovery import recover
from fraud3000.service.journal.sqlite import SqliteJournal

ANSWER = Decision(
    decision_id="0" * 24,
    score=0.1 + 0.2,
    threshold=0.4,
    decision="review",
    expected_loss=12.5,
    reasons=(Reason("AMOUNT", "amount: 5.00; usual 1.00"),),
    model_version="3",
    fingerprint="f" * 64,
)


def transaction_entry(number: int, **content: Any) -> TransactionEntry:
    transaction = {"transaction_id": f"t{number}", "ts": 1_533_686_474_000_000, "amount": 5716, **content}
    answer = replace(ANSWER, decision_id=decision_id(number, ANSWER.fingerprint, f"t{number}"))
    values = (1 / 3, None, True, "food")
    return TransactionEntry(number, 1_533_686_475_000_001, 1_533_686_474_000_000, transaction, "c" * 64, values, answer)


def transaction_entries(count: int, first: int = 1) -> list[Entry]:
    return [transaction_entry(number) for number in range(first, first + count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(path)) as journal:
        yield journal


def execute_sql(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_entries_are_read_as_written(journal: SqliteJournal, path: Path) -> None:
    undecided = TransactionEntry(
        2, 7, 0, {"transaction_id": "é", "ts": 0, "amount": -1, "card_lat": 48.85}, "c", (0.1,), None
    )
    kept: list[Entry] = [
        transaction_entry(1),
        undecided,
        LateDecisionEntry(3, "é", ANSWER),
        LabelEntry(4, "é", 1, "analyst", None, 9),
    ]
    journal.append(kept[:1])
    journal.append(kept[1:])
    assert journal.of_transaction("é") == kept[1:]
    assert journal.of_transaction("unknown") == []
    journal.close()
    with closing(SqliteJournal(path)) as again:
        assert again.last == 4
        assert list(again.after(0)) == kept
        assert list(again.after(2)) == kept[2:]
        again.append([transaction_entry(5)])
        assert [entry.number for entry in again.after(0)] == [1, 2, 3, 4, 5]


def test_flush_sets_synchronous(path: Path) -> None:
    levels = {}
    for flush in ("full", "normal"):
        with closing(SqliteJournal(path, flush=flush)) as journal:  # type: ignore[arg-type]
            levels[flush] = journal._write_connection.execute("PRAGMA synchronous").fetchone()[0]
    assert levels == {"full": 2, "normal": 1}


def test_numbers_have_no_gaps(journal: SqliteJournal) -> None:
    with pytest.raises(ValueError, match="entry 2 where 1 is next"):
        journal.append([transaction_entry(2)])
    assert journal.last == 0


def test_a_full_disk_writes_nothing_and_a_retry_succeeds(journal: SqliteJournal) -> None:
    journal.append(transaction_entries(5))
    pages = journal._write_connection.execute("PRAGMA page_count").fetchone()[0]
    journal._write_connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UnavailableError, match=r"journal\.db: cannot be written or read .*full"):
        journal.append(transaction_entries(500, first=6))
    assert journal.last == 5
    journal._write_connection.execute("PRAGMA max_page_count = 1000000")
    journal.append(transaction_entries(500, first=6))
    assert len(list(journal.after(0))) == 505


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("UPDATE entries SET body = CAST(replace(body, '5716', '5717') AS BLOB) WHERE number = 4", [4]),
        ("UPDATE entries SET transaction_id = 't9' WHERE number = 4", [4]),
        ("UPDATE entries SET kind = 'answer' WHERE number = 5", [5]),
        ("DELETE FROM entries WHERE number = 3", [3]),
        ("DELETE FROM entries WHERE number IN (2, 3, 5)", [2, 3, 5]),
        ("UPDATE entries SET number = number + 1 WHERE number = 7", [7, 8]),
        ("UPDATE entries SET seal = zeroblob(32) WHERE number = 1", []),
        ("UPDATE entries SET seal = zeroblob(32) WHERE number = 7", [7]),
    ],
)
def test_recovery_keeps_intact_entries_and_makes_lost_ones_holes(
    journal: SqliteJournal, path: Path, statement: str, lost: list[int]
) -> None:
    journal.append(transaction_entries(7))
    store = journal.store
    journal.close()
    execute_sql(path, statement)
    with (
        closing(SqliteJournal(path)) as changed,
        pytest.raises(CheckFailed, match=rf"entry {min(lost, default=1)} (does not match its seal|is missing)"),
    ):
        list(changed.after(0))
    recovered = recover(path)
    assert [number for hole in recovered.holes for number in range(hole.first, hole.last + 1)] == lost
    assert recovered.aside is not None
    assert recovered.aside.exists()
    whole = [entry for entry in transaction_entries(7) if entry.number not in lost]
    with closing(SqliteJournal(path)) as good:
        assert (good.store, good.complete, good.last) == (store, True, max(7, *lost, 0))
        assert list(good.after(0)) == whole
        assert {number for number in range(1, 8) if good.entry(number) is None} == {n for n in lost if n < 8}
        good.append([transaction_entry(good.last + 1)])
    with closing(SqliteJournal(path)) as again:
        assert list(again.after(0)) == [*whole, transaction_entry(again.last)]


@pytest.mark.parametrize(("number", "lost"), [(2**60, set()), (3, {3, 4}), (9, {9, 10})])
def test_recovery_is_fast_with_a_damaged_number(
    journal: SqliteJournal, path: Path, number: int, lost: set[int]
) -> None:
    journal.append(transaction_entries(64))
    journal.close()
    execute_sql(path, f"DELETE FROM entries WHERE number = {number}")
    execute_sql(path, f"UPDATE entries SET number = {number} WHERE number = 64")
    recovered = recover(path)  # the entry behind a false one cannot be verified
    assert {number for hole in recovered.holes for number in range(hole.first, hole.last + 1)} == lost
    with closing(SqliteJournal(path)) as good:
        assert good.last == 63
        assert list(good.after(0)) == [entry for entry in transaction_entries(63) if entry.number not in lost]


def test_recovery_recomputes_a_damaged_seal(journal: SqliteJournal, path: Path) -> None:
    journal.append(transaction_entries(7))
    end = journal.end
    journal.close()
    execute_sql(path, "UPDATE entries SET seal = zeroblob(32) WHERE number IN (2, 5)")
    assert recover(path).holes == ()
    with closing(SqliteJournal(path)) as good:
        assert (list(good.after(0)), good.end) == (transaction_entries(7), end)


def test_another_key_is_refused(path: Path) -> None:
    with closing(SqliteJournal(path, key=b"ours")) as journal:
        journal.append(transaction_entries(3))
        assert len(list(journal.after(0))) == 3
    with pytest.raises(ParamsError, match="sealed with another key than the key in FRAUD3000_AUDIT_KEY"):
        SqliteJournal(path, key=b"theirs")
    with pytest.raises(ParamsError, match="than no key, as FRAUD3000_AUDIT_KEY is not set"):
        SqliteJournal(path)
    execute_sql(path, f"UPDATE facts SET value = '{hash_chain.name_of(b'theirs')}' WHERE name = 'key'")
    with closing(SqliteJournal(path, key=b"theirs")) as journal, pytest.raises(CheckFailed, match="entry 1 "):
        list(journal.after(0))


def test_a_seal_depends_on_every_part() -> None:
    parts: list[tuple[Any, ...]] = [
        (b"", b"0", 1, "a", "bc", b"d"),
        (b"k", b"0", 1, "a", "bc", b"d"),
        (b"", b"1", 1, "a", "bc", b"d"),
        (b"", b"0", 2, "a", "bc", b"d"),
        (b"", b"0", 1, "ab", "c", b"d"),
        (b"", b"0", 1, "a", "b", b"cd"),
    ]
    assert len({hash_chain.sealed(*one) for one in parts}) == len(parts)


@example(cut=0.06131606546949798, flip=True)  # in the words of its own layout
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1, exclude_max=True), flip=st.booleans())
def test_recovery_keeps_intact_entries_of_a_cut_or_damaged_file(
    tmp_path_factory: pytest.TempPathFactory, cut: float, flip: bool
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    with closing(SqliteJournal(path)) as journal:
        journal.append(transaction_entries(60))
    content = bytearray(path.read_bytes())
    place = int(cut * len(content))
    if flip:
        content[place : place + 64] = bytes(byte ^ 0xFF for byte in content[place : place + 64])
    path.write_bytes(content if flip else content[:place])
    kept = _readable(path)
    if kept is not None:
        assert kept == transaction_entries(60)  # the damage lies where nothing is
        return
    try:
        recovered = recover(path)
    except CheckFailed:  # nothing of it can be read: it is left as it is
        assert path.exists()
        recovered = recover(path, archive_only=True)
        assert recovered.intact == 0
    with closing(SqliteJournal(path)) as journal:
        found = list(journal.after(0))
        lost = {number for hole in journal.holes for number in range(hole.first, hole.last + 1)}
        assert found == [
            entry for entry in transaction_entries(60) if entry.number <= journal.last and entry.number not in lost
        ]
        first = journal.last + 1
        journal.append(transaction_entries(5, first=first))
        assert journal.of_transaction(f"t{first}") == [transaction_entry(first)]


def _readable(path: Path) -> list[Entry] | None:
    try:
        with closing(SqliteJournal(path)) as journal:
            found = list(journal.after(0))
            return found if len(found) == 60 else None
    except CheckFailed:
        return None


def test_a_later_journal_format_is_refused(journal: SqliteJournal, path: Path) -> None:
    journal.close()
    execute_sql(path, "PRAGMA user_version = 9")
    with pytest.raises(ScorerError, match="journal format 9 is not supported; this release reads format 3"):
        SqliteJournal(path)
    with pytest.raises(ScorerError):
        recover(path)


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(UnavailableError, match="unable to open"):
        SqliteJournal(tmp_path / "journal.db")
