"""Access to the service's folder, journal and models for commands that inspect them."""

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
from fraud3000.service.entries import LateDecisionEntry, TransactionEntry
from fraud3000.service.journal import hash_chain
from fraud3000.service.journal.checkpoints import CheckpointFile
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.shared.workspace import Workspace


def service_folder(params: Params) -> Path:
    """Return the service's data folder."""
    return Path(params.serve.store or Workspace.from_params(params).root / "service")


def api_keys_file(params: Params) -> Path:
    """Return the path of the service's hashed API keys."""
    return service_folder(params) / "keys.json"


def open_journal(params: Params) -> SqliteJournal:
    """Open the service's journal; the service may be running.

    Raises
    ------
    CheckFailed
        Its last entries are damaged.
    DataError
        There is no journal.
    ParamsError
        It is sealed with another key than that of the environment.
    UnavailableError
        It cannot be read.
    """
    root = service_folder(params)
    if not (root / "journal.db").exists():
        raise DataError(f"{root}: has no service journal", hint="Check serve.store in the params file.")
    key, mark = hash_chain.audit_key(os.environ), checkpoint_file(params).mark
    return SqliteJournal(root / "journal.db", key=key, create=False, mark=mark)


def checkpoint_file(params: Params) -> CheckpointFile:
    """Return the file of the journal's checkpoints."""
    root = service_folder(params)
    path = root.with_name(f"{root.name}.anchors.jsonl") if params.serve.anchors is None else Path(params.serve.anchors)
    return CheckpointFile(path, key=hash_chain.audit_key(os.environ))


def find_decision(journal: SqliteJournal, id_: str) -> TransactionEntry:
    """Return the transaction entry, with its decision, for the id of a transaction or of a decision.

    Raises
    ------
    DataError
        The journal does not have it.
    """
    entries = journal.of_transaction(id_)
    if not entries and len(id_) == 24:
        by_number = _transaction_of_decision(journal, id_)
        entries = [] if by_number is None else journal.of_transaction(by_number.transaction_id)
    transaction = next((entry for entry in entries if isinstance(entry, TransactionEntry)), None)
    if transaction is None:
        raise DataError(
            f"{id_}: is not in the journal", hint="Name the id of a transaction or of a decision of this service."
        )
    late = next((entry.answer for entry in entries if isinstance(entry, LateDecisionEntry)), None)
    return transaction if late is None else transaction.answered(late)


def _transaction_of_decision(journal: SqliteJournal, id_: str) -> TransactionEntry | None:
    try:
        entry = journal.entry(int(id_[:12], 16))
    except ValueError:
        return None
    return entry if isinstance(entry, TransactionEntry) else None


def load_deciders(workspace: Workspace, decided: Iterable[TransactionEntry]) -> dict[str, Decider]:
    """Load the models that made some decisions, by the SHA-256 of their bundles.

    Raises
    ------
    ScorerError
        The bundle of a model is missing.
    """
    versions = {entry.answer.fingerprint: entry.answer.model_version for entry in decided if entry.answer is not None}
    folders = {bundle.fingerprint(folder): folder for folder in workspace.models.glob("*/") if folder.is_dir()}
    deciders = {}
    for fingerprint, version in versions.items():
        if fingerprint not in folders:
            raise ScorerError(
                f"{workspace.models}: the bundle of version {version} with fingerprint {fingerprint[:12]} is missing",
                hint="Restore the folder of that version.",
            )
        deciders[fingerprint] = Decider(Scorer.load(folders[fingerprint], version=version), fingerprint, Fallback())
    return deciders
