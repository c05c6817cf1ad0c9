"""Learners that a params file can name, each a scikit-learn pipeline over the encoder's matrix."""

from __future__ import annotations

import importlib
import inspect
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.special import logit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fraud3000.errors import ParamsError, nearest
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.inference.trees import SQUEEZE
from fraud3000.params import TrainModelParams


@dataclass(frozen=True)
class _Learner:
    """A learner: its class, its defaults, and the params that users may not set."""

    find: Callable[[], type[Any]]
    defaults: dict[str, Any]
    reserved: tuple[str, ...]
    more: tuple[str, ...] = ()  # params that are not in its signature
    monotone: str | None = "monotonic_cst"  # the param of its monotone constraints

    @property
    def allowed(self) -> list[str]:
        accepted = inspect.signature(self.find()).parameters
        own = [name for name in accepted if name not in self.reserved and name not in ("kwargs", self.monotone)]
        return [*own, *self.more]


def _lightgbm() -> type[Any]:
    try:
        library = importlib.import_module("lightgbm")
    except (ImportError, OSError) as error:
        raise ParamsError(
            f"train.estimator: lightgbm cannot be used here ({error})",
            hint='Install it with `pip install "fraud3000[lightgbm]"`; on Linux it needs the library libgomp1 too.',
        ) from error
    silent = logging.getLogger("fraud3000.lightgbm")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    library.register_logger(silent)  # its errors are raised too
    return cast(type[Any], library.LGBMClassifier)


_SHARED = ("random_state", "class_weight", "n_jobs", "verbose", "warm_start")
_FOREST = (*_SHARED, "oob_score")

LEARNERS: dict[str, _Learner] = {
    "hist_gradient_boosting": _Learner(
        lambda: HistGradientBoostingClassifier,
        {"learning_rate": 0.05, "max_iter": 200, "max_leaf_nodes": 15, "min_samples_leaf": 50, "l2_regularization": 5.0,
         "early_stopping": False},
        (*_SHARED, "loss", "categorical_features", "scoring"),
    ),
    "random_forest": _Learner(
        lambda: RandomForestClassifier, {"n_estimators": 200, "max_depth": 16, "min_samples_leaf": 10}, _FOREST
    ),
    "extra_trees": _Learner(
        lambda: ExtraTreesClassifier, {"n_estimators": 200, "max_depth": 20, "min_samples_leaf": 5}, _FOREST
    ),
    "logistic_regression": _Learner(
        lambda: LogisticRegression, {"C": 1.0, "max_iter": 1000}, (*_SHARED, "multi_class"), monotone=None
    ),
    "lightgbm": _Learner(
        _lightgbm,
        {"learning_rate": 0.05, "n_estimators": 200, "num_leaves": 15, "min_child_samples": 50, "reg_lambda": 5.0},
        (*_SHARED, "objective", "importance_type"),
        more=("max_bin", "path_smooth", "extra_trees", "feature_fraction_bynode"),
        monotone="monotone_constraints",
    ),
}  # fmt: skip

_FIXED: dict[str, dict[str, Any]] = {
    "lightgbm": {"objective": "binary", "deterministic": True, "force_row_wise": True, "n_jobs": 2, "verbosity": -1}
}
"""Params that users cannot change: deterministic training and no output."""


def build(
    name: str, params: dict[str, Any], encoder: Encoder, *, seed: int, monotone: Mapping[str, int] | None = None
) -> Pipeline:
    """Build an unfitted pipeline whose last step is the learner.

    Trees take missing values as they are, and categories as codes, the most frequent first.
    Logistic regression takes scaled numbers with median imputation and missing indicators, and item-hot categories.

    Parameters
    ----------
    name
        One of `LEARNERS`.
    params
        Params that differ from the defaults in `LEARNERS`.
    monotone
        By column of the encoder: 1 if the score must not fall as it grows, -1 if it must not rise.

    Raises
    ------
    ParamsError
        The learner does not take a key or a value.
    """
    estimator = _estimator(name, params, seed)
    key, signs = LEARNERS[name].monotone, [(monotone or {}).get(column, 0) for column in encoder.columns]
    if key and any(signs):
        estimator.set_params(**{key: signs})
    if name == "logistic_regression":
        return Pipeline([("columns", _dense(encoder)), ("estimator", estimator)])
    return Pipeline([("estimator", estimator)])


