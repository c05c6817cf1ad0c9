"""Decisions of the journal, made again from what was known then, and compared byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from fraud3000 import bundle
from fraud3000.errors import DataError, ScorerError
from fraud3000.features.online import FeatureStore
from fraud3000.params import Params
from fraud3000.scorer import Scorer
from fraud3000.service.entries import Answered, Entry, Label, Taken
from fraud3000.service.fallback import Fallback
from fraud3000.service.folder import sown
from fraud3000.service.journal import SqliteJournal
from fraud3000.service.judge import Judge
from fraud3000.stages.labels import service_folder
from fraud3000.stages.progress import doing
from fraud3000.stages.summary import Summary, Table
from fraud3000.stages.workspace import Workspace

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
    root = service_folder(params)
    if not (root / "journal.db").exists():
        raise DataError(f"{root}: no service has kept a journal there", hint="See serve.store of the params.")
    with closing(SqliteJournal(root / "journal.db")) as journal, doing("replaying"):
        decided = _decided(journal.after(0))
        wanted = _wanted(decided, ids)
        judges = _judges(Workspace.of(params), decided.values())
        found = _Replay(judges, {one.catalogue: sown(root, one.scorer.catalogue) for one in judges.values()})
        for entry in journal.after(0):
            features = found.meet(entry)
            if entry.number in wanted:
                found.compare(decided[entry.number], features)
    return found.summary(len(decided))


@dataclass
class _Replay:
    """A state for each catalogue, and what came out so far."""

    judges: dict[str, Judge]
    stores: dict[str, FeatureStore]
    counts: Counter[str] = field(default_factory=Counter)
    differing: list[tuple[str, str, str]] = field(default_factory=list)

    def meet(self, entry: Entry) -> dict[str, Taken]:
        """Let every state see an entry; a transaction with the features that each catalogue gives it."""
        met: dict[str, Taken] = {}
        for catalogue, store in self.stores.items():
            if isinstance(entry, Taken):
                features = tuple(store.observe(entry.transaction).values())
                met[catalogue] = replace(entry, catalogue=catalogue, features=features)
            elif isinstance(entry, Label):
                store.record_label(
                    entry.transaction_id,
                    entry.is_fraud,
                    source=entry.source,
                    reported_at=entry.reported_at,
                    recorded_at=entry.recorded_at,
                )
        return met

    def compare(self, told: Taken, met: dict[str, Taken]) -> None:
        """Decide once more, and see whether that gives the same bytes."""
        assert told.answer is not None
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

    def summary(self, decisions: int) -> Summary:
        differing = self.counts["differing"]
        facts = {
            "decisions": decisions,
            "replayed": self.counts["replayed"],
            "by the model": self.counts["model"],
            "by the fallback": self.counts["fallback"],
            "differing": differing,
        }
        table = Table("Decisions that differ", ("transaction", "decision", "what"), tuple(self.differing))
        refused = f"{differing:,} of {self.counts['replayed']:,} decisions are not made again as they were told"
        return Summary(
            command="replay",
            facts=facts,
            tables=(table,) if differing else (),
            refused=refused if differing else None,
        )


def _decided(entries: Iterable[Entry]) -> dict[int, Taken]:
    """Transactions with their answers, by the number of their entry."""
    decided: dict[int, Taken] = {}
    open_: dict[str, Taken] = {}
    for entry in entries:
        if isinstance(entry, Taken):
            if entry.answer is None:
                open_[entry.transaction_id] = entry
            else:
                decided[entry.number] = entry
        elif isinstance(entry, Answered) and entry.transaction_id in open_:
            taken = open_.pop(entry.transaction_id)
            decided[taken.number] = taken.answered(entry.answer)
    return decided


def _wanted(decided: dict[int, Taken], ids: Sequence[str]) -> set[int]:
    if not ids:
        return set(decided)
    numbers: dict[str, int] = {}
    for number, one in decided.items():
        numbers[one.transaction_id] = number
        if one.answer is not None:
            numbers[one.answer.decision_id] = number
    missing = [one for one in ids if one not in numbers]
    if missing:
        raise DataError(f"{missing[0]}: no decision of the journal", hint="Name a transaction or the id of a decision.")
    return {numbers[one] for one in ids}


def _judges(workspace: Workspace, decided: Iterable[Taken]) -> dict[str, Judge]:
    """The models that decided, by the hash of their bundle."""
    versions = {one.answer.fingerprint: one.answer.model_version for one in decided if one.answer is not None}
    folders = {bundle.fingerprint(folder): folder for folder in workspace.models.glob("*/") if folder.is_dir()}
    judges = {}
    for fingerprint, version in versions.items():
        if fingerprint not in folders:
            raise ScorerError(
                f"{workspace.models}: the bundle of version {version} that decided is not there ({fingerprint[:12]})",
                hint="Put the folder of that version back.",
            )
        judges[fingerprint] = Judge(Scorer.load(folders[fingerprint], version=version), fingerprint, Fallback())
    return judges
