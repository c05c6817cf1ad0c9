"""Replay of logged decisions: recompute each one from the data of its time, and compare it byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from fraud3000.features.online import FeatureStore
from fraud3000.models.inference.decision import Decision
from fraud3000.params import Params
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.decider import Decider
from fraud3000.service.engine.feature_state import from_seed
from fraud3000.service.entries import Entry, LateDecisionEntry, TransactionEntry
from fraud3000.service.journal.holes import count
from fraud3000.service.journal.repair import Corrections
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.service.operator_entries import RepairEntry
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.service_store import find_decision, load_deciders, open_journal, service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_LOST = "{:,} entries of the journal are lost: features that include them differ"
_MAX_LISTED = 10
"""Maximum number of differing decisions that are listed."""


def replay(params: Params, ids: Sequence[str] = ()) -> Summary:
    """Reproduce logged decisions and compare them byte for byte; the service may be running.

    The feature state is rebuilt from the seed history and all entries of the journal, in order. Each transaction's features
    are read from it, and the bundle that made the decision decides again.

    Parameters
    ----------
    ids
        Of transactions or decisions; empty for all.

    Raises
    ------
    CheckFailed
        An entry of the journal does not match its seal.
    DataError
        There is no journal, or it does not have an id.
    ScorerError
        The bundle of a model is missing.
    """
    with closing(open_journal(params)) as journal, show_status("replaying"):
        first_pass = _FirstPass.from_entries(journal.after(0))
        selected = {find_decision(journal, id_).number for id_ in ids}
        deciders = load_deciders(Workspace.from_params(params), first_pass.models.values())
        root = service_folder(params)
        result = _Replay(
            deciders, {decider.catalogue: from_seed(root, decider.scorer.catalogue) for decider in deciders.values()}
        )
        for entry in journal.after(0):
            if isinstance(entry, RepairEntry):
                result.stores = {name: _repaired(store, journal, root, entry) for name, store in result.stores.items()}
            by_catalogue = result.observe(entry)
            if isinstance(entry, TransactionEntry) and (not selected or entry.number in selected):
                result.compare(first_pass.with_decision(entry), by_catalogue)
        lost = count(journal.holes)
    return result.summary(first_pass.decisions, lost)


def _repaired(store: FeatureStore, journal: SqliteJournal, root: Path, repair: RepairEntry) -> FeatureStore:
    """Compute the feature state after a repair: from the corrected entries up to it."""
    repaired, corrections = from_seed(root, store.catalogue), Corrections.from_journal(journal, until=repair.number)
    feature_state.apply_entries(repaired, journal, 0, until=repair.number, corrections=corrections)
    return repaired


@dataclass
class _FirstPass:
    """Result of a first pass over the journal.

    Attributes
    ----------
    models
        Fingerprint of a model to a transaction that it decided.
    late
        Transaction to the decision that was made after its arrival.
    decisions
        Number of decisions.
    """

    models: dict[str, TransactionEntry] = field(default_factory=dict)
    late: dict[str, Decision] = field(default_factory=dict)
    decisions: int = 0

    @classmethod
    def from_entries(cls, entries: Iterable[Entry]) -> _FirstPass:
        result, undecided = cls(), dict[str, TransactionEntry]()
        for entry in entries:
            if isinstance(entry, TransactionEntry) and entry.answer is None and not entry.expired:
                undecided[entry.transaction_id] = entry
            elif isinstance(entry, LateDecisionEntry) and entry.transaction_id in undecided:
                result.late[entry.transaction_id] = entry.answer
                entry = undecided.pop(entry.transaction_id).answered(entry.answer)  # noqa: PLW2901
            if isinstance(entry, TransactionEntry):
                result.decisions += entry.answer is not None or entry.expired
                if entry.answer is not None:
                    result.models.setdefault(entry.answer.fingerprint, entry)
        return result

    def with_decision(self, entry: TransactionEntry) -> TransactionEntry:
        decision = entry.answer or self.late.get(entry.transaction_id)
        return entry if decision is None else entry.answered(decision)


@dataclass
class _Replay:
    """Feature states by catalogue, and the outcome so far.

    Attributes
    ----------
    deciders
        Models by fingerprint.
    stores
        Feature state by catalogue.
    counts
        Decisions by outcome and by source.
    differing
        Transaction, decision, and what differs.
    """

    deciders: dict[str, Decider]
    stores: dict[str, FeatureStore]
    counts: Counter[str] = field(default_factory=Counter)
    differing: list[tuple[str, str, str]] = field(default_factory=list)

    def observe(self, entry: Entry) -> dict[str, TransactionEntry]:
        """Apply an entry to every feature state; return a transaction with the features of each catalogue."""
        by_catalogue: dict[str, TransactionEntry] = {}
        for catalogue, store in self.stores.items():
            features = feature_state.observe_entry(store, entry)
            if isinstance(entry, TransactionEntry):
                by_catalogue[catalogue] = replace(entry, catalogue=catalogue, features=features)
        return by_catalogue

    def compare(self, logged: TransactionEntry, by_catalogue: dict[str, TransactionEntry]) -> None:
        """Decide again, and compare the encoded entries."""
        if logged.answer is None or logged.commitment:
            self.counts["expired" if logged.expired else "erased" if logged.commitment else "undecided"] += 1
            return
        replayed = by_catalogue[logged.catalogue].answered(logged.answer)
        replayed = self.deciders[logged.answer.fingerprint].decide_again(replayed)
        self.counts["replayed"] += 1
        self.counts[logged.answer.source] += 1
        if replayed.body() == logged.body():
            return
        self.counts["differing"] += 1
        if len(self.differing) < _MAX_LISTED:
            what = "features" if replayed.features != logged.features else "decision"
            self.differing.append((logged.transaction_id, logged.answer.decision_id, what))

    def summary(self, decisions: int, lost: int) -> Summary:
        differing = self.counts["differing"]
        facts = {
            "decisions": decisions,
            "replayed": self.counts["replayed"],
            "by the model": self.counts["model"],
            "by the fallback": self.counts["fallback"],
            **{what: self.counts[what] for what in ("expired", "erased", "undecided") if self.counts[what]},
            "differing": differing,
        }
        table = Table("Decisions that differ", ("transaction", "decision", "what"), tuple(self.differing))
        refused = f"{differing:,} of {self.counts['replayed']:,} decisions were not reproduced"
        return Summary(
            command="replay",
            facts=facts,
            tables=(table,) if differing else (),
            warnings=(_LOST.format(lost),) if lost else (),
            refused=refused if differing else None,
        )
