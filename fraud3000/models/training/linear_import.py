"""Fitted logistic regressions of scikit-learn, converted to coefficient arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from fraud3000.models.inference.linear import Kind, Linear, Term


def from_pipeline(pipeline: Pipeline) -> Linear:
    """Convert a pipeline that `estimators.build` made for a logistic regression, once it is fitted."""
    estimator = pipeline["estimator"]
    columns = list(_columns(pipeline))
    terms = (
        Term(column=column, kind=kind, fill=fill, mean=mean, scale=scale, coefficient=coefficient)
        for (column, kind, fill, mean, scale), coefficient in zip(columns, estimator.coef_[0].tolist(), strict=True)
    )
    return Linear(float(estimator.intercept_[0]), tuple(terms))


def _columns(pipeline: Pipeline) -> Iterator[tuple[int, Kind, float | None, float, float]]:
    for name, step, taken in pipeline["columns"].transformers_:
        if name == "categories":
            yield from _categories(step, taken)
        else:
            yield from _numbers(step, taken)


def _numbers(step: Any, taken: list[int]) -> Iterator[tuple[int, Kind, float | None, float, float]]:
    """Medians of the columns that have one, then the indicators of missing values; all of them scaled."""
    fill, scale = step["fill"], step["scale"]
    filled = [(taken[at], float(fill.statistics_[at])) for at in np.flatnonzero(~np.isnan(fill.statistics_))]
    indicated = [taken[at] for at in fill.indicator_.features_]
    scaling = iter(zip(scale.mean_.tolist(), scale.scale_.tolist(), strict=True))
    for column, median in filled:
        yield column, "number", median, *next(scaling)
    for column in indicated:
        yield column, "missing", None, *next(scaling)


def _categories(step: Any, taken: list[int]) -> Iterator[tuple[int, Kind, float | None, float, float]]:
    for column, codes in zip(taken, step.categories_, strict=True):
        for code in codes.tolist():
            yield column, "category", None if math.isnan(code) else code, 0.0, 1.0
