"""Validate a loaded pipeline: a fitted logistic regression with finite, consistent attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fraud3000.strict_json import InvalidPartError


def require_valid(pipeline: Any, columns: int) -> None:
    """Refuse a pipeline with other steps, or with values that a fit cannot produce.

    Parameters
    ----------
    columns
        How many columns the encoder has.

    Raises
    ------
    InvalidPartError
        Naming the step and its attribute.
    """
    try:
        faults = list(_faults(pipeline, columns))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InvalidPartError(f"not a fitted logistic regression ({type(error).__name__}: {error})") from error
    if faults:
        raise InvalidPartError("; ".join(faults))


def _faults(pipeline: Any, columns: int) -> Iterator[str]:
    if not _has_steps(pipeline, {"columns": ColumnTransformer, "estimator": LogisticRegression}):
        yield "steps: not those of a logistic regression"
        return
    total_width, sources = 0, []
    for name, step, indices in pipeline["columns"].transformers_:
        sources += indices
        faults, width = _number_faults(step) if name == "numbers" else _category_faults(step)
        yield from faults
        total_width += width
    if sorted(sources) != list(range(columns)):
        yield f"columns: not the {columns} of the encoder"
    estimator = pipeline["estimator"]
    yield from _array_faults("coef_", estimator.coef_, (1, total_width))
    yield from _array_faults("intercept_", estimator.intercept_, (1,))
    if np.asarray(estimator.classes_).tolist() != [0, 1]:
        yield "classes_: not 0 and 1"


def _number_faults(step: Any) -> tuple[list[str], int]:
    if not _has_steps(step, {"fill": SimpleImputer, "scale": StandardScaler}):
        return ["numbers: not the steps that fill gaps and scale"], 0
    fill, scale = step["fill"], step["scale"]
    known = np.asarray(fill.statistics_)[~np.isnan(fill.statistics_)]
    width = len(known) + len(fill.indicator_.features_)
    faults = [*_array_faults("statistics_", known, (len(known),)), *_array_faults("mean_", scale.mean_, (width,))]
    faults += _array_faults("scale_", scale.scale_, (width,))
    if not faults and not (scale.scale_ > 0).all():
        faults.append("scale_: not above 0")
    return faults, width


def _category_faults(step: Any) -> tuple[list[str], int]:
    if type(step) is not OneHotEncoder:
        return ["categories: not a one-hot encoder"], 0
    faults = [fault for codes in step.categories_ for fault in _code_faults(np.asarray(codes))]
    return faults, sum(len(codes) for codes in step.categories_)


def _code_faults(codes: Any) -> Iterator[str]:
    """Check that codes rise; the last may be NaN, the missing category."""
    if codes.dtype != np.float64 or codes.ndim != 1:
        yield f"categories_: {codes.dtype} of shape {codes.shape}"
    elif not (np.diff(codes[~np.isnan(codes)]) > 0).all() or np.isnan(codes[:-1]).any() or np.isinf(codes).any():
        yield "categories_: not in order, or not finite"


def _array_faults(name: str, values: Any, shape: tuple[int, ...]) -> list[str]:
    array = np.asarray(values)
    if array.dtype != np.float64 or array.shape != shape:
        return [f"{name}: {array.dtype} of shape {array.shape} instead of float64 of {shape}"]
    return [] if np.isfinite(array).all() else [f"{name}: not finite"]


def _has_steps(pipeline: Any, expected: dict[str, type]) -> bool:
    return type(pipeline) is Pipeline and {name: type(step) for name, step in pipeline.steps} == expected
