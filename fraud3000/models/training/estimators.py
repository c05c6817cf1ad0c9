"""The learners a params file can name, each a scikit-learn pipeline over the encoder's matrix."""

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

TRUSTED_TYPES = ("numpy.dtype",)
"""What a fitted logistic regression holds beyond the types that skops itself trusts."""


@dataclass(frozen=True)
class _Named:
    """A learner: how its class is found, what it is built with, and what of it is not the user's to set."""

    find: Callable[[], type[Any]]
    defaults: dict[str, Any]
    reserved: tuple[str, ...]
    more: tuple[str, ...] = ()  # that it takes beside the names of its signature
    monotone: str | None = "monotonic_cst"  # the key of its constraints

    @property
    def allowed(self) -> list[str]:
        accepted = inspect.signature(self.find()).parameters
        kept = [name for name in accepted if name not in self.reserved and name not in ("kwargs", self.monotone)]
        return [*kept, *self.more]


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
    library.register_logger(silent)  # what it cannot do, it raises as well
    return cast(type[Any], library.LGBMClassifier)


_SHARED = ("random_state", "class_weight", "n_jobs", "verbose", "warm_start")
_FOREST = (*_SHARED, "oob_score")

LEARNERS: dict[str, _Named] = {
    "hist_gradient_boosting": _Named(
        lambda: HistGradientBoostingClassifier,
        {"learning_rate": 0.05, "max_iter": 200, "max_leaf_nodes": 15, "min_samples_leaf": 50, "l2_regularization": 5.0,
         "early_stopping": False},
        (*_SHARED, "loss", "categorical_features", "scoring"),
    ),
    "random_forest": _Named(
        lambda: RandomForestClassifier, {"n_estimators": 200, "max_depth": 16, "min_samples_leaf": 10}, _FOREST
    ),
    "extra_trees": _Named(
        lambda: ExtraTreesClassifier, {"n_estimators": 200, "max_depth": 20, "min_samples_leaf": 5}, _FOREST
    ),
    "logistic_regression": _Named(
        lambda: LogisticRegression, {"C": 1.0, "max_iter": 1000}, (*_SHARED, "multi_class"), monotone=None
    ),
    "lightgbm": _Named(
        _lightgbm,
        {"learning_rate": 0.05, "n_estimators": 200, "num_leaves": 15, "min_child_samples": 50, "reg_lambda": 5.0},
        (*_SHARED, "objective", "importance_type"),
        more=("max_bin", "path_smooth", "extra_trees", "feature_fraction_bynode"),
        monotone="monotone_constraints",
    ),
}  # fmt: skip

_OURS: dict[str, dict[str, Any]] = {
    "lightgbm": {"objective": "binary", "deterministic": True, "force_row_wise": True, "n_jobs": 2, "verbosity": -1}
}
"""What a learner is always built with: the same model again on the same rows, and no chatter."""


def build(
    name: str, params: dict[str, Any], encoder: Encoder, *, seed: int, monotone: Mapping[str, int] | None = None
) -> Pipeline:
    """An unfitted pipeline whose last step is the learner.

    Trees take missing values as they are, and categories by their codes, the most frequent first.
    Logistic regression takes medians with a mark for missing, scaled, and categories one by one.

    Parameters
    ----------
    name
        One of `LEARNERS`.
    params
        What differs from the defaults here.
    monotone
        By column of the encoder: 1 where the score must not fall as it grows, -1 where it must not rise.

    Raises
    ------
    ParamsError
        A key that the learner does not take, or a value it refuses.
    """
    estimator = _estimator(name, params, seed)
    key, signs = LEARNERS[name].monotone, [(monotone or {}).get(column, 0) for column in encoder.columns]
    if key and any(signs):
        estimator.set_params(**{key: signs})
    if name == "logistic_regression":
        return Pipeline([("columns", _dense(encoder)), ("estimator", estimator)])
    return Pipeline([("estimator", estimator)])


def check(params: TrainModelParams) -> None:
    """Refuse wrong params of the learners before any data is read.

    Examples
    --------
    >>> check(TrainModelParams(estimator="logistic_regression", estimator_params={"trees": 5}))
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: train.estimator_params.trees: logistic_regression takes no such key
    Hint: It takes ...C,...
    """
    for place, learner in enumerate(params.learners):
        where = f"train.members.{place}" if params.members else "train"
        with _at(where):
            _estimator(learner.estimator, learner.estimator_params, 0)
        if params.monotone and LEARNERS[learner.estimator].monotone is None:
            raise ParamsError(
                f"train.monotone: {learner.estimator} takes no monotone constraints",
                hint="Leave them out, or take hist_gradient_boosting or lightgbm.",
            )


