"""Whether the journal is what it was, and the end of what it knows about a cardholder."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import closing
from datetime import UTC, datetime

import polars as pl

from fraud3000.data import outputs
from fraud3000.data.card_names import Book
from fraud3000.errors import CheckFailed, DataError
from fraud3000.features.online.facts import microseconds
from fraud3000.interrupts import uninterrupted
from fraud3000.params import Params
from fraud3000.redact import mask
from fraud3000.service import audit as audits
from fraud3000.service import seals
from fraud3000.service.folder import Folder
from fraud3000.stages.kept import anchors_of, journal_of, service_folder
from fraud3000.stages.keys import key_of
from fraud3000.stages.progress import doing
from fraud3000.stages.summary import Summary, Table
from fraud3000.stages.workspace import Workspace

_SHOWN = 20
"""Findings that are told one by one."""


def verify(params: Params) -> Summary:
    """Look for edits, gaps, insertions and a cut tail in the journal and its archive; a running service is not disturbed.

    Raises
    ------
    CheckFailed
        The journal cannot be read at all.
    DataError
        There is none.
    """
    key = seals.audit_key(os.environ)
    anchors = anchors_of(params)
    with closing(journal_of(params)) as journal, doing("following the seals"):
        problems: list[str] = []
        try:
            told = anchors.of(journal.store)
        except CheckFailed as error:
            told, problems = [], [error.message]
        try:
            found = audits.audit(journal.rows(), told, key=key)
        except (CheckFailed, DataError) as error:
            found = audits.Audit()
            problems.append(error.message)
        moved = journal.moved
    facts = {
        "entries": found.entries,
        "in the archive": moved,
        "expired": found.expired,
        "sealed with": f"key {seals.name_of(key)}" if key else "no key",
        "anchors": len(told),
        "last anchor": told[-1].at if told else None,
        "findings": len(found.findings) + len(problems),
    }
    rows = [("", problem) for problem in problems] + [(f"{number:,}", said) for number, said in found.findings]
    return Summary(
        command="audit verify",
        facts=facts,
        tables=(Table("Findings", ("entry", "what is wrong"), tuple(rows[:_SHOWN])),) if rows else (),
        warnings=_warnings(keyed=bool(key), anchored=bool(told) or bool(problems), shown=len(rows)),
        refused=f"{len(rows):,} findings: the journal is not what was written" if rows else None,
    )


def erase(params: Params, card: str) -> Summary:
    """Take away what the service knows of a cardholder: another name for the card, nothing of where it lives.

    What was decided stays, with its seals; features of others that counted the card go on counting it under its new name.
    The service does not run meanwhile. Snapshots go, since they know the card; its next start takes longer.

    Parameters
    ----------
    card
        As it stands in what was prepared; or its number, where that hashes them.

    Raises
    ------
    DataError
        Nothing is known of the card.
    UnavailableError
        The service runs, or its files cannot be written.
    """
    root = service_folder(params)
    journal_of(params).close()
    known = Book(Workspace.of(params).card_names)
    name = _name(card, params)
    with closing(Folder(root)) as folder, uninterrupted(), doing("erasing"):
        begun = root / "erasing.json"
        names = json.loads(begun.read_text(encoding="utf-8")) if begun.exists() else {}
        names.setdefault(name, f"erased-{secrets.token_hex(12)}")
        with outputs.whole(begun) as (part,):
            part.write_text(json.dumps(names), encoding="utf-8")
        rows = folder.erase(names)
        with closing(folder.journal(key=seals.audit_key(os.environ))) as journal:
            entries = journal.erase(names, microseconds(datetime.now(UTC)))
        known.forget(name)
        begun.unlink()
    if not rows + entries:
        raise DataError("the card: nothing is known of it", hint="Name it as the prepared transactions do.")
    facts = {"transactions of the history": rows, "entries of the journal": entries, "journal": str(root)}
    return Summary(
        command="audit erase",
        facts=facts,
        warnings=(
            "the workspace's own files, and backups, still know the card: prepare anew from a source without it",
        ),
    )


def _name(card: str, params: Params) -> str:
    """The first name that a card goes by: that of its number, or of another name."""
    if mask(card) != card:
        return str(key_of(params)().names(pl.Series([card]))[0])
    return Book(Workspace.of(params).card_names).firsts([card]).get(card, card)


def _warnings(*, keyed: bool, anchored: bool, shown: int) -> tuple[str, ...]:
    said = []
    if not keyed:
        said.append(f"no {seals.VARIABLE} seals it: whoever can write the journal could seal another one")
    if not anchored:
        said.append("no anchor tells how long it was: a cut tail does not show")
    if shown > _SHOWN:
        said.append(f"only the first {_SHOWN} findings are shown")
    return tuple(said)
