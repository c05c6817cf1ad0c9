"""A small service store for tampering tests, and the errors and findings of start and audit."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from fraud3000.errors import DataError, FraudError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Window
from fraud3000.params import Params
from fraud3000.service.data_dir import DataDir
from fraud3000.service.engine import feature_state
from fraud3000.service.entries import Entry
from fraud3000.service.journal.archive import Archive
from fraud3000.service.journal.checkpoints import CheckpointFile
from fraud3000.stages import audit
from fraud3000.stages.shared.service_store import checkpoint_file, service_folder
from tests.service.test_journal import transaction_entry

CATALOGUE = Catalogue((Window("card_id", "1d", "count"),), label_delay=0)
KEY = "a key that is long enough for the audit"
ENTRIES = 120
_ARCHIVED = 30  # the first entries are in the archive
_ANCHORED = (40, 80, 100)  # the last twenty entries are covered by the high-water mark alone


def params_of(place: Path) -> Params:
    """Params of a service whose store lies in a folder."""
    params = Params()
    return params.model_copy(update={"serve": params.serve.model_copy(update={"store": str(place / "service")})})


def entry(number: int) -> Entry:
    """The entry of a number."""
    return transaction_entry(number, card_id=f"c{number % 7}")


def build(place: Path) -> None:
    """Write a store of a service that was killed, with backups of its folder after 40 and 80 entries."""
    params = params_of(place / "live")
    with (
        closing(DataDir(service_folder(params), checkpoint_file(params))) as folder,
        closing(folder.journal(key=KEY.encode())) as journal,
    ):
        folder.seed(None, None, {"history": None})
        for number in range(1, ENTRIES + 1):
            journal.append([entry(number)])
            if number == _ARCHIVED:
                journal.move(datetime.now(UTC))
            if number in _ANCHORED:
                CheckpointFile(checkpoint_file(params).path, key=KEY.encode()).append(journal.store, journal.end)
            if number in _ANCHORED[:2]:
                shutil.copytree(folder.root, place / f"backup-{number}")
        shutil.copytree(place / "live", place / "killed")  # with its write-ahead log


def other_journal(path: Path) -> None:
    """Write another service's journal, under the same key."""
    params = params_of(path)
    with closing(DataDir(service_folder(params))) as folder, closing(folder.journal(key=KEY.encode())) as journal:
        journal.append([entry(number) for number in range(1, 31)])


def start(params: Params) -> FraudError | None:
    """Open the journal as a start of the service does; the error that it ends with."""
    try:
        with closing(DataDir(service_folder(params), checkpoint_file(params))) as folder:
            kept = folder.open(CATALOGUE, key=KEY.encode())
            end = kept.journal.end
            feature_state.save(folder.root, kept.store, end)
            checkpoint_file(params).append(kept.journal.store, end)
            kept.journal.close()
    except FraudError as error:
        return error
    return None


def findings(params: Params) -> list[str]:
    """Findings of `audit verify`; an unreadable journal counts as one too."""
    try:
        told = audit.verify(params)
    except FraudError as error:
        return [error.message]
    rows = [table.rows for table in told.tables if table.title == "Findings"]
    assert bool(rows) == (told.refused is not None)
    return [str(row) for table in rows for row in table]


def whole(params: Params) -> set[int]:
    """Numbers of the entries that can be read from the journal and are what was acknowledged."""
    path = service_folder(params) / "journal.db"
    archived: set[int] = set()
    with suppress(DataError):
        rows = Archive(path.parent / "archive").after(0, _ARCHIVED)
        archived.update(row.number for row in rows if same(row.number, row.body))
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT number, body FROM entries ORDER BY number").fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return archived
    return archived | {number for number, body in rows if number <= ENTRIES and same(number, body)}


def same(number: int, body: object) -> bool:
    """Return True if a body equals that of an entry, except for its random salt."""
    return body == entry(number).body()
