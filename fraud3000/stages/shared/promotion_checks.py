"""Run all promotion checks of a candidate on the rows of the workspace."""

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
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column
from fraud3000.metrics.evaluation import Evaluation
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.promotion import checks, statistical_gate, verdict_log
from fraud3000.promotion.checks import Check, LabelCutoff, Verdict
from fraud3000.promotion.history import AliasState
from fraud3000.stages.shared import evaluation_rows
from fraud3000.stages.shared.default_warnings import evaluation_warnings
from fraud3000.stages.shared.evaluation_rows import EvaluationRows
from fraud3000.stages.shared.workspace import Workspace, read, scan

ROWS_TIMED = 100
TRIES = 3
MANY_VERDICTS = 5
"""With more verdicts on the same rows than this, a warning is given."""


@dataclass(frozen=True)
class PromotionResult:
    """A verdict with the figures and hashes for the promotion history.

    Attributes
    ----------
    times
        Number of verdicts these rows have been used for, this one included; None if no row was used.
    skipped_segments
        Segments with too few frauds to be tested.
    about_params
        Warnings about params that do not fit the test rows.
    """

    verdict: Verdict
    figures: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    times: int | None = None
    skipped_segments: tuple[str, ...] = ()
    about_params: tuple[str, ...] = ()

    def warnings(self) -> Iterator[str]:
        """Yield warnings about the verdict."""
        yield from self.about_params
        if self.skipped_segments:
            yield f"segments with too few frauds to be tested: {', '.join(self.skipped_segments)}"
        if self.times is not None and self.times > MANY_VERDICTS:
            yield (
                f"this test set has been used for {self.times} promotion decisions; repeated use inflates the result: "
                "use newer rows for the next one"
            )


def run_checks(version: str, folder: Path, params: Params, workspace: Workspace, seen: AliasState) -> PromotionResult:
    """Run the checks, cheap ones first, up to the first that makes the others impossible; log the verdict.

    Parameters
    ----------
    folder
        The candidate's bundle.
    seen
        The alias state with the champion to compare with.

    Raises
    ------
    ScorerError
        The bundle of candidate or champion is missing or failed verification.
    """
    if version == seen.champion:
        now = f"version {version} is the champion already"
        return PromotionResult(Verdict((Check("another version", now, "one that is not", passed=False),)))
    scorer = Scorer.load(folder, version=version)
    if scorer.facts.get("final"):
        return _check_recipe(scorer, params, workspace, seen)
    evaluation = registry.logged_evaluation(version, params.registry)
    if evaluation is None:
        none = Check("evaluation", "none on record", "one by `fraud3000 evaluate`", passed=False)
        return PromotionResult(Verdict((none,)))
    candidate = _CandidateChecks(params, workspace, scorer, evaluation, seen.champion)
    results = tuple(candidate.checks())
    gate = candidate.gate
    times = _log_verdict(version, seen.champion, evaluation.rows_sha256, scorer, results, params)
    figures = {
        **_figures(evaluation),
        "verdicts_on_these_rows": times,
        **({"against_champion": gate.figures} if gate else {}),
    }
    return PromotionResult(
        Verdict(results),
        figures,
        _hashes(evaluation),
        times,
        gate.skipped_segments if gate else (),
        tuple(evaluation_warnings(evaluation, params)),
    )


def _check_recipe(scorer: Scorer, params: Params, workspace: Workspace, seen: AliasState) -> PromotionResult:
    """Check a model trained on all known labels: no row is left to test it on, so its recipe must have been accepted."""
    recipe = scorer.facts.get("recipe_sha256")
    version = verdict_log.accepted_version(verdict_log.read_verdicts(params.registry), recipe, seen.champion)
    found = "no valid verdict on it" if version is None else f"as version {version}"
    against = f"version {seen.champion} or its recipe" if seen.champion else "no champion"
    rows = _featured_for(
        scorer, evaluation_rows.read_evaluation_rows(workspace, params.prepare, params.evaluate), workspace
    )
    results = (
        Check("recipe accepted", found, f"accepted against {against}", passed=version is not None),
        checks.fast_enough(milliseconds(scorer, rows.test), params.promote),
    )
    _log_verdict(scorer.version, seen.champion, None, scorer, results, params)
    hashes = {"data": scorer.facts["data_fingerprint"], "catalogue": scorer.catalogue.hash, "recipe": str(recipe)}
    return PromotionResult(Verdict(results), {"recipe_judged_as": version}, hashes)


def _log_verdict(
    version: str, champion: str | None, rows: str | None, scorer: Scorer, results: tuple[Check, ...], params: Params
) -> int:
    """Append the verdict to the log; return the number of verdicts on the same rows."""
    verdicts = verdict_log.append_verdict(
        params.registry,
        version=version,
        champion=champion,
        rows=rows,
        recipe=scorer.facts.get("recipe_sha256"),
        failed=tuple(check.name for check in results if not check.passed),
    )
    return sum(verdict.rows == rows for verdict in verdicts)


