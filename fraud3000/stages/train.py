"""`train`: fit, calibrate, set the threshold, write the bundle, and register it as challenger."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from fraud3000 import registry
from fraud3000.data.cleaning import cards, sensitive, sources
from fraud3000.data.storage import atomic_write
from fraud3000.errors import CheckFailed, UnavailableError
from fraud3000.evaluation import rolling_backtest
from fraud3000.labels.splits import Boundaries
from fraud3000.metrics.catalogue import display_name
from fraud3000.models import policy
from fraud3000.models.inference import bundle, category_counts, self_test_rows
from fraud3000.models.inference.explain import UsualValues
from fraud3000.models.inference.model import Model
from fraud3000.models.inference.scorer import Scorer
from fraud3000.models.inference.self_test_rows import SelfTestRows
from fraud3000.models.training import cross_fit, estimators, fit, seed_noise
from fraud3000.models.training.cross_fit import CrossFitResult
from fraud3000.models.training.training_rows import LATER, require_both_classes
from fraud3000.params import ColumnMapping, Params, Span
from fraud3000.promotion import history, verdict_log
from fraud3000.stages.shared import category_tables, model_pointer
from fraud3000.stages.shared.default_warnings import budget_warnings
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.training_inputs import TrainingInputs, from_known_labels, from_split
from fraud3000.stages.shared.workspace import Workspace


def train(params: Params, *, final: bool = False) -> Summary:
    """Train on the train split, calibrate and set the threshold on validation, and register the result as challenger.

    Parameters
    ----------
    final
        Train on all rows whose label is known today, with a recipe that the promotion checks have accepted.

    Raises
    ------
    CheckFailed
        A final model is requested, and no accepted verdict on its recipe is valid today.
    DataError
        The features are missing, or a model cannot be trained on their labels.
    ParamsError
        The estimator does not take the params, or the policy needs days and the data has no time.
    UnavailableError
        The registry or the workspace cannot be written; nothing is registered.
    """
    workspace = Workspace.from_params(params)
    estimators.check(params.train)
    inputs = from_known_labels(workspace, params.prepare, params.evaluate) if final else from_split(workspace)
    origin = _final_facts(params, inputs.catalogue.hash) if final else {}
    require_both_classes(inputs.train)
    policy.require_rows(inputs.valid.featured, params.policy)
    registry.require_writable(params.registry)
    rows, is_fraud = inputs.train.known
    model = fit.fit(rows, is_fraud, inputs.catalogue.features, params.train)
    settled = cross_fit.calibrate_and_set_threshold(
        model, inputs.train, inputs.valid, inputs.catalogue, inputs.boundaries, params.train, params.policy
    )
    spread = seed_noise.measure(model, inputs.train, inputs.valid, inputs.catalogue, params.train, params.policy)
    typical = UsualValues.learn(model.encoder, rows.filter(pl.Series(is_fraud == 0)), inputs.catalogue.features)
    columns = category_counts.count_training(model.encoder, inputs.catalogue.features, rows, inputs.valid.featured)
    scorer = Scorer(
        catalogue=inputs.catalogue,
        mapping=_mapping(params, inputs.train.known[0]),
        model=model,
        calibrator=settled.calibrator,
        policy=settled.threshold.policy,
        typical=typical,
        recorded=_self_test_rows(model, settled, inputs.valid.featured),
        facts={
            **_facts(inputs, params),
            "categories": {name: column.to_dict() for name, column in columns.items()},
            "seed_deviation": spread.to_dict(),
            **origin,
        },
    )
    deviations = {f"seed_deviation_{name}": value for name, value in spread.values.items()}
    metrics = {**cross_fit.validation_metrics(inputs.valid, settled.log_odds), **deviations}
    version = _register(scorer, params, metrics, workspace)
    summary = _summary(version, scorer, inputs, settled, metrics, workspace)
    return replace(summary, warnings=(*summary.warnings, *_budget_warnings(inputs.valid.featured, params)))


def _budget_warnings(rows: pl.DataFrame, params: Params) -> Iterator[str]:
    days = rows["ts"].dt.date().n_unique() if "ts" in rows.columns else 0
    return budget_warnings(rows.height, days, params.policy)


def _self_test_rows(model: Model, settled: CrossFitResult, valid: pl.DataFrame) -> SelfTestRows:
    """Return encoded validation rows with the scores of the deployed model."""
    indices = self_test_rows.row_indices(valid.height)
    return SelfTestRows.from_matrix(
        model.encoder.matrix(valid[indices]), settled.calibrator.probability(settled.log_odds[indices])
    )


def _mapping(params: Params, rows: pl.DataFrame) -> ColumnMapping:
    """Return the mapping to read later raw files with; what was detected in the card column applies to all of them."""
    mapping = sources.resolve(params.prepare)
    mapping = mapping.model_copy(update={"card_like_ids": sensitive.card_like_roles(rows, mapping)})
    if mapping.card_numbers != "detect" or "card_id" not in rows.columns:
        return mapping
    if cards.are_hashes(rows["card_id"]):
        return mapping.model_copy(update={"card_numbers": "yes"})
    return mapping if cards.contain_hashes(rows["card_id"]) else mapping.model_copy(update={"card_numbers": "no"})


def _facts(inputs: TrainingInputs, params: Params) -> dict[str, Any]:
    """Return the origin of the model, limited to what was known on its cut-off date: retraining gives the same bytes."""
    as_of = inputs.boundaries.as_of
    return {
        "estimator": estimators.describe(params.train),
        "imbalance": ", ".join(dict.fromkeys(learner.imbalance for learner in params.train.learners)),
        "calibration": params.train.calibration,
        "recipe": rolling_backtest.recipe(params.train, inputs.catalogue.hash),
        "recipe_sha256": _recipe_sha256(params, inputs.catalogue.hash),
        "data_fingerprint": inputs.fingerprint,
        "as_of": as_of.isoformat() if as_of else None,
        "split": "time" if as_of else "random",
        "rows": {name: count for name, count in inputs.train.counts.items() if name != LATER},
    }


def _recipe_sha256(params: Params, catalogue_hash: str) -> str:
    """Return the SHA-256 of the recipe: the train params except the seed, the features and the policy."""
    content = {
        **rolling_backtest.recipe(params.train, catalogue_hash),
        "policy": params.policy.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _final_facts(params: Params, catalogue_hash: str) -> dict[str, Any]:
    """Return the facts of a final model; refuse before the fit if there is no valid verdict on its recipe."""
    verdicts, champion = verdict_log.read_verdicts(params.registry), history.alias_state(params.registry).champion
    version = verdict_log.accepted_version(verdicts, _recipe_sha256(params, catalogue_hash), champion)
    if version is None:
        against = f"against version {champion}" if champion else "as a first champion"
        raise CheckFailed(
            f"train --final: no accepted verdict on this recipe (train, features and policy params) {against}",
            hint="Train, evaluate and promote it first (--dry-run is enough), or use the params of an accepted version.",
        )
    return {"final": True, "judged_as": version}


def _register(scorer: Scorer, params: Params, metrics: dict[str, float], workspace: Workspace) -> str:
    """Write the bundle to a temporary folder, register it, then move it to the version's folder."""
    models = workspace.bundle("")
    try:
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models, prefix=".candidate-") as temporary:
            saved = Path(temporary) / "bundle"
            scorer.save(saved)
            version = registry.log_training(_training(saved, scorer, params, metrics), params.registry)
            pointer_text = model_pointer.pointer_text(registry.CHALLENGER, version, saved)
            paths = (workspace.bundle(version), workspace.pointer(registry.CHALLENGER), workspace.trained)
            with atomic_write.atomic_outputs(*paths) as (part, *pointers):
                saved.replace(part)
                for pointer in pointers:
                    pointer.write_text(pointer_text, encoding="utf-8")
    except OSError as error:
        raise UnavailableError(
            f"{models}: cannot be written ({error.strerror})", hint="Free space, or set another workspace."
        ) from error
    return version


