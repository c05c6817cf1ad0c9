"""Fitted estimators converted to the form in which they score: trees or coefficients as arrays."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from fraud3000.errors import ScorerError
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.predictors import Predictor
from fraud3000.models.inference.trees import AGREE
from fraud3000.models.training import estimators, linear_import, tree_import

_ROWS_CHECKED = 10_000


def from_pipeline(pipeline: Pipeline, matrix: Floats) -> Predictor:
    """Convert a fitted pipeline, and compare both forms.

    Parameters
    ----------
    matrix
        Rows of the fit, ndarray of shape (n_rows, n_columns), on which the two forms are compared.

    Raises
    ------
    ScorerError
        Their log-odds differ by more than `AGREE`.
    """
    linear = isinstance(pipeline[-1], LogisticRegression)
    predictor: Predictor = linear_import.from_pipeline(pipeline) if linear else tree_import.from_estimator(pipeline[-1])
    rows = matrix[:: max(1, len(matrix) // _ROWS_CHECKED)]
    difference = float(np.abs(predictor.log_odds(rows) - estimators.log_odds(pipeline, rows)).max())
    if not difference <= AGREE:
        raise ScorerError(
            f"training: the arrays score up to {difference:.2g} (log-odds) off the fitted {type(pipeline[-1]).__name__}",
            hint="Nothing was registered. Please report it, with the versions of scikit-learn and LightGBM.",
        )
    return predictor
