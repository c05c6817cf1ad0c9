"""`evaluate`: score the test rows with a registered model; write metrics, report and model card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from fraud3000 import registry
from fraud3000.data.storage import atomic_write
from fraud3000.metrics.evaluation import CompromisedCards, EvaluatedPolicy, Evaluation
from fraud3000.metrics.report import measure
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.report.formatting import percent, plain
from fraud3000.report.metric_text import COLUMNS, describe_alerts, describe_catch, metric_rows
from fraud3000.stages.shared import report_files
from fraud3000.stages.shared.default_warnings import evaluation_warnings
from fraud3000.stages.shared.evaluation_rows import EvaluationRows, read_evaluation_rows, require_same_features, score
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace


def evaluate(params: Params, *, model: str = "challenger") -> Summary:
    """Score all rows of the test split, and compute metrics on the rows whose label is known.

    Parameters
    ----------
    params
        The sections ``evaluate`` and ``policy`` set the metrics and costs.
    model
        ``champion``, ``challenger`` or a version.

    Raises
    ------
    DataError
        The features are missing.
    ScorerError
        There is no such model, its bundle failed verification, or its features differ from those of the workspace.
    UnavailableError
        The registry or the workspace cannot be written.
    """
    workspace = Workspace.from_params(params)
    evaluated = read_evaluation_rows(workspace, params.prepare, params.evaluate)
    version, folder = registry.resolve(model, params.registry, workspace.root)
    scorer = Scorer.load(folder, version=version)
    require_same_features(scorer, workspace)
    scored = score(scorer, evaluated)
    evaluation = _evaluation(scored, scorer, evaluated, params, bundle.fingerprint(folder))
    with show_status("drawing the report"):
        texts = report_files.render(
            report_files.collect_evidence(workspace, params, scorer, evaluated, scored, evaluation)
        )
    paths = (workspace.scored, workspace.metrics, workspace.figures, *report_files.output_paths(workspace, version))
    with atomic_write.atomic_outputs(*paths) as (rows, metrics, figures, *others):
        scored.write_parquet(rows)
        metrics.write_text(_json(evaluation.to_dict()), encoding="utf-8")
        figures.write_text(_json({name: metric.value for name, metric in evaluation.metrics.items()}), encoding="utf-8")
        texts.write(*others)
    registry.log_evaluation(version, evaluation, params.registry, texts=texts.artifacts, description=texts.description)
    return Summary(
        command="evaluate",
        facts=_facts(evaluation),
        tables=(Table("What the scores are worth", COLUMNS, metric_rows(evaluation)),),
        outputs={
            "scored": str(workspace.scored),
            "metrics": str(workspace.metrics),
            "report": str(workspace.report),
            "plots": str(workspace.plots),
            "model card": str(workspace.card),
        },
        warnings=(*warnings(evaluation), *evaluation_warnings(evaluation, params)),
        next_step="fraud3000 promote" if model == registry.CHALLENGER else f"fraud3000 score-file FILE --model {model}",
    )


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _evaluation(
    scored: pl.DataFrame, scorer: Scorer, evaluated: EvaluationRows, params: Params, bundle_sha256: str
) -> Evaluation:
    measured = measure(scored, policy=params.policy, evaluate=params.evaluate, split="test")
    test, since = evaluated.boundaries.test, params.evaluate.compromised_since
    cards = {"rule": params.evaluate.compromised_cards, "rows": int(evaluated.removed.sum())}
    return Evaluation(
        **{name: getattr(measured, name) for name in type(measured).model_fields},
        model_version=scorer.version,
        model_as_of=scorer.facts.get("as_of"),
        data_fingerprint=scorer.facts.get("data_fingerprint"),
        catalogue_hash=scorer.catalogue.hash,
        rows_sha256=evaluated.fingerprint,
        label_date=evaluated.label_date,
        test_span=test,
        split_by="time" if test else "random",
        compromised_cards=CompromisedCards.model_validate(cards | ({"since": since} if since else {})),
        policy=EvaluatedPolicy(**params.policy.model_dump(), model=scorer.policy.to_dict()),
        decimals=scorer.mapping.amount.decimals,
        bundle_sha256=bundle_sha256,
    )


def _facts(evaluation: Evaluation) -> dict[str, Any]:
    """Return the facts of the summary: what is caught, with how many alerts, on which rows."""
    removed, daily, recall = evaluation.compromised_cards, evaluation.alerts_a_day, evaluation.metrics["recall"]
    unknown = f"unknown: {recall.reason}" if recall.value is None else None
    frauds = f"{evaluation.frauds:,} frauds"
    if evaluation.prevalence is not None:
        frauds += f" ({percent(evaluation.prevalence)})"
    facts = {
        "model version": evaluation.model_version,
        "caught by alerts": unknown or describe_catch(evaluation.metrics),
        "largest amounts instead": unknown or describe_catch(evaluation.baselines["largest_amount"]),
        "alerts a day": f"unknown: {daily.reason}"
        if daily.mean is None
        else f"{describe_alerts(daily)}, over {daily.days} days",
        "test rows": f"{evaluation.rows:,} measured, {evaluation.alerts:,} alerted, {frauds}",
        "left out": {name.replace("_", " "): number for name, number in evaluation.excluded.items()},
        "compromised cards": f"{removed.rule} ({removed.rows:,} rows)",
        "test span": " to ".join(at.isoformat() for at in evaluation.test_span or ())
        or "random rows, the data has no time",
        "labels as known at": evaluation.label_date.isoformat()
        if evaluation.label_date
        else "any time: the data has no time",
        "intervals": f"95 %, {evaluation.intervals.replicates} replicates by {' and '.join(evaluation.intervals.by)}",
    }
    return {name: plain(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}


def warnings(evaluation: Evaluation) -> Iterator[str]:
    """Yield warnings about the test rows, the alerts and the split."""
    if not evaluation.rows:
        yield "no test row has a known label yet: set a later evaluate.label_date, or an earlier test split"
    elif not evaluation.frauds:
        yield "no test row is known to be fraud: most metrics cannot be computed"
    elif not evaluation.alerts:
        yield "no measured row is alerted: the threshold is above every score"
    if evaluation.intervals.by == ("row",):
        yield f"intervals are {evaluation.intervals.note}"
    if evaluation.test_span is None:
        yield "the split is random because the data has no time; metrics on a random split are too optimistic"
    elif evaluation.model_as_of and evaluation.model_as_of > evaluation.test_span[0]:
        yield (
            f"the model was trained with labels known at {evaluation.model_as_of.isoformat()}, after the start of the "
            f"test split ({evaluation.test_span[0].isoformat()})"
        )
