"""What a fitted learner becomes when it is deployed: trees as arrays, or a linear pipeline."""

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

_ROWS_CHECKED = 10_000


class Predictor(Protocol):
    """Gives log-odds of fraud; a row's answer does not depend on the rows beside it."""

    def log_odds(self, matrix: Floats) -> Floats:
        """Of encoded rows, ndarray of shape (n_rows, n_columns), to shape (n_rows,)."""


@dataclass(frozen=True)
class Linear:
    """A logistic regression with the columns that it makes for itself."""

    pipeline: Pipeline

    def log_odds(self, matrix: Floats) -> Floats:
        return estimators.log_odds(self.pipeline, matrix)


def deploy(pipeline: Pipeline, matrix: Floats) -> Predictor:
    """Give the form in which a fitted pipeline scores from now on.

    Parameters
    ----------
    matrix
        Rows of the fit, on which both forms are held against each other.

    Raises
    ------
    ScorerError
        They differ by more than `AGREE`.
    """
    if isinstance(pipeline[-1], LogisticRegression):
        return Linear(pipeline)
    made = tree_import.from_estimator(pipeline[-1])
    rows = matrix[:: max(1, len(matrix) // _ROWS_CHECKED)]
    difference = float(np.abs(made.log_odds(rows) - estimators.log_odds(pipeline, rows)).max())
    if not difference <= AGREE:
        raise ScorerError(
            f"training: the trees as they would be deployed score up to {difference:.2g} (log-odds) off their estimator",
            hint="Nothing was registered. Please report it, with the versions of scikit-learn and LightGBM.",
        )
    return made


def dumps(predictor: Predictor) -> tuple[str, bytes]:
    """Give the ending of a predictor's file, and its content."""
    if isinstance(predictor, Trees):
        return "npz", predictor.dumps()
    assert isinstance(predictor, Linear)
    return "skops", skops_io.dumps(predictor.pipeline)


def loads(ending: str, content: bytes, columns: int) -> Predictor:
    """Read what `dumps` gave.

    Parameters
    ----------
    columns
        How many columns the encoder has.

    Raises
    ------
    InvalidPartError
        It cannot be read, or is no fitted logistic regression.
    ScorerError
        It holds types that no model of ours has, or arrays that are no trees.
    """
    if ending == "npz":
        return Trees.loads(content, columns)
    pipeline = skops_io.loads(content)
    linear_checks.require_sound(pipeline, columns)
    return Linear(pipeline)


def checksums(content: bytes) -> dict[str, str]:
    """SHA-256 of each member of a predictor's file, however they are compressed."""
    unpacked = BoundedZip(content)
    return {name: hashlib.sha256(unpacked.read(name)).hexdigest() for name in unpacked.names}
