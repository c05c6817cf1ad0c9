"""Acknowledge lost entries: mark what cannot be restored as lost, and seal an operator's statement about it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from fraud3000.errors import CheckFailed, DataError
from fraud3000.service.journal import claims, holes
from fraud3000.service.journal.archive import Archive
from fraud3000.service.journal.checkpoints import CheckpointClaims
from fraud3000.service.journal.holes import Hole, Step
from fraud3000.service.journal.rebuild import decodes
from fraud3000.service.journal.recovery import finish, recover
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.service.operator_entries import AcknowledgementEntry


def accept_loss(path: Path, checkpoints: CheckpointClaims, *, key: bytes = b"", mark: Path | None = None) -> bool:
    """Record every lost number as a hole of the journal, whatever is left of its files; return True if it was rebuilt.

    Parameters
    ----------
    path
        Of the database, which may be missing.
    mark
        File of the high-water mark; see `SqliteJournal`.

    Raises
    ------
    UnavailableError
        The files cannot be written.
    """
    finish(path)
    _set_unreadable_aside(Archive(path.parent / "archive"))
    intact = path.exists() and _is_intact(path, key)
    if not intact:
        try:
            recover(path, checkpoints, key=key, mark=mark, archive_only=not path.exists())
        except CheckFailed:
            recover(path, checkpoints, key=key, mark=mark, archive_only=True)
    with closing(SqliteJournal(path, key=key, create=False, mark=mark)) as journal:
        claim = claims.beyond_end(journal, checkpoints)
        if claim is not None:
            number, seal = journal.end
            seal = claim.seal or holes.bridge(key, seal, claim.number)
            journal.add_hole(Hole(number + 1, claim.number, seal, f"is lost: {claim.source} shows that it was there"))
    return not intact


def acknowledgement(
    journal: SqliteJournal, checkpoints: CheckpointClaims, *, reason: str, by: str, at: int, rebuilt: bool
) -> AcknowledgementEntry | None:
    """Return the next entry, which acknowledges new losses; None if nothing is new and nothing was rebuilt."""
    earlier = [entry for entry in journal.of_transaction("") if isinstance(entry, AcknowledgementEntry)]
    new = [
        (hole.first, hole.last)
        for hole in journal.holes
        if not any(entry.covers(hole.first, hole.last) for entry in earlier)
    ]
    missing = claims.missing_journals(journal, checkpoints, journal.mark.read())
    stores = tuple((lost.store, lost.number) for lost in missing)
    if not new and not stores and not rebuilt:
        return None
    return AcknowledgementEntry(journal.last + 1, at, by, reason, tuple(new), stores)


def _is_intact(path: Path, key: bytes) -> bool:
    """True if the database can be read, and every entry is present and verified."""
    try:
        with closing(SqliteJournal(path, key=key, create=False)) as journal:
            return (
                journal.last_alert <= journal.last and journal.complete and all(map(_is_good, journal.steps_after(0)))
            )
    except CheckFailed:
        return False


def _is_good(step: Step) -> bool:
    return step.verified and (step.row is None or decodes(step.row))


def _set_unreadable_aside(archive: Archive) -> None:
    """Rename archive files that cannot be read; their entries are lost."""
    for file in archive.files:
        try:
            for _ in archive.after(file.first - 1, file.last):
                pass
        except DataError:
            file.path.rename(f"{file.path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
