"""`promote`: run the promotion checks on a version and make it the champion, or roll back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fraud3000 import registry
from fraud3000.data.storage import file_lock
from fraud3000.errors import ParamsError, ScorerError
from fraud3000.metrics.catalogue import display_name
from fraud3000.metrics.paired_bootstrap import MEASURES
from fraud3000.params import Params
from fraud3000.promotion import history
from fraud3000.promotion.checks import Verdict
from fraud3000.promotion.history import Action, AliasState
from fraud3000.registry import CHALLENGER, CHAMPION
from fraud3000.report.formatting import number
from fraud3000.stages.evaluate import evaluate
from fraud3000.stages.shared import model_pointer
from fraud3000.stages.shared.promotion_checks import PromotionResult, run_checks
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.train import train

Stage = Literal["staging", "production"]
ALIASES: dict[Stage, str] = {"staging": CHALLENGER, "production": CHAMPION}


def promote(
    params: Params,
    *,
    stage: Stage = "production",
    version: str | None = None,
    dry_run: bool = False,
    rollback: bool = False,
    why: str = "",
) -> Summary:
    """Run the promotion checks on a version and, if all pass, make it the champion.

    Parameters
    ----------
    stage
        ``staging`` sets the challenger without checks; ``production`` sets the champion.
    version
        The candidate; by default the challenger.
    dry_run
        Run the checks without moving an alias; the verdict is logged all the same.
    rollback
        Make the previous champion the champion again.
    why
        Reason recorded in the history.

    Returns
    -------
    Summary
        With ``refused`` set if a check failed.

    Raises
    ------
    ScorerError
        There is no such version, no challenger, or nothing to roll back to.
    CheckFailed
        The history was changed.
    UnavailableError
        Another promotion is running, or registry or workspace cannot be used.
    """
    if rollback and version is not None:
        raise ParamsError(
            "--rollback restores the previous champion and takes no --version", hint="Leave out one of them."
        )
    workspace = Workspace.from_params(params)
    seen = history.alias_state(params.registry)
    with file_lock.exclusive_lock(workspace.models, operation="promotion"):
        model_pointer.require_same_history(workspace, seen)
        mover = _Mover(params, workspace, seen, why, dry_run)
        if rollback:
            return mover.back(*registry.resolve(seen.earlier_champion(), params.registry, workspace.root))
        candidate = version or seen.challenger
        if candidate is None:
            raise ScorerError("no challenger to promote", hint="Run `fraud3000 train` first, or name a --version.")
        resolved, folder = registry.resolve(candidate, params.registry, workspace.root)
        return mover.to_staging(resolved, folder) if stage == "staging" else mover.to_production(resolved, folder)


def train_and_promote(
    params: Params, run_training: Callable[[Params], Summary] = train, *, final: bool = False
) -> Summary:
    """Train, evaluate the result and run the promotion checks; return one summary of all three.

    Parameters
    ----------
    run_training
        `train`, or a search followed by a training.
    final
        Whether training uses all known labels, so that no row is left to evaluate on.
    """
    trained = run_training(params)
    version = history.alias_state(params.registry).challenger
    evaluated = trained if final else trained.then(evaluate(params, model=str(version)))
    return evaluated.then(promote(params, version=version))


@dataclass(frozen=True)
class _Mover:
    """Move aliases, or in a dry run only report what would be moved."""

    params: Params
    workspace: Workspace
    seen: AliasState
    why: str
    dry_run: bool

    def to_production(self, version: str, folder: Path) -> Summary:
        if version == self.seen.champion and not model_pointer.matches_registry(
            self.workspace, self.seen, CHAMPION, folder
        ):
            return self._export_again(version, folder)
        result = run_checks(version, folder, self.params, self.workspace, self.seen)
        verdict, champion = result.verdict, self.seen.champion
        outputs: dict[str, str] = {}
        if verdict.accept:
            reason = self.why or "; ".join(f"{check.name}: {check.found}" for check in verdict.checks)
            outputs = self._point("promote", CHAMPION, version, folder, reason, result)
        return Summary(
            command="promote",
            facts={
                "candidate": f"version {version}",
                "champion so far": f"version {champion}" if champion else None,
                "verdict": self._outcome(f"version {version} is the champion") if verdict.accept else "refused",
                **({} if result.times is None else {"verdicts on these rows": result.times}),
            },
            tables=(_table(verdict), *_differences(result.figures)),
            outputs=outputs,
            warnings=tuple(result.warnings()),
            next_step="fraud3000 serve" if verdict.accept else None,
            refused=None if verdict.accept else f"version {version} is not promoted: " + "; ".join(verdict.reasons),
        )

    def _export_again(self, version: str, folder: Path) -> Summary:
        """Export the current champion again because this workspace lacks its files or has older ones."""
        if not self.dry_run:
            model_pointer.require_usable(version, folder, self.params.registry)
            model_pointer.export(self.workspace, self.seen, CHAMPION, folder)
        return Summary(
            command="promote",
            facts={
                "verdict": self._outcome(f"version {version} is the champion already; its files were exported again")
            },
            outputs={} if self.dry_run else self._files(CHAMPION),
            next_step="fraud3000 serve",
        )

    def to_staging(self, version: str, folder: Path) -> Summary:
        return Summary(
            command="promote",
            outputs=self._point("stage", CHALLENGER, version, folder, self.why),
            facts={
                "challenger so far": f"version {self.seen.challenger}" if self.seen.challenger else None,
                "verdict": self._outcome(f"version {version} is the challenger"),
            },
            next_step="fraud3000 evaluate, then fraud3000 promote",
        )

    def back(self, version: str, folder: Path) -> Summary:
        return Summary(
            command="promote",
            outputs=self._point("rollback", CHAMPION, version, folder, self.why),
            facts={
                "champion so far": f"version {self.seen.champion}",
                "verdict": self._outcome(f"version {version} is the champion again"),
            },
            next_step="fraud3000 serve",
        )

    def _point(
        self, action: Action, alias: str, version: str, folder: Path, why: str, result: PromotionResult | None = None
    ) -> dict[str, str]:
        model_pointer.require_usable(version, folder, self.params.registry)
        if self.dry_run:
            return {}
        now = history.move_alias(
            action,
            alias,
            version,
            self.params.registry,
            seen=self.seen,
            why=why,
            figures=result.figures if result else {},
            hashes=result.hashes if result else {},
        )
        model_pointer.export(self.workspace, now, alias, folder)
        return self._files(alias)

    def _files(self, alias: str) -> dict[str, str]:
        return {alias: str(self.workspace.pointer(alias)), "history": str(self.workspace.promotions)}

    def _outcome(self, done: str) -> str:
        return f"{done} (dry run: no alias was moved)" if self.dry_run else done


def _differences(figures: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return a table of the comparison with the champion, if there was one."""
    compared = figures.get("against_champion")
    if compared is None:
        return ()
    rows = tuple(
        (
            display_name(name),
            *(number(compared[name].get(key), decimals=4) for key in ("challenger", "champion")),
            *(number(compared[name].get(key), sign="+", decimals=4) for key in ("difference", "low", "high")),
            compared[name].get("by", ""),
        )
        for name in MEASURES
    )
    columns = ("measure", "challenger", "champion", "difference", "low", "high", "by")
    return (Table(f"Against the champion, each bound with {compared['level']:.1%}", columns, rows),)


def _table(verdict: Verdict) -> Table:
    rows = tuple((c.name, c.found, c.needed, "yes" if c.passed else "NO") for c in verdict.checks)
    return Table("Verdict", ("check", "found", "needed", "passed"), rows)