def _training(saved: Path, scorer: Scorer, params: Params, metrics: dict[str, float]) -> registry.TrainingRun:
    kinds: dict[str, str] = {feature.name: feature.kind for feature in scorer.catalogue.features}
    kinds["amount"] = "integer"
    return registry.TrainingRun(
        bundle=saved,
        params={**params.model_dump(mode="json"), "train": estimators.effective_params(params.train)},
        metrics=metrics,
        tags={
            "data_fingerprint": scorer.facts["data_fingerprint"],
            "catalogue_hash": scorer.catalogue.hash,
            "labels_as_of": scorer.facts["as_of"] or "no time",
            **_git_tags(),
        },
        columns={name: kinds[name] for name in scorer.model.encoder.columns},
    )


def _git_tags() -> dict[str, str]:
    """Return the git commit of the current folder, if it is a repository."""
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"git_commit": result.stdout.strip()} if result.returncode == 0 else {}


def _summary(
    version: str,
    scorer: Scorer,
    inputs: TrainingInputs,
    settled: CrossFitResult,
    metrics: dict[str, float],
    workspace: Workspace,
) -> Summary:
    as_of = inputs.boundaries.as_of
    facts = {
        "version": f"{version} (challenger)",
        **({"recipe accepted as": f"version {scorer.facts['judged_as']}"} if "judged_as" in scorer.facts else {}),
        "estimator": scorer.facts["estimator"],
        "labels as of": f"{as_of:%Y-%m-%d %H:%M} UTC" if as_of else "all known (the data has no time)",
        "split by": scorer.facts["split"],
        "features": len(scorer.model.encoder.columns),
        "training": _span(inputs.boundaries.train),
        "validation": _validation(inputs.boundaries),
        "calibration": f"{scorer.calibrator.method}, on {settled.calibrated_on}",
        **_threshold_facts(settled),
        "validation average precision": metrics.get("valid_average_precision"),
        "validation AUC": metrics.get("valid_auc_roc"),
        "validation prevalence": metrics.get("valid_prevalence"),
        "deviation over seeds": _spread(scorer.facts["seed_deviation"]),
        "data fingerprint": inputs.fingerprint[:12],
        "catalogue hash": scorer.catalogue.hash[:12],
        "bundle hash": bundle.fingerprint(workspace.bundle(version))[:12],
    }
    return Summary(
        command="train",
        facts=facts,
        tables=(_rows_table(inputs), *category_tables.truncated(scorer.trained_categories)),
        outputs={"model": str(workspace.bundle(version))},
        warnings=tuple(_warnings(scorer, inputs, settled, metrics)),
        next_step="fraud3000 promote" if "judged_as" in scorer.facts else "fraud3000 evaluate",
    )


