"""Whether the journal is what it was, and the end of what it knows about a cardholder."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

import polars as pl

from fraud3000 import durations
from fraud3000.data.cleaning.card_names import CardNameStore
from fraud3000.data.storage import atomic_write
from fraud3000.errors import CheckFailed, DataError, UnavailableError
from fraud3000.features.online.event_encoder import microseconds
from fraud3000.params import Params
from fraud3000.promotion.hash_chain import user
from fraud3000.redact import mask
from fraud3000.service.data_dir import DataDir
from fraud3000.service.http.validation import AHEAD
from fraud3000.service.journal import audit as audits
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.checkpoints import CheckpointClaims
from fraud3000.service.journal.claims import MissingJournal, missing_journals, of_journal, require_untouched
from fraud3000.service.journal.entries import AcknowledgementEntry, RepairEntry
from fraud3000.service.journal.high_water_mark import HighWaterMark
from fraud3000.service.journal.repair import Corrections, find, newest_left
from fraud3000.signals import uninterrupted
from fraud3000.stages.keys import key_of
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.service_store import anchors_of, journal_of, service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_SHOWN = 20
"""Findings that are told one by one."""


def verify(params: Params) -> Summary:
    """Look for edits, gaps, insertions and a lost end in the journal and its archive; a running service is not disturbed.

    Raises
    ------
    CheckFailed
        The journal cannot be read at all.
    DataError
        There is none, and there never was one.
    """
    key = hash_chain.audit_key(os.environ)
    anchors = anchors_of(params).read()
    root = service_folder(params)
    if not (root / "journal.db").exists():
        return _without_journal(params, anchors)
    with closing(journal_of(params)) as journal, show_status("following the seals"):
        problems = [f"{anchors_of(params).path}: line {line} is not as it was written" for line in anchors.damaged]
        problems += [_missing_journal(one) for one in missing_journals(journal, anchors, journal.mark.read())]
        claims = of_journal(journal, anchors)
        notes = [entry for entry in journal.of_transaction("") if isinstance(entry, AcknowledgementEntry)]
        told = anchors.of(journal.store)
        try:
            found = audits.audit(journal.steps_after(0), told, claims, notes)
        except (CheckFailed, DataError) as error:
            found = audits.Audit()
            problems.append(error.message)
        moved, unmarked = journal.moved, journal.mark.read() is None and journal.last > 0
        if journal.mark.altered:
            problems.append(f"{journal.mark.path}: is not as it was written")
    facts = {
        "entries": found.entries,
        "in the archive": moved,
        "expired": found.expired,
        "sealed with": f"key {hash_chain.name_of(key)}" if key else "no key",
        "anchors": len(told),
        "last anchor": told[-1].at if told else None,
        "acknowledged losses": len(found.acknowledged),
        "findings": len(found.findings) + len(problems),
    }
    if not found.acknowledged:
        del facts["acknowledged losses"]
    rows = [("", problem) for problem in problems] + [(f"{number:,}", said) for number, said in found.findings]
    lost = [(f"{number:,}", said) for number, said in found.acknowledged]
    return Summary(
        command="audit verify",
        facts=facts,
        tables=(*_table("Findings", rows), *_table("Acknowledged losses", lost)),
        warnings=_warnings(
            keyed=bool(key), anchored=bool(told) or bool(problems), marked=not unmarked, shown=max(len(rows), len(lost))
        ),
        refused=f"{len(rows):,} findings: the journal is not what was written" if rows else None,
    )


def acknowledge(params: Params, reason: str) -> Summary:
    """Seal a person's acknowledgement that entries are lost; the service does not run meanwhile.

    Parameters
    ----------
    reason
        Why they are lost, or why their loss is accepted.

    Raises
    ------
    DataError
        Nothing is lost, or the reason is empty.
    UnavailableError
        The service runs, or its files cannot be written.
    """
    if not reason.strip():
        raise DataError("--reason: is empty", hint="Say why the entries are lost.")
    root = service_folder(params)
    anchors = anchors_of(params)
    claimed = anchors.read()
    if not root.exists() and not claimed.verified:
        raise DataError(f"{root}: no service has kept a journal there", hint="See serve.store of the params.")
    with closing(DataDir(root, anchors)) as folder, uninterrupted(), show_status("acknowledging the loss"):
        now = microseconds(datetime.now(UTC))
        lost = folder.acknowledge(mask(reason.strip()), user(), now, key=hash_chain.audit_key(os.environ))
        if lost is None:
            raise DataError(f"{root}: nothing is lost", hint="`fraud3000 audit verify` lists what is wrong.")
    rows = [(f"{first:,}" if first == last else f"{first:,} to {last:,}",) for first, last in lost.holes]
    rows += [(f"journal {store}, {number:,} entries",) for store, number in lost.stores]
    return Summary(
        command="audit acknowledge",
        facts={
            "entry": lost.number,
            "lost entries": sum(last - first + 1 for first, last in lost.holes),
            "lost journals": len(lost.stores),
            "by": lost.by,
            "reason": lost.reason,
        },
        tables=_table("Acknowledged as lost", rows, ("entries",)),
        next_step="fraud3000 audit verify",
    )


def repair(params: Params, reason: str) -> Summary:
    """Correct times that a wrong clock gave to entries, by a sealed entry; the service does not run meanwhile.

    Transactions that lie in the future are withdrawn: features and exports ignore them from here on, and their decisions stay.
    Label records that were dated into the future count from the time at which they can have come.

    Raises
    ------
    DataError
        No entry lies in the future, or the reason is empty.
    UnavailableError
        The service runs, or its files cannot be written.
    """
    if not reason.strip():
        raise DataError("--reason: is empty", hint="Say what happened to the clock.")
    root, key, now = service_folder(params), hash_chain.audit_key(os.environ), datetime.now(UTC)
    journal_of(params).close()
    with (
        closing(DataDir(root, anchors_of(params))) as folder,
        uninterrupted(),
        show_status("repairing"),
        closing(folder.journal(key=key)) as journal,
    ):
        before = Corrections.of_journal(journal)
        entries = before.apply(journal.after(0))
        withdrawn, recorded = find(entries, now=now, ahead=AHEAD, jump=params.serve.clock.jump)
        if not withdrawn and not recorded:
            jump = durations.text(round(params.serve.clock.jump.total_seconds()))
            raise DataError(
                f"{root}: no entry lies more than {jump} in the future of what came after it",
                hint="`fraud3000 audit verify` lists what is wrong with the journal.",
            )
        gone = before.withdrawn | set(withdrawn)
        left = (one for one in journal.after(0) if one.number not in gone)
        entry = RepairEntry(
            journal.last + 1,
            microseconds(now),
            user(),
            mask(reason.strip()),
            tuple(withdrawn),
            tuple(recorded),
            newest_left(left),
        )
        folder.forget_snapshots()  # they have seen what is withdrawn; before the entry, in case this is cut off
        journal.append([entry])
    return Summary(
        command="audit repair",
        facts={
            "entry": entry.number,
            "withdrawn transactions": len(withdrawn),
            "label records with another time": len(recorded),
            "by": entry.by,
            "reason": entry.reason,
        },
        next_step="fraud3000 serve",
    )


def _without_journal(params: Params, anchors: CheckpointClaims) -> Summary:
    """A finding for every journal that was anchored and is gone.

    Raises
    ------
    DataError
        There never was one.
    """
    root = service_folder(params)
    mark = HighWaterMark(anchors_of(params).mark, key=hash_chain.audit_key(os.environ)).read()
    rows = [("", _missing_journal(one)) for one in missing_journals(None, anchors, mark)]
    try:
        require_untouched(root, anchors, anchors_of(params).mark)
    except UnavailableError as error:
        rows = rows or [("", error.message)]
    if not rows:
        raise DataError(f"{root}: no service has kept a journal there", hint="See serve.store of the params.")
    return Summary(
        command="audit verify",
        facts={"entries": 0, "anchors": len(anchors.verified), "findings": len(rows)},
        tables=_table("Findings", rows),
        refused=f"{len(rows):,} findings: {root} has no journal.db",
    )


def _missing_journal(missing: MissingJournal) -> str:
    return f"journal {missing.store} is gone: {missing.source} saw {missing.number:,} entries"


def _table(
    title: str, rows: Sequence[tuple[str, ...]], columns: tuple[str, ...] = ("entry", "what is wrong")
) -> tuple[Table, ...]:
    return (Table(title, columns, tuple(rows[:_SHOWN])),) if rows else ()


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
    known = CardNameStore(Workspace.from_params(params).card_names)
    name = _name(card, params)
    with closing(DataDir(root, anchors_of(params))) as folder, uninterrupted(), show_status("erasing"):
        begun = root / "erasing.json"
        names = json.loads(begun.read_text(encoding="utf-8")) if begun.exists() else {}
        names.setdefault(name, f"erased-{secrets.token_hex(12)}")
        with atomic_write.whole(begun) as (part,):
            part.write_text(json.dumps(names), encoding="utf-8")
        rows = folder.erase(names)
        with closing(folder.journal(key=hash_chain.audit_key(os.environ))) as journal:
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
    return CardNameStore(Workspace.from_params(params).card_names).firsts([card]).get(card, card)


def _warnings(*, keyed: bool, anchored: bool, marked: bool, shown: int) -> tuple[str, ...]:
    said = []
    if not keyed:
        said.append(f"no {hash_chain.VARIABLE} seals it: whoever can write the journal could seal another one")
    if not anchored:
        said.append("no anchor tells how long it was: a cut tail does not show")
    if not marked:
        said.append("no high-water mark tells its last acknowledged entry: a cut since the last anchor does not show")
    if shown > _SHOWN:
        said.append(f"only the first {_SHOWN} findings are shown")
    return tuple(said)
