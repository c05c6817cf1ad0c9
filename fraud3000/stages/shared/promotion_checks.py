"""Every check of a candidate for production, on the rows of the workspace."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraud3000 import registry
from fraud3000.errors import SchemaError
from fraud3000.evaluation.segments import segments
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.declarations import Catalogue, Column
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.promotion import checks, statistical_gate, verdict_log
from fraud3000.promotion.checks import Check, Report, Verdict
from fraud3000.promotion.history import AliasState
from fraud3000.stages.shared import evaluation_rows
from fraud3000.stages.shared.evaluation_rows import EvaluationRows
from fraud3000.stages.shared.workspace import Workspace, read, scan

ROWS_TIMED = 100
TRIES = 3
OFTEN = 5
"""With more verdicts on the same rows than this, a reader is warned."""


@dataclass(frozen=True)
class PromotionResult:
    """A verdict with the figures and hashes that the history keeps of it.

    Attributes
    ----------
    times
        How many verdicts these rows have been used for, this one included; None where no row was asked.
    skipped_segments
        Segments with too few frauds.
    """

    verdict: Verdict
    figures: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    times: int | None = None
    skipped_segments: tuple[str, ...] = ()

    def warnings(self) -> Iterator[str]:
        """Say what a reader of the verdict should not overlook."""
        if self.skipped_segments:
            yield f"segments with too few frauds to be judged: {', '.join(self.skipped_segments)}"
        if self.times is not None and self.times > OFTEN:
            yield (
                f"these rows have decided {self.times} verdicts: the best of many looks better than it is; "
                "judge the next one on newer rows"
            )


def run_checks(version: str, folder: Path, params: Params, workspace: Workspace, seen: AliasState) -> PromotionResult:
    """Run every check, the cheap ones first; one that leaves nothing to ask ends the list. The verdict is recorded.

    Parameters
    ----------
    folder
        The candidate's bundle.
    seen
        The standing with the champion that it is held against.

    Raises
    ------
    ScorerError
        The bundle of candidate or champion is gone or cannot be trusted.
    """
    if version == seen.champion:
        now = f"version {version} is the champion already"
        return PromotionResult(Verdict((Check("another version", now, "one that is not", passed=False),)))
    scorer = Scorer.load(folder, version=version)
    if scorer.facts.get("final"):
        return _of_recipe(scorer, params, workspace, seen)
    report = registry.logged_evaluation(version, params.registry)
    if report is None:
        none = Check("evaluation", "none on record", "one by `fraud3000 evaluate`", passed=False)
        return PromotionResult(Verdict((none,)))
    trial = _Trial(params, workspace, scorer, report, seen.champion)
    results = tuple(trial.checks())
    found = trial.found
    times = _record(version, seen.champion, report["rows_sha256"], scorer, results, params)
    figures = {
        **_figures(report),
        "verdicts_on_these_rows": times,
        **({"against_champion": found.figures} if found else {}),
    }
    return PromotionResult(Verdict(results), figures, _hashes(report), times, found.skipped_segments if found else ())


def _of_recipe(scorer: Scorer, params: Params, workspace: Workspace, seen: AliasState) -> PromotionResult:
    """Judge a model of all that is known: no row is left to judge it by, so its recipe must have passed."""
    recipe = scorer.facts.get("recipe_sha256")
    version = verdict_log.accepted_version(verdict_log.read_verdicts(params.registry), recipe, seen.champion)
    found = "no verdict on it holds today" if version is None else f"as version {version}"
    against = f"version {seen.champion} or its recipe" if seen.champion else "no champion"
    rows = _featured_for(scorer, evaluation_rows.read_evaluation_rows(workspace, params), workspace)
    results = (
        Check("recipe judged", found, f"accepted against {against}", passed=version is not None),
        checks.fast_enough(milliseconds(scorer, rows.test), params.promote),
    )
    _record(scorer.version, seen.champion, None, scorer, results, params)
    hashes = {"data": scorer.facts["data_fingerprint"], "catalogue": scorer.catalogue.hash, "recipe": str(recipe)}
    return PromotionResult(Verdict(results), {"recipe_judged_as": version}, hashes)


def _record(
    version: str, champion: str | None, rows: str | None, scorer: Scorer, results: tuple[Check, ...], params: Params
) -> int:
    """Add the verdict to all others; how many there are on its rows."""
    every = verdict_log.append_verdict(
        params.registry,
        version=version,
        champion=champion,
        rows=rows,
        recipe=scorer.facts.get("recipe_sha256"),
        failed=tuple(check.name for check in results if not check.passed),
    )
    return sum(one.rows == rows for one in every)


@dataclass
class _Trial:
    """One candidate, asked check by check."""

    params: Params
    workspace: Workspace
    scorer: Scorer
    report: Report
    champion: str | None
    found: statistical_gate.GateResult | None = None

    def checks(self) -> Iterator[Check]:
        asked, report = self.params.promote, self.report
        yield checks.evaluated_after_cutoff(report)
        enough = checks.enough_frauds(report, asked)
        yield enough
        if not enough.passed:
            return
        yield from checks.above_baselines(report)
        yield from checks.calibrated(report, asked)
        rows = evaluation_rows.read_evaluation_rows(self.workspace, self.params)
        same = report["rows_sha256"] == rows.fingerprint
        yield Check("evaluated on the rows at hand", "the same" if same else "others", "rows of the workspace", same)
        if same:
            yield from self._on(rows)

    def _on(self, rows: EvaluationRows) -> Iterator[Check]:
        try:
            ours = _featured_for(self.scorer, rows, self.workspace)
        except SchemaError as error:
            yield Check(
                "the candidate can score these rows", error.message, "the columns it was trained on", passed=False
            )
            return
        yield checks.fast_enough(milliseconds(self.scorer, ours.test), self.params.promote)
        if self.champion is not None:
            yield from self._against(self.champion, rows, ours)

    def _against(self, version: str, rows: EvaluationRows, ours: EvaluationRows) -> Iterator[Check]:
        champion = self._opponent(version)
        theirs = {
            "model_as_of": champion.facts.get("as_of"),
            "data_fingerprint": champion.facts.get("data_fingerprint"),
        }
        fair = checks.comparable(self.report, theirs, _first(rows))
        yield fair
        if not fair.passed:
            return
        try:
            seen_by_champion = _featured_for(champion, rows, self.workspace)
        except SchemaError as error:
            yield Check(
                "the champion can score these rows", error.message, "the columns it was trained on", passed=False
            )
            return
        scored = evaluation_rows.score(self.scorer, ours)
        self.found = statistical_gate.run_gate(
            scored,
            evaluation_rows.score(champion, seen_by_champion),
            policy=self.params.policy,
            params=self.params.promote,
            seed=self.params.evaluate.seed,
            deviations=self.scorer.facts.get("seed_deviation", {}).get("values"),
            segments=_segments(scored, rows, self.scorer.catalogue, self.workspace),
            version=f"version {champion.version}",
        )
        yield from self.found.checks

    def _opponent(self, version: str) -> Scorer:
        """The champion; where that is a final model, which knows these rows, the version by which its recipe was judged."""
        folder = registry.resolve(version, self.params.registry, self.workspace.root)[1]
        champion = Scorer.load(folder, version=version)
        return self._opponent(champion.facts["judged_as"]) if champion.facts.get("final") else champion


def milliseconds(scorer: Scorer, featured: pl.DataFrame) -> float:
    """Time the scoring of single rows, from features to probability.

    Parameters
    ----------
    featured
        FEATURED; `ROWS_TIMED` of its rows, evenly spread, are scored `TRIES` times each, and the quickest try counts.

    Returns
    -------
    float
        What 95 of 100 rows take less than: the processor's time, since what else the machine does is not the model's fault.
    """
    places = np.unique(np.linspace(0, featured.height - 1, ROWS_TIMED).astype(int)).tolist()
    rows = [featured[place : place + 1] for place in places]
    return float(np.quantile([min(_seconds(scorer, row) for _ in range(TRIES)) for row in rows], 0.95)) * 1e3


def _seconds(scorer: Scorer, row: pl.DataFrame) -> float:
    start = time.process_time()
    scorer.score(row)
    return time.process_time() - start


def _featured_for(scorer: Scorer, rows: EvaluationRows, workspace: Workspace) -> EvaluationRows:
    """The same rows with the features that a model of another catalogue reads."""
    if evaluation_rows.read_json(workspace.catalogue, Catalogue.from_dict).hash == scorer.catalogue.hash:
        return rows
    transactions = read(workspace.transactions, made_by="prepare")
    ledger = read(workspace.labels, made_by="prepare")
    beside = batch_engine.assemble(transactions, ledger, scorer.catalogue)
    test = rows.test.select("transaction_id").join(beside, on="transaction_id", how="left", maintain_order="left")
    return replace(rows, test=test)


def _segments(
    scored: pl.DataFrame, rows: EvaluationRows, catalogue: Catalogue, workspace: Workspace
) -> Mapping[str, pl.Series]:
    passed = [one.column for one in catalogue.features if isinstance(one, Column) and one.categorical]
    there = [name for name in passed if name in rows.test.columns]
    told = scored.with_columns(rows.test[name] for name in there)
    if {"card_id", "ts"} <= set(told.columns):
        first = scan(workspace.transactions, made_by="prepare").group_by("card_id").agg(first_seen=pl.col("ts").min())
        told = told.join(first.drop_nulls().collect(), on="card_id", how="left", maintain_order="left")
    return segments(told, zone=catalogue.zone, categories=there)


def _first(rows: EvaluationRows) -> datetime | None:
    if "ts" not in rows.test.columns:
        return None
    first = rows.test.filter(rows.counted).select(pl.col("ts").min()).item()
    return first if isinstance(first, datetime) else None


def _figures(report: Report) -> dict[str, Any]:
    told = [name for name in (checks.RANKING, *checks.MONEY) if name in report["metrics"]]
    return {
        "rows": report["rows"],
        "frauds": report["frauds"],
        **{name: report["metrics"][name]["value"] for name in told},
    }


def _hashes(report: Report) -> dict[str, str]:
    return {"data": report["data_fingerprint"], "catalogue": report["catalogue_hash"], "rows": report["rows_sha256"]}
