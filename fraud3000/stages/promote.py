"""A trained version into production, if it has shown that it is better; and back again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from fraud3000 import champions, compare, registry
from fraud3000.champions import Action, Standing
from fraud3000.compare import Check, Report, Verdict
from fraud3000.data import lock
from fraud3000.errors import ParamsError, SchemaError, ScorerError
from fraud3000.features import batch
from fraud3000.metrics.catalogue import metrics_of
from fraud3000.metrics.report import measure
from fraud3000.params import Params
from fraud3000.registry import CHALLENGER, CHAMPION
from fraud3000.scorer import Scorer
from fraud3000.stages import exported, judged
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.judged import Judged
from fraud3000.stages.summary import Summary, Table
from fraud3000.stages.train import train
from fraud3000.stages.workspace import Workspace, read

Stage = Literal["staging", "production"]
ALIASES: dict[Stage, str] = {"staging": CHALLENGER, "production": CHAMPION}
_FEWEST_REPLICATES = 20


def promote(
    params: Params,
    *,
    stage: Stage = "production",
    version: str | None = None,
    dry_run: bool = False,
    rollback: bool = False,
    why: str = "",
) -> Summary:
    """Judge a version and, where every check holds, make it the champion.

    Parameters
    ----------
    stage
        ``staging`` names a challenger, which is not judged; ``production`` the champion.
    version
        The candidate; without, the challenger.
    dry_run
        Judge only, change nothing.
    rollback
        Make the champion before the present one the champion again.
    why
        For the history.

    Returns
    -------
    Summary
        With ``refused`` set where a check did not hold.

    Raises
    ------
    ScorerError
        There is no such version, no challenger, or nothing to roll back to.
    CheckFailed
        The history was changed.
    UnavailableError
        Another promotion is under way, or registry or workspace cannot be used.
    """
    _require_known(params)
    if rollback and version is not None:
        raise ParamsError(
            "--rollback goes to the champion before, and takes no --version", hint="Leave out one of them."
        )
    workspace = Workspace.of(params)
    seen = champions.standing(params.registry)
    with lock.only_one(workspace.models, doing="promotion"):
        exported.require_same_history(workspace, seen)
        mover = _Mover(params, workspace, seen, why, dry_run)
        if rollback:
            return mover.back(*registry.resolve(seen.earlier_champion(), params.registry, workspace.root))
        candidate = version or seen.challenger
        if candidate is None:
            raise ScorerError("no challenger to promote", hint="Run `fraud3000 train` first, or name a --version.")
        found, folder = registry.resolve(candidate, params.registry, workspace.root)
        return mover.to_staging(found, folder) if stage == "staging" else mover.to_production(found, folder)


def train_and_promote(params: Params, make: Callable[[Params], Summary] = train) -> Summary:
    """Train, evaluate what was trained, and ask the gate: the summaries of all three as one.

    Parameters
    ----------
    make
        Trains; `train`, or a search before it.
    """
    trained = make(params)
    version = champions.standing(params.registry).challenger
    evaluated = evaluate(params, model=str(version))
    return trained.then(evaluated).then(promote(params, version=version))


@dataclass(frozen=True)
class _Judgement:
    """A verdict with the figures and hashes that the history keeps of it."""

    verdict: Verdict
    figures: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Mover:
    """Moves aliases, or in a dry run only says what would be moved."""

    params: Params
    workspace: Workspace
    seen: Standing
    why: str
    dry_run: bool

    def to_production(self, version: str, folder: Path) -> Summary:
        if version == self.seen.champion and not exported.agrees(self.workspace, self.seen, CHAMPION, folder):
            return self._again(version, folder)
        judgement = self._judge(version)
        verdict, champion = judgement.verdict, self.seen.champion
        outputs: dict[str, str] = {}
        if verdict.accept:
            reason = self.why or "; ".join(f"{check.name}: {check.found}" for check in verdict.checks)
            outputs = self._point("promote", CHAMPION, version, folder, reason, judgement)
        return Summary(
            command="promote",
            facts={
                "candidate": f"version {version}",
                "champion so far": f"version {champion}" if champion else None,
                "verdict": self._said(f"version {version} is the champion") if verdict.accept else "refused",
            },
            tables=(_table(verdict),),
            outputs=outputs,
            next_step="fraud3000 serve" if verdict.accept else None,
            refused=None if verdict.accept else f"version {version} is not promoted: " + "; ".join(verdict.reasons),
        )

    def _again(self, version: str, folder: Path) -> Summary:
        """Export what is the champion already, but not, or not wholly, in this workspace."""
        if not self.dry_run:
            exported.export(self.workspace, self.seen, CHAMPION, folder)
        return Summary(
            command="promote",
            facts={"verdict": self._said(f"version {version} is the champion already; it was exported anew")},
            outputs={} if self.dry_run else self._files(CHAMPION),
            next_step="fraud3000 serve",
        )

    def to_staging(self, version: str, folder: Path) -> Summary:
        return Summary(
            command="promote",
            outputs=self._point("stage", CHALLENGER, version, folder, self.why),
            facts={
                "challenger so far": f"version {self.seen.challenger}" if self.seen.challenger else None,
                "verdict": self._said(f"version {version} is the challenger"),
            },
            next_step="fraud3000 evaluate, then fraud3000 promote",
        )

    def back(self, version: str, folder: Path) -> Summary:
        return Summary(
            command="promote",
            outputs=self._point("rollback", CHAMPION, version, folder, self.why),
            facts={
                "champion so far": f"version {self.seen.champion}",
                "verdict": self._said(f"version {version} is the champion again"),
            },
            next_step="fraud3000 serve",
        )

    def _point(
        self, action: Action, alias: str, version: str, folder: Path, why: str, judgement: _Judgement | None = None
    ) -> dict[str, str]:
        if self.dry_run:
            return {}
        now = champions.move(
            action,
            alias,
            version,
            self.params.registry,
            seen=self.seen,
            why=why,
            figures=judgement.figures if judgement else {},
            hashes=judgement.hashes if judgement else {},
        )
        exported.export(self.workspace, now, alias, folder)
        return self._files(alias)

    def _files(self, alias: str) -> dict[str, str]:
        return {alias: str(self.workspace.pointer(alias)), "history": str(self.workspace.promotions)}

    def _said(self, done: str) -> str:
        return f"{done} (dry run: nothing was changed)" if self.dry_run else done

    def _judge(self, version: str) -> _Judgement:
        """Run every check, the cheap ones first; one that leaves nothing to compare ends the list."""
        if version == self.seen.champion:
            now = f"version {version} is the champion already"
            return _Judgement(Verdict((Check("another version", now, "one that is not", passed=False),)))
        report = champions.logged_evaluation(version, self.params.registry)
        if report is None:
            none = Check("evaluation", "none on record", "one by `fraud3000 evaluate`", passed=False)
            return _Judgement(Verdict((none,)))
        checks = [compare.unseen(report), *compare.above_floors(report)]
        if self.seen.champion is not None:
            rows = judged.judged_rows(self.workspace, self.params)
            checks += _against_champion(self.params, self.workspace, self.seen.champion, report, rows)
        return _Judgement(Verdict(tuple(checks)), _figures(report), _hashes(report))


def _figures(report: Report) -> dict[str, Any]:
    told = [name for name in (compare.RANKING, *compare.MONEY) if name in report["metrics"]]
    return {
        "rows": report["rows"],
        "frauds": report["frauds"],
        **{name: report["metrics"][name]["value"] for name in told},
    }


def _hashes(report: Report) -> dict[str, str]:
    return {"data": report["data_fingerprint"], "catalogue": report["catalogue_hash"], "rows": report["rows_sha256"]}


def _against_champion(
    params: Params, workspace: Workspace, champion: str, report: Report, rows: Judged
) -> Iterator[Check]:
    same = report["rows_sha256"] == rows.fingerprint
    yield Check(
        "evaluated on the rows at hand",
        "the same" if same else "others",
        "rows of the workspace",
        passed=same,
    )
    if not same:
        return
    scorer = Scorer.load(registry.resolve(champion, params.registry, workspace.root)[1], version=champion)
    theirs = {"model_as_of": scorer.facts.get("as_of"), "data_fingerprint": scorer.facts.get("data_fingerprint")}
    fair = compare.comparable(report, theirs, _first(rows))
    yield fair
    if not fair.passed:
        return
    try:
        seen_by_champion = _featured_for(scorer, rows, workspace)
    except SchemaError as error:
        yield Check("the champion can score these rows", error.message, "the columns it was trained on", passed=False)
        return
    few = params.evaluate.model_copy(update={"replicates": _FEWEST_REPLICATES})
    scored = judged.score(scorer, seen_by_champion)
    measured = measure(scored, policy=params.policy, evaluate=few, split="test")
    yield from compare.no_worse(report, measured, params.promote.metrics, version=f"version {champion}")


def _featured_for(scorer: Scorer, rows: Judged, workspace: Workspace) -> Judged:
    """The same rows with the features that a model of another catalogue reads."""
    transactions = read(workspace.transactions, made_by="prepare")
    ledger = read(workspace.labels, made_by="prepare")
    beside = batch.assemble(transactions, ledger, scorer.catalogue)
    test = rows.test.select("transaction_id").join(beside, on="transaction_id", how="left", maintain_order="left")
    return replace(rows, test=test)


def _first(rows: Judged) -> datetime | None:
    if "ts" not in rows.test.columns:
        return None
    first = rows.test.filter(rows.counted).select(pl.col("ts").min()).item()
    return first if isinstance(first, datetime) else None


def _table(verdict: Verdict) -> Table:
    rows = tuple((c.name, c.found, c.needed, "yes" if c.passed else "NO") for c in verdict.checks)
    return Table("Verdict", ("check", "found", "needed", "holds"), rows)


def _require_known(params: Params) -> None:
    known = [metric.name for metric in metrics_of(params.evaluate)]
    unknown = [name for name in params.promote.metrics if name not in known]
    if unknown:
        raise ParamsError(
            f"promote.metrics: '{unknown[0]}' is not among the metrics that are evaluated",
            hint=f"Known: {', '.join(known)}.",
        )
