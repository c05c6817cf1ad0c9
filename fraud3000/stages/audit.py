"""Audit of the journal: verify it, acknowledge losses, repair wrong times, and erase a cardholder's personal data."""

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
from fraud3000.service.journal import audit as journal_audit
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.checkpoints import CheckpointClaims
from fraud3000.service.journal.claims import MissingJournal, journal_claims, missing_journals, require_new
from fraud3000.service.journal.high_water_mark import HighWaterMark
from fraud3000.service.journal.repair import Corrections, find_wrong_times, newest_transaction_time
from fraud3000.service.operator_entries import AcknowledgementEntry, RepairEntry
from fraud3000.signals import uninterrupted
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.service_store import checkpoint_file, open_journal, service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace, card_names_loader

_MAX_LISTED = 20
"""Maximum number of findings that are listed."""


def verify(params: Params) -> Summary:
    """Find edits, gaps, insertions and a lost end in the journal and its archive; the service may be running.

    Raises
    ------
    CheckFailed
        The journal cannot be read at all.
    DataError
        There is no journal, and there never was one.
    """
    key = hash_chain.audit_key(os.environ)
    checkpoints = checkpoint_file(params).read()
    root = service_folder(params)
    if not (root / "journal.db").exists():
        return _verify_without_journal(params, checkpoints)
    with closing(open_journal(params)) as journal, show_status("verifying seals"):
        problems = [f"{checkpoint_file(params).path}: line {line} was altered" for line in checkpoints.damaged]
        problems += [_missing_journal(lost) for lost in missing_journals(journal, checkpoints, journal.mark.read())]
        claims = journal_claims(journal, checkpoints)
        acknowledged = [entry for entry in journal.of_transaction("") if isinstance(entry, AcknowledgementEntry)]
        own_checkpoints = checkpoints.of_store(journal.store)
        try:
            result = journal_audit.audit(journal.steps_after(0), own_checkpoints, claims, acknowledged)
        except (CheckFailed, DataError) as error:
            result = journal_audit.Audit()
            problems.append(error.message)
        moved, unmarked = journal.moved, journal.mark.read() is None and journal.last > 0
        if journal.mark.altered:
            problems.append(f"{journal.mark.path}: was altered")
    facts = {
        "entries": result.entries,
        "in the archive": moved,
        "expired": result.expired,
        "sealed with": f"key {hash_chain.name_of(key)}" if key else "no key",
        "anchors": len(own_checkpoints),
        "last anchor": own_checkpoints[-1].at if own_checkpoints else None,
        "acknowledged losses": len(result.acknowledged),
        "findings": len(result.findings) + len(problems),
    }
    if not result.acknowledged:
        del facts["acknowledged losses"]
    rows = [("", problem) for problem in problems] + [(f"{number:,}", problem) for number, problem in result.findings]
    lost = [(f"{number:,}", problem) for number, problem in result.acknowledged]
    return Summary(
        command="audit verify",
        facts=facts,
        tables=(*_table("Findings", rows), *_table("Acknowledged losses", lost)),
        warnings=_warnings(
            keyed=bool(key),
            checkpointed=bool(own_checkpoints) or bool(problems),
            marked=not unmarked,
            listed=max(len(rows), len(lost)),
        ),
        refused=f"{len(rows):,} findings: the journal does not match what was written" if rows else None,
    )


def acknowledge(params: Params, reason: str) -> Summary:
    """Seal an operator's acknowledgement that entries are lost; the service must not be running.

    Parameters
    ----------
    reason
        Why they are lost, or why their loss is accepted.

    Raises
    ------
    DataError
        Nothing is lost, or the reason is empty.
    UnavailableError
        The service is running, or its files cannot be written.
    """
    if not reason.strip():
        raise DataError("--reason: is empty", hint="State why the entries are lost.")
    root = service_folder(params)
    checkpoints = checkpoint_file(params)
    if not root.exists() and not checkpoints.read().verified:
        raise DataError(f"{root}: has no service journal", hint="Check serve.store in the params file.")
    with closing(DataDir(root, checkpoints)) as folder, uninterrupted(), show_status("acknowledging the loss"):
        now = microseconds(datetime.now(UTC))
        entry = folder.acknowledge(mask(reason.strip()), user(), now, key=hash_chain.audit_key(os.environ))
        if entry is None:
            raise DataError(f"{root}: nothing is lost", hint="`fraud3000 audit verify` lists what is wrong.")
    rows = [(f"{first:,}" if first == last else f"{first:,} to {last:,}",) for first, last in entry.holes]
    rows += [(f"journal {store}, {number:,} entries",) for store, number in entry.stores]
    return Summary(
        command="audit acknowledge",
        facts={
            "entry": entry.number,
            "lost entries": sum(last - first + 1 for first, last in entry.holes),
            "lost journals": len(entry.stores),
            "by": entry.by,
            "reason": entry.reason,
        },
        tables=_table("Acknowledged as lost", rows, ("entries",)),
        next_step="fraud3000 audit verify",
    )


