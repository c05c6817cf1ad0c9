"""An audit finds edits, gaps, insertions and a cut end; checkpoints show what seals cannot."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fraud3000.errors import UnavailableError
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.audit import Audit, audit
from fraud3000.service.journal.checkpoints import CheckpointFile
from fraud3000.service.journal.claims import journal_claims
from fraud3000.service.journal.sqlite import SqliteJournal
from tests.service.test_journal import execute_sql, transaction_entries, transaction_entry

KEY = b"k" * 32


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A journal of 40 entries with checkpoints at 10, 20, 30 and 40."""
    with closing(SqliteJournal(tmp_path / "journal.db", key=KEY)) as journal:
        for first in (1, 11, 21, 31):
            journal.append(transaction_entries(10, first))
            CheckpointFile(tmp_path / "anchors.jsonl", key=KEY).append(journal.store, journal.end)
    return tmp_path


def looked_at(place: Path) -> Audit:
    with closing(SqliteJournal(place / "journal.db", key=KEY)) as journal:
        anchors = CheckpointFile(place / "anchors.jsonl", key=KEY).read()
        return audit(journal.steps_after(0), anchors.of_store(journal.store), journal_claims(journal, anchors), [])


def test_an_intact_journal_has_no_findings(kept: Path) -> None:
    found = looked_at(kept)
    assert (found.entries, found.last, found.findings) == (40, 40, [])


@pytest.mark.parametrize(
    ("statement", "findings"),
    [
        (
            "UPDATE entries SET body = CAST(replace(body, '5716', '5717') AS BLOB) WHERE number = 4",
            [(4, "does not match")],
        ),
        (
            "UPDATE entries SET transaction_id = 'x' WHERE number IN (4, 9)",
            [(4, "does not match"), (9, "does not match")],
        ),
        ("DELETE FROM entries WHERE number = 7", [(7, "is missing"), (8, "cannot be verified")]),
        (
            "DELETE FROM entries WHERE number BETWEEN 7 AND 12",
            [(7, "is missing, with all up to 12"), (13, "cannot be verified")],
        ),
        ("DELETE FROM entries WHERE number > 33", [(34, "7 of the last entries are missing: a checkpoint of")]),
        ("DELETE FROM entries", [(1, "40 of the last entries are missing")]),
        (
            "INSERT INTO entries SELECT 41, kind, transaction_id, body, personal, seal FROM entries WHERE number = 3",
            [(41, "does not match its seal, or does not follow")],
        ),
    ],
)
def test_changes_are_findings(kept: Path, statement: str, findings: list[tuple[int, str]]) -> None:
    execute_sql(kept / "journal.db", statement)
    found = looked_at(kept).findings
    assert [number for number, _ in found] == [number for number, _ in findings]
    assert all(told.startswith(said) for (_, told), (_, said) in zip(found, findings, strict=True))


def test_a_checkpoint_reveals_a_forgery_with_the_key(kept: Path) -> None:
    (kept / "journal.db").rename(kept / "old.db")
    with (
        closing(SqliteJournal(kept / "journal.db", key=KEY)) as forged,
        closing(sqlite3.connect(kept / "old.db")) as old,
    ):
        store = old.execute("SELECT value FROM facts WHERE name = 'store'").fetchone()[0]
        forged.append([*transaction_entries(14), transaction_entry(15, amount=1), *transaction_entries(25, 16)])
    execute_sql(kept / "journal.db", f"UPDATE facts SET value = '{store}' WHERE name = 'store'")
    found = looked_at(kept).findings
    assert [number for number, _ in found] == [20, 30, 40]
    assert {said for _, said in found} == {"has another seal than a checkpoint recorded"}


def test_changed_personal_data_is_a_finding(tmp_path: Path) -> None:
    with closing(SqliteJournal(tmp_path / "journal.db", key=KEY)) as journal:
        journal.append([transaction_entry(1, card_id="c1"), transaction_entry(2, card_id="c2")])
    execute_sql(tmp_path / "journal.db", "UPDATE entries SET personal = CAST(replace(personal, 'c1', 'c9') AS BLOB)")
    assert looked_at(tmp_path).findings == [(1, "has personal data that does not match the hash in its body")]


def test_a_checkpoint_is_written_only_if_the_end_has_moved(kept: Path) -> None:
    anchors = CheckpointFile(kept / "anchors.jsonl", key=KEY)
    with closing(SqliteJournal(kept / "journal.db", key=KEY)) as journal:
        assert anchors.append(journal.store, journal.end) is None
        journal.append([transaction_entry(41)])
        told = anchors.append(journal.store, journal.end)
        assert told is not None
        assert (told.number, told.seal) == (41, journal.end[1].hex())
        assert [one.number for one in anchors.read().of_store(journal.store)] == [10, 20, 30, 40, 41]
        assert anchors.read().of_store("another") == []


@pytest.mark.parametrize(
    ("before", "after"), [('"number": 20', '"number": 19'), ('"at": "2', '"at": "3'), ('{"store"', "{store")]
)
def test_a_changed_checkpoint_does_not_invalidate_others(kept: Path, before: str, after: str) -> None:
    path = kept / "anchors.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[1].replace(before, after), *lines[2:]]))
    claims = CheckpointFile(path, key=KEY).read()
    assert claims.damaged[0] == 2
    assert {10, 40} <= {anchor.number for anchor in claims.verified} <= {10, 30, 40}
    path.write_text("".join([lines[0], *lines[2:]]))
    claims = CheckpointFile(path, key=KEY).read()
    assert (claims.damaged, [anchor.number for anchor in claims.verified]) == ((2,), [10, 40])


def test_an_incomplete_checkpoint_is_replaced(kept: Path) -> None:
    path = kept / "anchors.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert looked_at(kept).findings == []
    with closing(SqliteJournal(kept / "journal.db", key=KEY)) as journal:
        assert CheckpointFile(path, key=KEY).append(journal.store, journal.end) is not None
        assert [one.number for one in CheckpointFile(path, key=KEY).read().of_store(journal.store)] == [10, 20, 30, 40]


def test_a_checkpoint_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be written"):
        CheckpointFile(tmp_path).append("a", (1, hash_chain.START))