def check(params: TrainModelParams) -> None:
    """Refuse invalid params of the learners before any data is read.

    Examples
    --------
    >>> check(TrainModelParams(estimator="logistic_regression", estimator_params={"trees": 5}))
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: train.estimator_params.trees: logistic_regression takes no such key
    Hint: It takes ...C,...
    """
    for index, learner in enumerate(params.learners):
        where = f"train.members.{index}" if params.members else "train"
        with _located(where):
            _estimator(learner.estimator, learner.estimator_params, 0)
        if params.monotone and LEARNERS[learner.estimator].monotone is None:
            raise ParamsError(
                f"train.monotone: {learner.estimator} takes no monotone constraints",
                hint="Leave them out, or take hist_gradient_boosting or lightgbm.",
            )


def check_monotone(monotone: Mapping[str, int], features: Mapping[str, str]) -> None:
    """Refuse monotone constraints on unknown or categorical features.

    Parameters
    ----------
    features
        Kind of each feature, by name.
    """
    for name in monotone:
        if name not in features:
            raise ParamsError(
                f"train.monotone.{name}: no such feature; {nearest(name, list(features))}",
                hint="Names of features are those of docs/features.md and of featurize.features.",
            )
        if features[name] == "categorical":
            raise ParamsError(
                f"train.monotone.{name}: a category neither grows nor falls", hint="Leave it out of train.monotone."
            )


def effective_params(params: TrainModelParams) -> dict[str, Any]:
    """Return the train params as in a file, with the learners' defaults filled in.

    Examples
    --------
    >>> effective_params(TrainModelParams(estimator="logistic_regression", estimator_params={"C": 0.5}))["estimator_params"]
    {'C': 0.5, 'max_iter': 1000}
    """
    content = params.model_dump(mode="json")
    for learner in content["members"] or [content]:
        learner["estimator_params"] = {**LEARNERS[learner["estimator"]].defaults, **learner["estimator_params"]}
    return content


_RANDOM_PARAMS = {
    "hist_gradient_boosting": {"max_features", "early_stopping"},
    "logistic_regression": {"solver"},
    "lightgbm": {"subsample", "subsample_freq", "colsample_bytree", "feature_fraction_bynode", "extra_trees", "boosting_type"},
}  # fmt: skip
"""Params that make an otherwise deterministic learner random."""


def is_random(params: TrainModelParams) -> bool:
    """Return whether training is random, so that another seed may give another model.

    Examples
    --------
    >>> is_random(TrainModelParams()), is_random(TrainModelParams(estimator_params={"max_features": 0.5})), is_random(TrainModelParams(bags=3))
    (False, True, True)
    """
    return any(
        item.bags > 1
        or item.imbalance == "undersample"
        or item.estimator not in _RANDOM_PARAMS
        or bool(_RANDOM_PARAMS[item.estimator] & set(item.estimator_params))
        for item in params.learners
    )


def describe(params: TrainModelParams) -> str:
    """Describe the learners, such as "average of random_forest (3 bags) and logistic_regression".

    Examples
    --------
    >>> from fraud3000.params import MemberParams
    >>> forest, line = MemberParams(estimator="random_forest", bags=3), MemberParams(estimator="logistic_regression")
    >>> describe(TrainModelParams(estimator="average", members=(forest, line)))
    'average of random_forest (3 bags) and logistic_regression'
    """
    names = [item.estimator + (f" ({item.bags} bags)" if item.bags > 1 else "") for item in params.learners]
    return names[0] if len(names) == 1 else f"average of {', '.join(names[:-1])} and {names[-1]}"


FORESTS = (RandomForestClassifier, ExtraTreesClassifier)