def repair(params: Params, reason: str) -> Summary:
    """Correct times that a wrong clock gave to entries, by a sealed entry; the service must not be running.

    Transactions that are dated in the future are withdrawn: features and exports ignore them from then on; their decisions
    stay. Label records that are dated in the future get the earliest time at which they can have arrived.

    Raises
    ------
    DataError
        No entry is dated in the future, or the reason is empty.
    UnavailableError
        The service is running, or its files cannot be written.
    """
    if not reason.strip():
        raise DataError("--reason: is empty", hint="State what happened to the clock.")
    root, key, now = service_folder(params), hash_chain.audit_key(os.environ), datetime.now(UTC)
    open_journal(params).close()  # raises if there is none
    with (
        closing(DataDir(root, checkpoint_file(params))) as folder,
        uninterrupted(),
        show_status("repairing"),
        closing(folder.journal(key=key)) as journal,
    ):
        before = Corrections.from_journal(journal)
        entries = before.apply(journal.after(0))
        withdrawn, recorded = find_wrong_times(entries, now=now, ahead=AHEAD, jump=params.serve.clock.jump)
        if not withdrawn and not recorded:
            jump = durations.text(round(params.serve.clock.jump.total_seconds()))
            raise DataError(
                f"{root}: no entry is dated more than {jump} after entries that arrived later",
                hint="`fraud3000 audit verify` lists what is wrong with the journal.",
            )
        all_withdrawn = before.withdrawn | set(withdrawn)
        remaining = (entry for entry in journal.after(0) if entry.number not in all_withdrawn)
        repair_entry = RepairEntry(
            journal.last + 1,
            microseconds(now),
            user(),
            mask(reason.strip()),
            tuple(withdrawn),
            tuple(recorded),
            newest_transaction_time(remaining),
        )
        folder.delete_snapshots()  # they contain withdrawn entries; first, in case this is interrupted
        journal.append([repair_entry])
    return Summary(
        command="audit repair",
        facts={
            "entry": repair_entry.number,
            "withdrawn transactions": len(withdrawn),
            "label records with another time": len(recorded),
            "by": repair_entry.by,
            "reason": repair_entry.reason,
        },
        next_step="fraud3000 serve",
    )


def _verify_without_journal(params: Params, checkpoints: CheckpointClaims) -> Summary:
    """Report every journal that checkpoints or the high-water mark record and that is missing.

    Raises
    ------
    DataError
        There never was a journal.
    """
    root = service_folder(params)
    mark = HighWaterMark(checkpoint_file(params).mark, key=hash_chain.audit_key(os.environ)).read()
    rows = [("", _missing_journal(lost)) for lost in missing_journals(None, checkpoints, mark)]
    try:
        require_new(root, checkpoints, checkpoint_file(params).mark)
    except UnavailableError as error:
        rows = rows or [("", error.message)]
    if not rows:
        raise DataError(f"{root}: has no service journal", hint="Check serve.store in the params file.")
    return Summary(
        command="audit verify",
        facts={"entries": 0, "anchors": len(checkpoints.verified), "findings": len(rows)},
        tables=_table("Findings", rows),
        refused=f"{len(rows):,} findings: {root} has no journal.db",
    )


def _missing_journal(missing: MissingJournal) -> str:
    return f"journal {missing.store} is missing: {missing.source} recorded {missing.number:,} entries"


def _table(
    title: str, rows: Sequence[tuple[str, ...]], columns: tuple[str, ...] = ("entry", "what is wrong")
) -> tuple[Table, ...]:
    return (Table(title, columns, tuple(rows[:_MAX_LISTED])),) if rows else ()


def erase(params: Params, card: str) -> Summary:
    """Erase a cardholder's personal data; decisions and their signatures remain. The service must not be running.

    The card gets a random pseudonym, and its coordinates are deleted. Features that count the card count its pseudonym.
    Snapshots are deleted, since they contain the card, so the next start takes longer.

    Parameters
    ----------
    card
        As in the prepared transactions; or its number, if card numbers are hashed.

    Raises
    ------
    DataError
        The card is unknown.
    UnavailableError
        The service is running, or its files cannot be written.
    """
    root = service_folder(params)
    open_journal(params).close()  # raises if there is none
    card_names = CardNameStore(Workspace.from_params(params).card_names)
    name = _first_name(card, params)
    with closing(DataDir(root, checkpoint_file(params))) as folder, uninterrupted(), show_status("erasing"):
        pending = root / "erasing.json"
        names = json.loads(pending.read_text(encoding="utf-8")) if pending.exists() else {}
        names.setdefault(name, f"erased-{secrets.token_hex(12)}")
        with atomic_write.atomic_outputs(pending) as (part,):
            part.write_text(json.dumps(names), encoding="utf-8")
        rows = folder.erase(names)
        with closing(folder.journal(key=hash_chain.audit_key(os.environ))) as journal:
            entries = journal.erase(names, microseconds(datetime.now(UTC)))
        card_names.delete(name)
        pending.unlink()
    if not rows + entries:
        raise DataError("the card: is unknown to the service", hint="Name it as in the prepared transactions.")
    facts = {"transactions of the history": rows, "entries of the journal": entries, "journal": str(root)}
    return Summary(
        command="audit erase",
        facts=facts,
        warnings=(
            "the workspace's own files, and backups, still contain the card: run prepare again from a source without it",
        ),
    )


def _first_name(card: str, params: Params) -> str:
    """Return the first name of a card, by its number or by a later name."""
    if mask(card) != card:
        return str(card_names_loader(Workspace.from_params(params))().names(pl.Series([card]))[0])
    return CardNameStore(Workspace.from_params(params).card_names).first_names([card]).get(card, card)


def _warnings(*, keyed: bool, checkpointed: bool, marked: bool, listed: int) -> tuple[str, ...]:
    warnings = []
    if not keyed:
        warnings.append(
            f"{hash_chain.VARIABLE} is not set: an attacker who can write the journal could forge a sealed one"
        )
    if not checkpointed:
        warnings.append("there is no checkpoint: entries missing from the end cannot be detected")
    if not marked:
        warnings.append(
            "there is no high-water mark: entries missing from the end since the last checkpoint cannot be detected"
        )
    if listed > _MAX_LISTED:
        warnings.append(f"only the first {_MAX_LISTED} findings are listed")
    return tuple(warnings)