def _spread(noise: dict[str, Any]) -> str:
    """Describe the standard deviation of the metrics over seeds."""
    if not noise["values"]:
        return f"not measured: {noise['reason'] or 'the rows do not determine the metrics'}"
    deviations = ", ".join(f"{display_name(name)} ±{value:.4f}" for name, value in noise["values"].items())
    basis = f"{noise['seeds']} seeds on {noise['rows']:,} rows" if noise["seeds"] else "deterministic learner"
    return f"{deviations}; {basis}"


def _validation(boundaries: Boundaries) -> str:
    """Describe the span of the validation rows, and whether it is before or after training."""
    if boundaries.valid is None or boundaries.train is None:
        return _span(None)
    side = "before" if boundaries.valid[1] <= boundaries.train[0] else "after"
    return f"{_span(boundaries.valid)}, {side} training"


def _span(span: Span | None) -> str:
    return f"{span[0]:%Y-%m-%d %H:%M} to {span[1]:%Y-%m-%d %H:%M} UTC" if span else "random rows"


def _threshold_facts(settled: CrossFitResult) -> dict[str, Any]:
    threshold = settled.threshold
    facts: dict[str, Any] = {"threshold": "by cost, for each amount" if threshold.value is None else threshold.value}
    if threshold.expected_per_day is not None:
        spread = "" if threshold.daily_spread is None else f" ± {threshold.daily_spread:.1f}"
        facts[f"{threshold.unit} reviewed a day"] = f"{threshold.expected_per_day:.1f}{spread}"
    if threshold.declined_per_day:
        facts["rows declined a day"] = f"{threshold.declined_per_day:.1f}"
    if threshold.policy.price:
        facts["price of a review beyond its cost"] = round(threshold.policy.price, 1)
    return {**facts, "threshold set on": settled.threshold_on}


def _rows_table(inputs: TrainingInputs) -> Table:
    counts = {"train": inputs.train.counts, "valid": inputs.valid.counts}
    rows = tuple((name, *(f"{split[name]:,}" for split in counts.values())) for name in inputs.train.counts)
    return Table("Rows, labels as known on the cut-off date", ("", *counts), rows)


def _warnings(
    scorer: Scorer, inputs: TrainingInputs, settled: CrossFitResult, metrics: dict[str, float]
) -> Iterator[str]:
    if scorer.model.encoder.dropped:
        left_out = ", ".join(f"{name} ({why})" for name, why in scorer.model.encoder.dropped.items())
        yield f"features left out: {left_out}"
    yield from category_tables.truncation_warnings(scorer.trained_categories)
    if not scorer.model.converged:
        yield "the solver stopped before it converged; raise train.estimator_params.max_iter"
    if inputs.boundaries.as_of is None:
        yield "the split is random because the data has no time; metrics on a random split are too optimistic"
    later = inputs.train.counts[LATER]
    if later:
        yield f"{later:,} training rows count as legitimate although they were reported as fraud after the cut-off date"
    method = scorer.facts["calibration"]
    if scorer.calibrator.method != method:
        yield f"too few frauds for {method} calibration: {scorer.calibrator.method} was fitted instead"
    if settled.threshold.value == 0:
        yield "every row can be reviewed within the capacity: the threshold is 0"
    if "valid_average_precision" not in metrics:
        yield "no validation metrics: all known validation labels are the same"
