"""Deployed form of a fitted learner: trees as arrays, or a linear pipeline."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from fraud3000.errors import ScorerError
from fraud3000.models.inference import linear_checks, skops_io
from fraud3000.models.inference.bounded_zip import BoundedZip
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.trees import AGREE, Trees
from fraud3000.models.training import estimators, tree_import

_ROWS_COMPARED = 10_000


class Predictor(Protocol):
    """Compute log-odds of fraud; the result of a row does not depend on other rows."""

    def log_odds(self, matrix: Floats) -> Floats:
        """Return the log-odds, shape (n_rows,), of encoded rows, ndarray of shape (n_rows, n_columns)."""


@dataclass(frozen=True)
class Linear:
    """Logistic regression with its own column preprocessing."""

    pipeline: Pipeline

    def log_odds(self, matrix: Floats) -> Floats:
        return estimators.log_odds(self.pipeline, matrix)


def deploy(pipeline: Pipeline, matrix: Floats) -> Predictor:
    """Convert a fitted pipeline to its deployed form, and check that both give the same scores.

    Parameters
    ----------
    matrix
        Rows of the fit, on which both forms are compared.

    Raises
    ------
    ScorerError
        The log-odds of the two forms differ by more than `AGREE`.
    """
    if isinstance(pipeline[-1], LogisticRegression):
        return Linear(pipeline)
    trees = tree_import.from_estimator(pipeline[-1])
    rows = matrix[:: max(1, len(matrix) // _ROWS_COMPARED)]
    difference = float(np.abs(trees.log_odds(rows) - estimators.log_odds(pipeline, rows)).max())
    if not difference <= AGREE:
        raise ScorerError(
            f"training: log-odds of the deployed trees differ from their estimator's by up to {difference:.2g}",
            hint="Nothing was registered. Please report it, with the versions of scikit-learn and LightGBM.",
        )
    return trees


def dumps(predictor: Predictor) -> tuple[str, bytes]:
    """Serialize a predictor; return the suffix of its file and the content."""
    if isinstance(predictor, Trees):
        return "npz", predictor.dumps()
    assert isinstance(predictor, Linear)
    return "skops", skops_io.dumps(predictor.pipeline)


def loads(suffix: str, content: bytes, columns: int) -> Predictor:
    """Read what `dumps` wrote.

    Parameters
    ----------
    columns
        How many columns the encoder has.

    Raises
    ------
    InvalidPartError
        It cannot be read, or is not a fitted logistic regression.
    ScorerError
        It holds types that no fraud3000 model has, or arrays that are not valid trees.
    """
    if suffix == "npz":
        return Trees.loads(content, columns)
    pipeline = skops_io.loads(content)
    linear_checks.require_valid(pipeline, columns)
    return Linear(pipeline)


def checksums(content: bytes) -> dict[str, str]:
    """Return the SHA-256 of each uncompressed member of a predictor's file."""
    unpacked = BoundedZip(content)
    return {name: hashlib.sha256(unpacked.read(name)).hexdigest() for name in unpacked.names}