def check_monotone(monotone: Mapping[str, int], features: Mapping[str, str]) -> None:
    """Refuse constraints on what no feature is, or on a category.

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
    """The train params as in a file, with those of each learner that no file states.

    Examples
    --------
    >>> effective_params(TrainModelParams(estimator="logistic_regression", estimator_params={"C": 0.5}))["estimator_params"]
    {'C': 0.5, 'max_iter': 1000}
    """
    content = params.model_dump(mode="json")
    for told in content["members"] or [content]:
        told["estimator_params"] = {**LEARNERS[told["estimator"]].defaults, **told["estimator_params"]}
    return content


_DRAWING = {
    "hist_gradient_boosting": {"max_features", "early_stopping"},
    "logistic_regression": {"solver"},
    "lightgbm": {"subsample", "subsample_freq", "colsample_bytree", "feature_fraction_bynode", "extra_trees", "boosting_type"},
}  # fmt: skip
"""Params by which a learner that usually draws nothing by chance may come to."""


def is_random(params: TrainModelParams) -> bool:
    """Whether chance has a part in what is fitted, so that another seed may give another model.

    Examples
    --------
    >>> is_random(TrainModelParams()), is_random(TrainModelParams(estimator_params={"max_features": 0.5})), is_random(TrainModelParams(bags=3))
    (False, True, True)
    """
    return any(
        one.bags > 1
        or one.imbalance == "undersample"
        or one.estimator not in _DRAWING
        or bool(_DRAWING[one.estimator] & set(one.estimator_params))
        for one in params.learners
    )


def describe(params: TrainModelParams) -> str:
    """Say what is fitted.

    Examples
    --------
    >>> from fraud3000.params import MemberParams
    >>> forest, line = MemberParams(estimator="random_forest", bags=3), MemberParams(estimator="logistic_regression")
    >>> describe(TrainModelParams(estimator="average", members=(forest, line)))
    'average of random_forest (3 bags) and logistic_regression'
    """
    told = [one.estimator + (f" ({one.bags} bags)" if one.bags > 1 else "") for one in params.learners]
    return told[0] if len(told) == 1 else f"average of {', '.join(told[:-1])} and {told[-1]}"


FORESTS = (RandomForestClassifier, ExtraTreesClassifier)


def fit_errors() -> tuple[type[Exception], ...]:
    """What a learner raises where its params do not go together."""
    library = sys.modules.get("lightgbm")
    return (ValueError,) if library is None else (ValueError, library.basic.LightGBMError)


def log_odds(pipeline: Pipeline, matrix: Floats) -> Floats:
    """What the fitted pipeline itself says of each row, as log-odds of fraud, finite.

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
    if isinstance(estimator, FORESTS):
        share = estimator.predict_proba(matrix)[:, 1]
        return cast(Floats, logit(SQUEEZE + (1 - 2 * SQUEEZE) * share))
    if isinstance(estimator, HistGradientBoostingClassifier):
        return cast(Floats, estimator.decision_function(matrix))
    return cast(Floats, estimator.booster_.predict(matrix, raw_score=True))


def source_columns(pipeline: Pipeline) -> list[int]:
    """Of each column that a fitted logistic regression makes for itself the place of the one it is made of."""
    places: list[int] = []
    for name, made, taken in pipeline["columns"].transformers_:
        if name == "categories":
            places += [place for place, found in zip(taken, made.categories_, strict=True) for _ in found]
        else:
            filled = [taken[at] for at in np.flatnonzero(~np.isnan(made["fill"].statistics_))]
            places += [*filled, *(taken[at] for at in made["fill"].indicator_.features_)]
    return places


def _estimator(name: str, params: dict[str, Any], seed: int) -> Any:
    named = LEARNERS[name]
    for key in params:
        if key not in named.allowed:
            raise ParamsError(
                f"train.estimator_params.{key}: {name} takes no such key", hint=f"It takes {', '.join(named.allowed)}."
            )
    estimator = named.find()(**named.defaults, **_OURS.get(name, {}), random_state=seed)
    _check_types(params, estimator.get_params())
    estimator = estimator.set_params(**params)
    try:
        _check_values(estimator)
    except (ValueError, TypeError) as error:
        text = str(error).replace("'", "", 2)
        raise ParamsError(f"train.estimator_params: {text}", hint="Correct the value, or leave the key out.") from None
    return estimator


def _check_types(params: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Refuse true and false where a number belongs, which libraries take as 1 and 0, and numbers that are not finite."""
    for key, value in params.items():
        default = defaults.get(key, "")  # LightGBM takes keys that it does not list
        number = default is None or (isinstance(default, int | float) and not isinstance(default, bool))
        if (isinstance(value, bool) and number) or (isinstance(value, float) and not math.isfinite(value)):
            raise ParamsError(
                f"train.estimator_params.{key}: not a finite number, found {value}",
                hint="Correct the value, or leave the key out.",
            )


def _check_values(estimator: Any) -> None:
    """Have its library look at the values, before any data is read."""
    if hasattr(estimator, "_parameter_constraints"):
        estimator._validate_params()  # noqa: SLF001 - the check that a fit of scikit-learn begins with
        return
    from lightgbm.basic import LightGBMError
    from sklearn.base import clone

    usual = {name: one.default for name, one in inspect.signature(type(estimator)).parameters.items()}
    for name, value in estimator.get_params().items():
        if isinstance(usual.get(name), int | float) and not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, found '{value}'")
    if estimator.n_estimators < 1:
        raise ValueError(f"n_estimators must be at least 1, found {estimator.n_estimators}")
    try:
        clone(estimator).set_params(n_estimators=1).fit(np.zeros((4, 1)), np.array([0, 1, 0, 1]))
    except (LightGBMError, TypeError) as error:
        raise ValueError(str(error).partition(" at /")[0]) from error


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say in which member a param is wrong."""
    try:
        yield
    except ParamsError as error:
        raise ParamsError(error.message.replace("train.", f"{where}.", 1), hint=error.hint) from error


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
