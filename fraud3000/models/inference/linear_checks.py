"""Checks that a pipeline is the logistic regression that a training fits, each fault by its attribute's name."""

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


def require_sound(pipeline: Any, columns: int) -> None:
    """Refuse a pipeline of other steps, or with numbers that no fit gives.

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
        raise InvalidPartError(f"no fitted logistic regression ({type(error).__name__}: {error})") from error
    if faults:
        raise InvalidPartError("; ".join(faults))


def _faults(pipeline: Any, columns: int) -> Iterator[str]:
    if not _steps(pipeline, {"columns": ColumnTransformer, "estimator": LogisticRegression}):
        yield "steps: not those of a logistic regression"
        return
    made, places = 0, []
    for name, step, taken in pipeline["columns"].transformers_:
        places += taken
        faults, width = _numbers(step) if name == "numbers" else _categories(step)
        yield from faults
        made += width
    if sorted(places) != list(range(columns)):
        yield f"columns: not the {columns} of the encoder"
    estimator = pipeline["estimator"]
    yield from _array("coef_", estimator.coef_, (1, made))
    yield from _array("intercept_", estimator.intercept_, (1,))
    if np.asarray(estimator.classes_).tolist() != [0, 1]:
        yield "classes_: not 0 and 1"


def _numbers(step: Any) -> tuple[list[str], int]:
    if not _steps(step, {"fill": SimpleImputer, "scale": StandardScaler}):
        return ["numbers: not the steps that fill gaps and scale"], 0
    fill, scale = step["fill"], step["scale"]
    known = np.asarray(fill.statistics_)[~np.isnan(fill.statistics_)]
    width = len(known) + len(fill.indicator_.features_)
    faults = [*_array("statistics_", known, (len(known),)), *_array("mean_", scale.mean_, (width,))]
    faults += _array("scale_", scale.scale_, (width,))
    if not faults and not (scale.scale_ > 0).all():
        faults.append("scale_: not above 0")
    return faults, width


def _categories(step: Any) -> tuple[list[str], int]:
    if type(step) is not OneHotEncoder:
        return ["categories: not a one-hot encoder"], 0
    faults = [fault for found in step.categories_ for fault in _codes(np.asarray(found))]
    return faults, sum(len(found) for found in step.categories_)


def _codes(found: Any) -> Iterator[str]:
    """Codes rise; the last may be NaN, which stands for a missing category."""
    if found.dtype != np.float64 or found.ndim != 1:
        yield f"categories_: {found.dtype} of shape {found.shape}"
    elif not (np.diff(found[~np.isnan(found)]) > 0).all() or np.isnan(found[:-1]).any() or np.isinf(found).any():
        yield "categories_: not in order, or not finite"


def _array(name: str, found: Any, shape: tuple[int, ...]) -> list[str]:
    array = np.asarray(found)
    if array.dtype != np.float64 or array.shape != shape:
        return [f"{name}: {array.dtype} of shape {array.shape} instead of float64 of {shape}"]
    return [] if np.isfinite(array).all() else [f"{name}: not finite"]


def _steps(pipeline: Any, expected: dict[str, type]) -> bool:
    return type(pipeline) is Pipeline and {name: type(step) for name, step in pipeline.steps} == expected
