"""Recovery of a damaged journal: intact entries stay under the journal's name, and lost ones become holes.

The new database is written beside the old one, as ``journal.db.rescued.part``, and renamed to ``journal.db.rescued`` when it
is complete (`rebuild`). Then the old files get second names (``journal.db.damaged-<time>``), and one rename replaces the
old database by the new one. If the process is killed in between, either the old journal or a complete rebuilt one is left,
and the next start finishes the rest.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fraud3000.data.storage import atomic_write
from fraud3000.errors import CheckFailed
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.archive import Archive
from fraud3000.service.journal.checkpoints import CheckpointClaims
from fraud3000.service.journal.high_water_mark import HighWaterMark, Mark
from fraud3000.service.journal.holes import Hole
from fraud3000.service.journal.rebuild import Rebuild, rebuild, rescued_path, sync_folder
from fraud3000.service.journal.sqlite_schema import DAMAGE_ERRORS, DATABASE_SUFFIXES, MARK_NAME, connect


@dataclass(frozen=True)
class Recovered:
    """Result of a recovery.

    Attributes
    ----------
    intact
        How many entries are intact, those of the archive included.
    holes
        Lost entries that were not known before.
    aside
        Path of the damaged database.
    """

    intact: int
    holes: tuple[Hole, ...]
    aside: Path


def recover(
    path: Path,
    checkpoints: CheckpointClaims | None = None,
    *,
    key: bytes = b"",
    mark: Path | None = None,
    archive_only: bool = False,
) -> Recovered:
    """Rebuild a damaged journal from its intact entries, and rename the damaged files.

    Parameters
    ----------
    path
        Of the database; its archive is beside it.
    checkpoints
        Content of its checkpoint file.
    key
        The audit key.
    mark
        File of the high-water mark; see `SqliteJournal`.
    archive_only
        Ignore a database that cannot be opened or is missing, and continue after the archive under the journal's last name.

    Raises
    ------
    CheckFailed
        The database cannot be opened at all; it is left unchanged.
    DataError
        A file of the archive cannot be read.
    ParamsError
        The journal is sealed with another key.
    UnavailableError
        The disk is full.
    """
    checkpoints = checkpoints or CheckpointClaims()
    last_mark = HighWaterMark(mark or path.with_name(MARK_NAME), key=key).read()
    if archive_only:
        store = checkpoints.verified[-1].store if checkpoints.verified else secrets.token_hex(8)
        facts = {"store": store if last_mark is None else last_mark.store, "key": hash_chain.name_of(key)}
        last = Archive(path.parent / "archive").last
        result = rebuild(None, path, key, {**facts, "moved": last}, last)
    else:
        result = _rebuild_from_database(path, key, checkpoints, last_mark)
    aside = _replace_database(path)
    return Recovered(result.intact, tuple(result.new_holes), aside)


def finish(path: Path) -> Path | None:
    """Finish an interrupted recovery; return the new path of the damaged database, None if there is nothing to do.

    A recovery never leaves the database's path empty. If it is empty, it was not a recovery, and nothing is done.
    """
    return _replace_database(path) if path.exists() and rescued_path(path).exists() else None


def _rebuild_from_database(path: Path, key: bytes, checkpoints: CheckpointClaims, mark: Mark | None) -> Rebuild:
    with atomic_write.scratch_dir(path) as scratch:
        source = _copy(path, scratch)
        try:
            with closing(connect(source)) as damaged:
                facts = dict(damaged.execute("SELECT name, value FROM facts").fetchall())
                store = facts.get("store")
                claimed = [checkpoint.number for checkpoint in checkpoints.of_store(str(store))]
                claimed += [mark.number] if mark is not None and mark.store == store else []
                return rebuild(damaged, path, key, facts, max(claimed, default=0))
        except DAMAGE_ERRORS as error:
            raise CheckFailed(
                f"{path}: cannot be opened ({error})",
                hint="Restore it from a backup, or accept the loss with `fraud3000 audit acknowledge --reason …`.",
            ) from error


def _replace_database(path: Path) -> Path:
    """Replace the damaged database by the complete rebuilt one; safe to repeat after a crash at any point."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    for suffix in DATABASE_SUFFIXES:
        old = Path(f"{path}{suffix}")
        if old.exists():
            os.link(old, f"{aside}{suffix}")
    for suffix in DATABASE_SUFFIXES[1:]:  # SQLite would apply them to the new database
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    rescued_path(path).replace(path)
    sync_folder(path.parent)
    return aside


def _copy(path: Path, folder: Path) -> Path:
    """Copy the database to read from, since SQLite changes what it opens."""
    for suffix in DATABASE_SUFFIXES[:2]:
        if Path(f"{path}{suffix}").exists():
            shutil.copyfile(f"{path}{suffix}", folder / f"{path.name}{suffix}")
    return folder / path.name