def fit_errors() -> tuple[type[Exception], ...]:
    """Return the errors that learners raise for inconsistent params."""
    library = sys.modules.get("lightgbm")
    return (ValueError,) if library is None else (ValueError, library.basic.LightGBMError)


def log_odds(pipeline: Pipeline, matrix: Floats) -> Floats:
    """Return the fitted pipeline's own log-odds of fraud, finite.

    To the last bit, the result of a row does not depend on other rows: matrix products, whose
    order of summation changes with their shape, are avoided.

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
    if isinstance(estimator, FORESTS):
        share = estimator.predict_proba(matrix)[:, 1]
        return cast(Floats, logit(SQUEEZE + (1 - 2 * SQUEEZE) * share))
    if isinstance(estimator, HistGradientBoostingClassifier):
        return cast(Floats, estimator.decision_function(matrix))
    return cast(Floats, estimator.booster_.predict(matrix, raw_score=True))


def _estimator(name: str, params: dict[str, Any], seed: int) -> Any:
    learner = LEARNERS[name]
    for key in params:
        if key not in learner.allowed:
            raise ParamsError(
                f"train.estimator_params.{key}: {name} takes no such key",
                hint=f"It takes {', '.join(learner.allowed)}.",
            )
    estimator = learner.find()(**learner.defaults, **_FIXED.get(name, {}), random_state=seed)
    _check_types(params, estimator.get_params())
    estimator = estimator.set_params(**params)
    try:
        _check_values(estimator)
    except (ValueError, TypeError) as error:
        text = str(error).replace("'", "", 2)
        raise ParamsError(f"train.estimator_params: {text}", hint="Correct the value, or leave the key out.") from None
    return estimator


def _check_types(params: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Refuse booleans for numbers, which libraries would read as 1 and 0, and numbers that are not finite."""
    for key, value in params.items():
        default = defaults.get(key, "")  # LightGBM accepts params that it does not list
        number = default is None or (isinstance(default, int | float) and not isinstance(default, bool))
        if (isinstance(value, bool) and number) or (isinstance(value, float) and not math.isfinite(value)):
            raise ParamsError(
                f"train.estimator_params.{key}: not a finite number, found {value}",
                hint="Correct the value, or leave the key out.",
            )


def _check_values(estimator: Any) -> None:
    """Let the estimator's library validate the values before any data is read."""
    if hasattr(estimator, "_parameter_constraints"):
        estimator._validate_params()  # noqa: SLF001 - the validation at the start of every scikit-learn fit
        return
    from lightgbm.basic import LightGBMError
    from sklearn.base import clone

    defaults = {name: item.default for name, item in inspect.signature(type(estimator)).parameters.items()}
    for name, value in estimator.get_params().items():
        if isinstance(defaults.get(name), int | float) and not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, found '{value}'")
    if estimator.n_estimators < 1:
        raise ValueError(f"n_estimators must be at least 1, found {estimator.n_estimators}")
    try:
        clone(estimator).set_params(n_estimators=1).fit(np.zeros((4, 1)), np.array([0, 1, 0, 1]))
    except (LightGBMError, TypeError) as error:
        raise ValueError(str(error).partition(" at /")[0]) from error


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Name the member in errors of the block."""
    try:
        yield
    except ParamsError as error:
        raise ParamsError(error.message.replace("train.", f"{where}.", 1), hint=error.hint) from error


def _dense(encoder: Encoder) -> ColumnTransformer:
    coded = [index for index, name in enumerate(encoder.columns) if name in encoder.categories]
    plain = [index for index in range(len(encoder.columns)) if index not in coded]
    numbers = Pipeline([("fill", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = [("numbers", numbers, plain), ("categories", categories, coded)]
    return ColumnTransformer([part for part in parts if part[2]])


def _weighted_sum(columns: Floats, estimator: LogisticRegression) -> Floats:
    total = np.full(len(columns), float(estimator.intercept_[0]))
    for index, weight in enumerate(estimator.coef_[0]):
        total += columns[:, index] * weight
    return total
