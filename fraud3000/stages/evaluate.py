"""Test rows and a registered model to scores, metrics and what they mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from fraud3000 import labels, registry, splits
from fraud3000.data import outputs
from fraud3000.errors import DataError, ScorerError
from fraud3000.features.spec import Catalogue
from fraud3000.metrics.report import measure
from fraud3000.params import Params
from fraud3000.schema import REFUND
from fraud3000.scorer import Scorer
from fraud3000.stages import evaluation
from fraud3000.stages.summary import Summary
from fraud3000.stages.workspace import Workspace, read

Declared = TypeVar("Declared")

KEPT = ("transaction_id", "ts", "card_id", "terminal_id", "amount", "status")


@dataclass(frozen=True)
class _Inputs:
    """The test rows and all that is known of them.

    ``label_date`` is None for data without time, ``removed`` says for each test row whether its card
    was known to be compromised and is left out.
    """

    test: pl.DataFrame
    is_fraud: pl.Series
    removed: pl.Series
    label_date: datetime | None
    boundaries: splits.Boundaries


def evaluate(params: Params, *, model: str = "challenger") -> Summary:
    """Score the test split, mature or not, and measure the rows whose label is known.

    Parameters
    ----------
    params
        ``evaluate`` and ``policy`` say what is measured.
    model
        ``champion``, ``challenger`` or a version.

    Raises
    ------
    DataError
        The features are missing.
    ScorerError
        There is no such model, its bundle cannot be trusted, or it reads other features than there are.
    UnavailableError
        The registry or the workspace cannot be written.
    """
    workspace = Workspace.of(params)
    inputs = _read(workspace, params)
    version, folder = registry.resolve(model, params.registry, workspace.root)
    scorer = Scorer.load(folder, version=version)
    _require_its_features(scorer, workspace)
    scored = _score(scorer, inputs)
    report = {
        **measure(scored, policy=params.policy, evaluate=params.evaluate, split="test"),
        **_facts(scorer, inputs, params),
    }
    values = {name: metric["value"] for name, metric in report["metrics"].items()}
    with outputs.whole(workspace.scored, workspace.metrics) as (rows, metrics):
        scored.write_parquet(rows)
        metrics.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    registry.log_evaluation(version, values, report, params.registry)
    return Summary(
        command="evaluate",
        facts=evaluation.facts(report),
        tables=(evaluation.table(report),),
        outputs={"scored": str(workspace.scored), "metrics": str(workspace.metrics)},
        warnings=(*evaluation.warnings(report), *_warnings(scorer, inputs)),
        next_step=f"fraud3000 score-file FILE --model {model}",
    )


def _read(workspace: Workspace, params: Params) -> _Inputs:
    test = read(workspace.split("test"), made_by="featurize")
    transactions = read(workspace.transactions, made_by="prepare")
    ledger = read(workspace.labels, made_by="prepare")
    boundaries = _boundaries(workspace)
    at = _label_date(params, transactions, ledger)
    delay, precedence = params.prepare.label_delay, params.prepare.source_precedence
    removed = pl.repeat(value=False, n=test.height, eager=True)
    if params.evaluate.compromised_cards == "remove" and boundaries.train is not None:
        since = transactions.filter(pl.col("ts") >= boundaries.train[0])
        known = labels.known_at(since, ledger, at, label_delay=delay, precedence=precedence)
        compromised = since.filter(splits.known_compromised(since, known, boundaries, delay))
        removed = test["transaction_id"].is_in(compromised["transaction_id"].implode())
    is_fraud = labels.known_at(test, ledger, at, label_delay=delay, precedence=precedence)
    return _Inputs(test, is_fraud, removed, at, boundaries)


def _boundaries(workspace: Workspace) -> splits.Boundaries:
    return _declared(workspace.boundaries, splits.Boundaries.from_dict)


def _declared(path: Path, from_dict: Callable[[dict[str, Any]], Declared]) -> Declared:
    """What featurize wrote beside the features."""
    hint = "Run `fraud3000 featurize` first, with the same params."
    if not path.exists():
        raise DataError(f"{path}: not found", hint=hint)
    try:
        return from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__}: {error})", hint=hint) from error


def _require_its_features(scorer: Scorer, workspace: Workspace) -> None:
    """Refuse features that bear the names of the model's own and were declared or set otherwise."""
    here, its_own = _declared(workspace.catalogue, Catalogue.from_dict), scorer.catalogue
    read = [feature for feature in its_own.features if feature.name in scorer.model.encoder.columns]
    other = [feature.name for feature in read if feature.name in here.names and feature not in here.features]
    settings = ("label_delay", "late_horizon", "zone", "precedence")
    other += [name for name in settings if getattr(here, name) != getattr(its_own, name)]
    if other:
        raise ScorerError(
            f"model {scorer.version} reads other features than those in {workspace.root}: they differ in "
            f"{', '.join(other)}",
            hint="Run `fraud3000 featurize` with the params that the model was trained with, or train again.",
        )


def _label_date(params: Params, transactions: pl.DataFrame, ledger: pl.DataFrame) -> datetime | None:
    """Give the day on which labels are read: as told, or just after all that is on record."""
    if "ts" not in transactions.columns:
        return None
    stated = params.evaluate.label_date
    if stated is not None:
        return stated.replace(tzinfo=UTC) if stated.tzinfo is None else stated.astimezone(UTC)
    newest = pl.concat([transactions["ts"], ledger["recorded_at"].rename("ts")]).max()
    if not isinstance(newest, datetime):
        raise DataError("the transactions: none has a time", hint="Run `fraud3000 prepare` on a file with rows.")
    return newest + timedelta(microseconds=1)


def _score(scorer: Scorer, inputs: _Inputs) -> pl.DataFrame:
    score, amount = scorer.score(inputs.test), inputs.test["amount"].to_numpy()
    counted = inputs.is_fraud.is_not_null() & inputs.test["status"].ne_missing(REFUND) & ~inputs.removed
    return inputs.test.select(name for name in KEPT if name in inputs.test.columns).with_columns(
        score=pl.Series(score, dtype=pl.Float64),
        threshold=pl.Series(scorer.thresholds(amount), dtype=pl.Float64),
        alert=pl.Series(scorer.alerts(score, amount), dtype=pl.Boolean),
        model_version=pl.lit(scorer.version),
        is_fraud=inputs.is_fraud,
        evaluated=counted,
    )


def _facts(scorer: Scorer, inputs: _Inputs, params: Params) -> dict[str, Any]:
    test = inputs.boundaries.test
    return {
        "model_version": scorer.version,
        "label_date": inputs.label_date.isoformat() if inputs.label_date else None,
        "test_span": [at.isoformat() for at in test] if test else None,
        "split_by": "time" if test else "random",
        "compromised_cards": {"rule": params.evaluate.compromised_cards, "rows": int(inputs.removed.sum())},
        "policy": {**params.policy.model_dump(mode="json"), "model": scorer.policy.to_dict()},
        "decimals": scorer.mapping.amount.decimals,
    }


def _warnings(scorer: Scorer, inputs: _Inputs) -> Iterator[str]:
    if inputs.boundaries.test is None:
        yield "the split is random, which flatters every model: the data has no time"
        return
    as_of, begin = scorer.facts.get("as_of"), inputs.boundaries.test[0]
    if as_of and datetime.fromisoformat(as_of) > begin:
        yield f"the model was made with labels known at {as_of}, after the test split begins ({begin.isoformat()})"
