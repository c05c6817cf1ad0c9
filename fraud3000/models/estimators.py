"""The estimators a params file can name, each a scikit-learn pipeline over the encoder's matrix."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.special import logit
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fraud3000.errors import ParamsError
from fraud3000.models.encoder import Encoder, Floats

TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""What the fitted pipelines hold beyond the types that skops itself trusts."""

_SQUEEZE = 1e-9
"""A forest's 0 and 1 must have finite log-odds."""


@dataclass(frozen=True)
class _Named:
    estimator: type[BaseEstimator]
    defaults: dict[str, Any]
    reserved: tuple[str, ...]  # set by fraud3000 itself

    @property
    def allowed(self) -> list[str]:
        accepted = inspect.signature(self.estimator).parameters
        return [name for name in accepted if name not in self.reserved]


_SHARED = ("random_state", "class_weight", "n_jobs", "verbose", "warm_start")

ESTIMATORS: dict[str, _Named] = {
    "hist_gradient_boosting": _Named(
        HistGradientBoostingClassifier,
        {"learning_rate": 0.05, "max_iter": 200, "max_leaf_nodes": 15, "min_samples_leaf": 50, "l2_regularization": 5.0,
         "early_stopping": False},
        (*_SHARED, "loss", "categorical_features", "scoring"),
    ),
    "random_forest": _Named(
        RandomForestClassifier,
        {"n_estimators": 200, "max_depth": 16, "min_samples_leaf": 10},
        (*_SHARED, "oob_score"),
    ),
    "logistic_regression": _Named(LogisticRegression, {"C": 1.0, "max_iter": 1000}, (*_SHARED, "multi_class")),
}  # fmt: skip


def build(name: str, params: dict[str, Any], encoder: Encoder, *, seed: int) -> Pipeline:
    """An unfitted pipeline whose last step is the estimator.

    Trees take missing values as they are, and categories by their codes, the most frequent first.
    Logistic regression takes medians with a mark for missing, scaled, and categories one by one.

    Parameters
    ----------
    name
        One of `ESTIMATORS`.
    params
        What differs from the defaults here.

    Raises
    ------
    ParamsError
        A key that the estimator does not take, or a value it refuses.
    """
    estimator = _estimator(name, params, seed)
    if name == "logistic_regression":
        return Pipeline([("columns", _dense(encoder)), ("estimator", estimator)])
    return Pipeline([("estimator", estimator)])


def check(name: str, params: dict[str, Any]) -> None:
    """Refuse wrong estimator params before any data is read.

    Examples
    --------
    >>> check("logistic_regression", {"trees": 5})
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: train.estimator_params.trees: logistic_regression takes no such key
    Hint: It takes ...C,...
    """
    _estimator(name, params, 0)


def used(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """What an estimator is built with: its defaults here, and what differs from them.

    Examples
    --------
    >>> used("logistic_regression", {"C": 0.5})
    {'C': 0.5, 'max_iter': 1000}
    """
    return {**ESTIMATORS[name].defaults, **params}


def log_odds(pipeline: Pipeline, matrix: Floats) -> Floats:
    """What the fitted pipeline says of each row, as log-odds of fraud, finite.

    A row's answer does not depend on the rows beside it, to the last bit: matrix products, whose
    order of summation changes with their shape, are left out.

    Parameters
    ----------
    matrix
        ndarray of shape (n_rows, n_columns).

    Returns
    -------
    numpy.ndarray
        Of shape (n_rows,).
    """
    if len(matrix) == 0:
        return np.empty(0)
    estimator = pipeline[-1]
    if isinstance(estimator, LogisticRegression):
        return _weighted_sum(pipeline[:-1].transform(matrix), estimator)
    if isinstance(estimator, RandomForestClassifier):
        share = estimator.predict_proba(matrix)[:, 1]
        return cast(Floats, logit(_SQUEEZE + (1 - 2 * _SQUEEZE) * share))
    return cast(Floats, estimator.decision_function(matrix))


def _estimator(name: str, params: dict[str, Any], seed: int) -> Any:
    named = ESTIMATORS[name]
    for key in params:
        if key not in named.allowed:
            raise ParamsError(
                f"train.estimator_params.{key}: {name} takes no such key", hint=f"It takes {', '.join(named.allowed)}."
            )
    estimator = named.estimator(**used(name, params), random_state=seed)
    try:
        estimator._validate_params()  # noqa: SLF001 - the check that fit begins with, before any data
    except ValueError as error:
        text = str(error).replace("'", "", 2)
        raise ParamsError(f"train.estimator_params: {text}", hint="Correct the value, or leave the key out.") from None
    return estimator


def _dense(encoder: Encoder) -> ColumnTransformer:
    coded = [place for place, name in enumerate(encoder.columns) if name in encoder.categories]
    plain = [place for place in range(len(encoder.columns)) if place not in coded]
    numbers = Pipeline([("fill", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = [("numbers", numbers, plain), ("categories", categories, coded)]
    return ColumnTransformer([part for part in parts if part[2]])


def _weighted_sum(columns: Floats, estimator: LogisticRegression) -> Floats:
    total = np.full(len(columns), float(estimator.intercept_[0]))
    for place, weight in enumerate(estimator.coef_[0]):
        total += columns[:, place] * weight
    return total