@dataclass
class _CandidateChecks:
    """Checks of one candidate."""

    params: Params
    workspace: Workspace
    scorer: Scorer
    evaluation: Evaluation
    champion: str | None
    gate: statistical_gate.GateResult | None = None

    def checks(self) -> Iterator[Check]:
        params, evaluation = self.params.promote, self.evaluation
        yield checks.evaluated_after_cutoff(evaluation.test_span, evaluation.model_as_of)
        enough = checks.enough_frauds(evaluation.frauds, params)
        yield enough
        if not enough.passed:
            return
        yield from checks.above_baselines(evaluation.metrics, evaluation.baselines)
        yield from checks.calibrated(evaluation.metrics, params)
        rows = evaluation_rows.read_evaluation_rows(self.workspace, self.params.prepare, self.params.evaluate)
        same = evaluation.rows_sha256 == rows.fingerprint
        yield Check("evaluated on the rows at hand", "the same" if same else "others", "rows of the workspace", same)
        if same:
            yield from self._row_checks(rows)

    def _row_checks(self, rows: EvaluationRows) -> Iterator[Check]:
        try:
            own_rows = _featured_for(self.scorer, rows, self.workspace)
        except SchemaError as error:
            yield Check(
                "the candidate can score these rows", error.message, "the columns it was trained on", passed=False
            )
            return
        yield checks.fast_enough(milliseconds(self.scorer, own_rows.test), self.params.promote)
        if self.champion is not None:
            yield from self._champion_checks(self.champion, rows, own_rows)

    def _champion_checks(self, version: str, rows: EvaluationRows, own_rows: EvaluationRows) -> Iterator[Check]:
        champion = self._comparable_champion(version)
        as_of = champion.facts.get("as_of")
        fair = checks.comparable(
            LabelCutoff(self.evaluation.model_as_of, self.evaluation.data_fingerprint),
            LabelCutoff(datetime.fromisoformat(as_of) if as_of else None, champion.facts.get("data_fingerprint")),
            _first_time(rows),
        )
        yield fair
        if not fair.passed:
            return
        try:
            champion_rows = _featured_for(champion, rows, self.workspace)
        except SchemaError as error:
            yield Check(
                "the champion can score these rows", error.message, "the columns it was trained on", passed=False
            )
            return
        scored = evaluation_rows.score(self.scorer, own_rows)
        self.gate = statistical_gate.run_gate(
            scored,
            evaluation_rows.score(champion, champion_rows),
            policy=self.params.policy,
            params=self.params.promote,
            seed=self.params.evaluate.seed,
            deviations=self.scorer.facts.get("seed_deviation", {}).get("values"),
            segments=_segments(scored, rows, self.scorer.catalogue, self.workspace),
            version=f"version {champion.version}",
        )
        yield from self.gate.checks

    def _comparable_champion(self, version: str) -> Scorer:
        """Return the champion, or, if it was trained on these rows (--final), the version whose verdict its recipe relies on."""
        folder = registry.resolve(version, self.params.registry, self.workspace.root)[1]
        champion = Scorer.load(folder, version=version)
        return self._comparable_champion(champion.facts["judged_as"]) if champion.facts.get("final") else champion


def milliseconds(scorer: Scorer, featured: pl.DataFrame) -> float:
    """Measure the time to score one row, from features to probability.

    Parameters
    ----------
    featured
        FEATURED; `ROWS_TIMED` of its rows, evenly spread, are scored `TRIES` times each; the fastest try counts.

    Returns
    -------
    float
        95th percentile over rows, in processor time, so that other load on the machine does not matter.
    """
    indices = np.unique(np.linspace(0, featured.height - 1, ROWS_TIMED).astype(int)).tolist()
    rows = [featured[index : index + 1] for index in indices]
    return float(np.quantile([min(_seconds(scorer, row) for _ in range(TRIES)) for row in rows], 0.95)) * 1e3


def _seconds(scorer: Scorer, row: pl.DataFrame) -> float:
    start = time.process_time()
    scorer.probabilities(row)
    return time.process_time() - start


def _featured_for(scorer: Scorer, rows: EvaluationRows, workspace: Workspace) -> EvaluationRows:
    """Return the rows with the features of the model's catalogue."""
    if evaluation_rows.read_json(workspace.catalogue, Catalogue.from_dict).hash == scorer.catalogue.hash:
        return rows
    transactions = read(workspace.transactions, made_by="prepare")
    ledger = read(workspace.labels, made_by="prepare")
    featured = batch_engine.assemble(transactions, ledger, scorer.catalogue)
    test = rows.test.select("transaction_id").join(featured, on="transaction_id", how="left", maintain_order="left")
    return replace(rows, test=test)


def _segments(
    scored: pl.DataFrame, rows: EvaluationRows, catalogue: Catalogue, workspace: Workspace
) -> Mapping[str, pl.Series]:
    categorical = [f.column for f in catalogue.features if isinstance(f, Column) and f.categorical]
    present = [name for name in categorical if name in rows.test.columns]
    frame = scored.with_columns(rows.test[name] for name in present)
    if {"card_id", "ts"} <= set(frame.columns):
        first = scan(workspace.transactions, made_by="prepare").group_by("card_id").agg(first_seen=pl.col("ts").min())
        frame = frame.join(first.drop_nulls().collect(), on="card_id", how="left", maintain_order="left")
    return segments(frame, zone=catalogue.zone, categories=present)


def _first_time(rows: EvaluationRows) -> datetime | None:
    if "ts" not in rows.test.columns:
        return None
    first = rows.test.filter(rows.counted).select(pl.col("ts").min()).item()
    return first if isinstance(first, datetime) else None


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    names = [name for name in (checks.RANKING, *checks.MONEY) if name in evaluation.metrics]
    return {
        "rows": evaluation.rows,
        "frauds": evaluation.frauds,
        **{name: evaluation.metrics[name].value for name in names},
    }


def _hashes(evaluation: Evaluation) -> dict[str, str]:
    return {
        "data": str(evaluation.data_fingerprint),
        "catalogue": evaluation.catalogue_hash,
        "rows": evaluation.rows_sha256,
    }
