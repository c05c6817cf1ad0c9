"""`evaluate`: score the test rows with a registered model; write metrics, report and model card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fraud3000 import registry
from fraud3000.data.storage import atomic_write
from fraud3000.metrics.report import measure
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import Params
from fraud3000.stages.shared import evaluation_text, report_files
from fraud3000.stages.shared.evaluation_rows import EvaluationRows, read_evaluation_rows, require_same_features, score
from fraud3000.stages.shared.progress import show_status
from fraud3000.stages.shared.summary import Summary
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
    evaluated = read_evaluation_rows(workspace, params)
    version, folder = registry.resolve(model, params.registry, workspace.root)
    scorer = Scorer.load(folder, version=version)
    require_same_features(scorer, workspace)
    scored = score(scorer, evaluated)
    report = {
        **measure(scored, policy=params.policy, evaluate=params.evaluate, split="test"),
        **_facts(scorer, evaluated, params),
        "bundle_sha256": bundle.fingerprint(folder),
    }
    with show_status("drawing the report"):
        texts = report_files.render(report_files.collect_evidence(workspace, params, scorer, evaluated, scored, report))
    values = {name: metric["value"] for name, metric in report["metrics"].items()}
    paths = (workspace.scored, workspace.metrics, workspace.figures, *report_files.output_paths(workspace, version))
    with atomic_write.atomic_outputs(*paths) as (rows, metrics, figures, *others):
        scored.write_parquet(rows)
        metrics.write_text(_json(report), encoding="utf-8")
        figures.write_text(_json(values), encoding="utf-8")
        texts.write(*others)
    registry.log_evaluation(
        version, values, report, params.registry, texts=texts.artifacts, description=texts.description
    )
    return Summary(
        command="evaluate",
        facts=evaluation_text.facts(report),
        tables=(evaluation_text.table(report),),
        outputs={
            "scored": str(workspace.scored),
            "metrics": str(workspace.metrics),
            "report": str(workspace.report),
            "plots": str(workspace.plots),
            "model card": str(workspace.card),
        },
        warnings=(*evaluation_text.warnings(report), *_warnings(scorer, evaluated)),
        next_step="fraud3000 promote" if model == registry.CHALLENGER else f"fraud3000 score-file FILE --model {model}",
    )


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _facts(scorer: Scorer, evaluated: EvaluationRows, params: Params) -> dict[str, Any]:
    test = evaluated.boundaries.test
    return {
        "model_version": scorer.version,
        "model_as_of": scorer.facts.get("as_of"),
        "data_fingerprint": scorer.facts.get("data_fingerprint"),
        "catalogue_hash": scorer.catalogue.hash,
        "rows_sha256": evaluated.fingerprint,
        "label_date": evaluated.label_date.isoformat() if evaluated.label_date else None,
        "test_span": [at.isoformat() for at in test] if test else None,
        "split_by": "time" if test else "random",
        "compromised_cards": _compromised(params, int(evaluated.removed.sum())),
        "policy": {**params.policy.model_dump(mode="json"), "model": scorer.policy.to_dict()},
        "decimals": scorer.mapping.amount.decimals,
    }


def _compromised(params: Params, rows: int) -> dict[str, Any]:
    since = params.evaluate.compromised_since
    stated = {"since": since.isoformat()} if since else {}
    return {"rule": params.evaluate.compromised_cards, "rows": rows, **stated}


def _warnings(scorer: Scorer, evaluated: EvaluationRows) -> Iterator[str]:
    if evaluated.boundaries.test is None:
        yield "the split is random because the data has no time; metrics on a random split are too optimistic"
        return
    as_of, begin = scorer.facts.get("as_of"), evaluated.boundaries.test[0]
    if as_of and datetime.fromisoformat(as_of) > begin:
        yield f"the model was trained with labels known at {as_of}, after the start of the test split ({begin.isoformat()})"
