"""Read the test rows with their known labels, and score them with a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from fraud3000.errors import DataError, ScorerError
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels import splits, visibility
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import EvaluateModelParams, PrepareModelParams
from fraud3000.schema import REFUND
from fraud3000.stages.shared.workspace import Workspace, read, run_first
from fraud3000.utc import as_utc

Declared = TypeVar("Declared")

ROW_COLUMNS = ("transaction_id", "ts", "card_id", "terminal_id", "amount", "status")


@dataclass(frozen=True)
class EvaluationRows:
    """Test rows with their known labels.

    ``label_date`` is None for data without time; ``removed`` marks the test rows that are left out because their card
    was known to be compromised.
    """

    test: pl.DataFrame
    is_fraud: pl.Series
    removed: pl.Series
    label_date: datetime | None
    boundaries: splits.Boundaries

    @property
    def counted(self) -> pl.Series:
        """Whether each row is measured: known label, not a refund, and not left out."""
        return self.is_fraud.is_not_null() & self.test["status"].ne_missing(REFUND) & ~self.removed

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the measured rows and their labels: equal if two models are measured on the same rows and labels."""
        rows = self.test.select("transaction_id", is_fraud=self.is_fraud).filter(self.counted).sort("transaction_id")
        return hashlib.sha256(rows.write_csv().encode()).hexdigest()


def read_evaluation_rows(
    workspace: Workspace, prepare: PrepareModelParams, evaluate: EvaluateModelParams
) -> EvaluationRows:
    """Read the test split and the labels as known on the evaluation's label date.

    Raises
    ------
    DataError
        A file of prepare or featurize is missing or cannot be read.
    """
    test = read(workspace.split("test"), made_by="featurize")
    transactions = read(workspace.transactions, made_by="prepare")
    ledger = read(workspace.labels, made_by="prepare")
    boundaries = read_json(workspace.boundaries, splits.Boundaries.from_dict)
    at = label_date(evaluate, transactions, ledger)
    delay, precedence = prepare.label_delay, prepare.source_precedence
    removed = pl.repeat(value=False, n=test.height, eager=True)
    if evaluate.compromised_cards == "remove" and boundaries.train is not None:
        known = visibility.known_at(transactions, ledger, at, label_delay=delay, precedence=precedence)
        since = evaluate.compromised_since
        compromised = transactions.filter(splits.known_compromised(transactions, known, boundaries, delay, since=since))
        removed = test["transaction_id"].is_in(compromised["transaction_id"].implode())
    is_fraud = visibility.known_at(test, ledger, at, label_delay=delay, precedence=precedence)
    return EvaluationRows(test, is_fraud, removed, at, boundaries)


def read_json(path: Path, from_dict: Callable[[dict[str, Any]], Declared]) -> Declared:
    """Read a JSON file that featurize wrote (catalogue, split).

    Raises
    ------
    DataError
        The file is missing or cannot be read.
    """
    hint = run_first(path, made_by="featurize")
    if not path.exists():
        raise DataError(f"{path}: not found", hint=hint)
    try:
        return from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__}: {error})", hint=hint) from error


def require_same_features(scorer: Scorer, workspace: Workspace) -> None:
    """Refuse a workspace whose features have the names of the model's but other definitions or settings."""
    here, own = read_json(workspace.catalogue, Catalogue.from_dict), scorer.catalogue
    used = [feature for feature in own.features if feature.name in scorer.model.encoder.columns]
    other = [feature.name for feature in used if feature.name in here.names and feature not in here.features]
    settings = ("label_delay", "late_horizon", "zone", "precedence")
    other += [name for name in settings if getattr(here, name) != getattr(own, name)]
    if other:
        raise ScorerError(
            f"model {scorer.version} reads other features than those in {workspace.root}: they differ in "
            f"{', '.join(other)}",
            hint="Run `fraud3000 featurize` with the params that the model was trained with, or train again.",
        )


def label_date(evaluate: EvaluateModelParams, transactions: pl.DataFrame, ledger: pl.DataFrame) -> datetime | None:
    """Return the time at which labels are read: that of the params, by default just after the last record."""
    if "ts" not in transactions.columns:
        return None
    stated = evaluate.label_date
    if stated is not None:
        return as_utc(stated)
    newest = pl.concat([transactions["ts"], ledger["recorded_at"].rename("ts")]).max()
    if not isinstance(newest, datetime):
        raise DataError("the transactions: none has a time", hint="Run `fraud3000 prepare` on a file with rows.")
    return newest + timedelta(microseconds=1)


def score(scorer: Scorer, rows: EvaluationRows) -> pl.DataFrame:
    """Score every test row, measured or not.

    Returns
    -------
    polars.DataFrame
        The columns of `ROW_COLUMNS` that the data has, then score, threshold, alert, model_version, decision, is_fraud and evaluated.
    """
    scored = scorer.decide(rows.test).select("score", "threshold", "alert", "model_version", "decision")
    return rows.test.select(name for name in ROW_COLUMNS if name in rows.test.columns).with_columns(
        scored, is_fraud=rows.is_fraud, evaluated=rows.counted
    )
