"""What a service of these params has kept, for commands that look at it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fraud3000.errors import DataError, ScorerError
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.service.engine.decider import Decider
from fraud3000.service.engine.fallback import Fallback
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.checkpoints import CheckpointFile
from fraud3000.service.journal.entries import LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.shared.workspace import Workspace


def service_folder(params: Params) -> Path:
    """Where the service keeps what it knows."""
    return Path(params.serve.store or Workspace.from_params(params).root / "service")


def journal_of(params: Params) -> SqliteJournal:
    """The journal that a service keeps or has kept; one that runs is not disturbed.

    Raises
    ------
    CheckFailed
        It is damaged where it ends.
    DataError
        There is none.
    ParamsError
        It is sealed with another key than that of the environment.
    UnavailableError
        It cannot be read.
    """
    root = service_folder(params)
    if not (root / "journal.db").exists():
        raise DataError(f"{root}: no service has kept a journal there", hint="See serve.store of the params.")
    key, mark = hash_chain.audit_key(os.environ), anchors_of(params).mark
    return SqliteJournal(root / "journal.db", key=key, create=False, mark=mark)


def anchors_of(params: Params) -> CheckpointFile:
    """The file that tells where the journal ended, from time to time."""
    root = service_folder(params)
    path = root.with_name(f"{root.name}.anchors.jsonl") if params.serve.anchors is None else Path(params.serve.anchors)
    return CheckpointFile(path, key=hash_chain.audit_key(os.environ))


def decision_of(journal: SqliteJournal, id_: str) -> TransactionEntry:
    """The transaction that an id names, or the id of its decision, with its answer.

    Raises
    ------
    DataError
        There is none.
    """
    known = journal.of_transaction(id_)
    if not known and len(id_) == 24:
        entry = _by_number(journal, id_)
        known = [] if entry is None else journal.of_transaction(entry.transaction_id)
    taken = next((entry for entry in known if isinstance(entry, TransactionEntry)), None)
    if taken is None:
        raise DataError(f"{id_}: no decision of the journal", hint="Name a transaction or the id of a decision.")
    later = next((entry.answer for entry in known if isinstance(entry, LateDecisionEntry)), None)
    return taken if later is None else taken.answered(later)


def _by_number(journal: SqliteJournal, id_: str) -> TransactionEntry | None:
    try:
        entry = journal.entry(int(id_[:12], 16))
    except ValueError:
        return None
    return entry if isinstance(entry, TransactionEntry) else None


def judges_of(workspace: Workspace, decided: Iterable[TransactionEntry]) -> dict[str, Decider]:
    """The models that decided, by the hash of their bundle.

    Raises
    ------
    ScorerError
        The bundle of one of them is gone.
    """
    versions = {one.answer.fingerprint: one.answer.model_version for one in decided if one.answer is not None}
    folders = {bundle.fingerprint(folder): folder for folder in workspace.models.glob("*/") if folder.is_dir()}
    judges = {}
    for fingerprint, version in versions.items():
        if fingerprint not in folders:
            raise ScorerError(
                f"{workspace.models}: the bundle of version {version} that decided is not there ({fingerprint[:12]})",
                hint="Put the folder of that version back.",
            )
        judges[fingerprint] = Decider(Scorer.load(folders[fingerprint], version=version), fingerprint, Fallback())
    return judges
