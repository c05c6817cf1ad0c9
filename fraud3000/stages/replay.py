"""Decisions of the journal, made again from what was known then, and compared byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from fraud3000.features.online import FeatureStore
from fraud3000.params import Params
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.decider import Decider
from fraud3000.service.engine.feature_state import sown
from fraud3000.service.journal.entries import Decision, Entry, LateDecisionEntry, RepairEntry, TransactionEntry
from fraud3000.service.journal.holes import count
from fraud3000.service.journal.repair import Corrections
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.service_store import decision_of, journal_of, judges_of, service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace

_LOST = "{:,} entries of the journal are lost: features that counted them come out differently"
_SHOWN = 10
"""Decisions that differ which are told one by one."""


def replay(params: Params, ids: Sequence[str] = ()) -> Summary:
    """Make decisions again and compare them with what was told; a running service is not disturbed.

    The state of the features is built from what the service began with and all that the journal has, in its order. Each
    transaction's features are read from it anew, and decided by the bundle that decided then.

    Parameters
    ----------
    ids
        Of transactions or decisions; all where none is given.

    Raises
    ------
    CheckFailed
        The journal is not what it was when it was sealed.
    DataError
        There is no journal, or an id is not in it.
    ScorerError
        The bundle of a model that decided is gone.
    """
    with closing(journal_of(params)) as journal, show_status("replaying"):
        seen = _Seen.of(journal.after(0))
        wanted = {decision_of(journal, one).number for one in ids}
        judges = judges_of(Workspace.from_params(params), seen.models.values())
        root = service_folder(params)
        found = _Replay(judges, {one.catalogue: sown(root, one.scorer.catalogue) for one in judges.values()})
        for entry in journal.after(0):
            if isinstance(entry, RepairEntry):
                found.stores = {name: _repaired(store, journal, root, entry) for name, store in found.stores.items()}
            met = found.meet(entry)
            if isinstance(entry, TransactionEntry) and (not wanted or entry.number in wanted):
                found.compare(seen.answered(entry), met)
        lost = count(journal.holes)
    return found.summary(seen.decisions, lost)


def _repaired(store: FeatureStore, journal: SqliteJournal, root: Path, repair: RepairEntry) -> FeatureStore:
    """The state behind a repair: as it would be if a wrong clock had not dated entries into the future."""
    again, corrections = sown(root, store.catalogue), Corrections.of_journal(journal, until=repair.number)
    feature_state.advanced(again, journal, 0, until=repair.number, corrections=corrections)
    return again


@dataclass
class _Seen:
    """What a first look at the journal tells: its models, one decision of each, and answers that came later."""

    models: dict[str, TransactionEntry] = field(default_factory=dict)
    later: dict[str, Decision] = field(default_factory=dict)
    decisions: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> _Seen:
        seen, open_ = cls(), dict[str, TransactionEntry]()
        for entry in entries:
            if isinstance(entry, TransactionEntry) and entry.answer is None and not entry.expired:
                open_[entry.transaction_id] = entry
            elif isinstance(entry, LateDecisionEntry) and entry.transaction_id in open_:
                seen.later[entry.transaction_id] = entry.answer
                entry = open_.pop(entry.transaction_id).answered(entry.answer)  # noqa: PLW2901
            if isinstance(entry, TransactionEntry):
                seen.decisions += entry.answer is not None or entry.expired
                if entry.answer is not None:
                    seen.models.setdefault(entry.answer.fingerprint, entry)
        return seen

    def answered(self, taken: TransactionEntry) -> TransactionEntry:
        answer = taken.answer or self.later.get(taken.transaction_id)
        return taken if answer is None else taken.answered(answer)


@dataclass
class _Replay:
    """A state for each catalogue, and what came out so far."""

    judges: dict[str, Decider]
    stores: dict[str, FeatureStore]
    counts: Counter[str] = field(default_factory=Counter)
    differing: list[tuple[str, str, str]] = field(default_factory=list)

    def meet(self, entry: Entry) -> dict[str, TransactionEntry]:
        """Let every state see an entry; a transaction with the features that each catalogue gives it."""
        met: dict[str, TransactionEntry] = {}
        for catalogue, store in self.stores.items():
            features = feature_state.meet(store, entry)
            if isinstance(entry, TransactionEntry):
                met[catalogue] = replace(entry, catalogue=catalogue, features=features)
        return met

    def compare(self, told: TransactionEntry, met: dict[str, TransactionEntry]) -> None:
        """Decide once more, and see whether that gives the same bytes."""
        if told.answer is None or told.commitment:
            self.counts["expired" if told.expired else "erased" if told.commitment else "undecided"] += 1
            return
        again = met[told.catalogue].answered(told.answer)
        again = self.judges[told.answer.fingerprint].again(again)
        self.counts["replayed"] += 1
        self.counts[told.answer.source] += 1
        if again.body() == told.body():
            return
        self.counts["differing"] += 1
        if len(self.differing) < _SHOWN:
            what = "features" if again.features != told.features else "decision"
            self.differing.append((told.transaction_id, told.answer.decision_id, what))

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
        refused = f"{differing:,} of {self.counts['replayed']:,} decisions are not made again as they were told"
        return Summary(
            command="replay",
            facts=facts,
            tables=(table,) if differing else (),
            warnings=(_LOST.format(lost),) if lost else (),
            refused=refused if differing else None,
        )
