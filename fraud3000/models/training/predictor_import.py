"""Fitted estimators converted to the form in which they score: trees or coefficients as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from fraud3000.errors import ScorerError
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.linear import Kind, Linear, Term
from fraud3000.models.inference.predictors import Predictor
from fraud3000.models.inference.trees import AGREE
from fraud3000.models.training import estimators, tree_import

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
    predictor: Predictor = _linear(pipeline) if linear else tree_import.from_estimator(pipeline[-1])
    rows = matrix[:: max(1, len(matrix) // _ROWS_CHECKED)]
    difference = float(np.abs(predictor.log_odds(rows) - estimators.log_odds(pipeline, rows)).max())
    if not difference <= AGREE:
        raise ScorerError(
            f"training: the arrays score up to {difference:.2g} (log-odds) off the fitted {type(pipeline[-1]).__name__}",
            hint="Nothing was registered. Please report it, with the versions of scikit-learn and LightGBM.",
        )
    return predictor


def _linear(pipeline: Pipeline) -> Linear:
    """Convert a pipeline that `estimators.build` made for a logistic regression, once it is fitted."""
    estimator = pipeline["estimator"]
    columns = list(_linear_columns(pipeline))
    terms = (
        Term(column=column, kind=kind, fill=fill, mean=mean, scale=scale, coefficient=coefficient)
        for (column, kind, fill, mean, scale), coefficient in zip(columns, estimator.coef_[0].tolist(), strict=True)
    )
    return Linear(float(estimator.intercept_[0]), tuple(terms))


def _linear_columns(pipeline: Pipeline) -> Iterator[tuple[int, Kind, float | None, float, float]]:
    for name, step, indices in pipeline["columns"].transformers_:
        if name == "categories":
            yield from _categories(step, indices)
        else:
            yield from _numbers(step, indices)


def _numbers(step: Any, indices: list[int]) -> Iterator[tuple[int, Kind, float | None, float, float]]:
    """Medians of the columns that have one, then the indicators of missing values; all of them scaled."""
    fill, scale = step["fill"], step["scale"]
    filled = [(indices[at], float(fill.statistics_[at])) for at in np.flatnonzero(~np.isnan(fill.statistics_))]
    indicated = [indices[at] for at in fill.indicator_.features_]
    scaling = iter(zip(scale.mean_.tolist(), scale.scale_.tolist(), strict=True))
    for column, median in filled:
        yield column, "number", median, *next(scaling)
    for column in indicated:
        yield column, "missing", None, *next(scaling)


def _categories(step: Any, indices: list[int]) -> Iterator[tuple[int, Kind, float | None, float, float]]:
    for column, codes in zip(indices, step.categories_, strict=True):
        for code in codes.tolist():
            yield column, "category", None if math.isnan(code) else code, 0.0, 1.0
