"""Search spaces of the learners, and how the values of a trial become params."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from fraud3000.errors import ParamsError
from fraud3000.params import RangeParams, TrainModelParams, validate

Space = Mapping[str, RangeParams]
"""Range of each searched param, by its key below ``train``."""


def _range(low: float, high: float, *, log: bool = False) -> RangeParams:
    return RangeParams(low=low, high=high, log=log)


_FOREST = {
    "max_depth": _range(8, 30),
    "min_samples_leaf": _range(2, 50, log=True),
    "max_features": _range(0.1, 0.8),
}

SPACES: dict[str, dict[str, RangeParams]] = {
    "hist_gradient_boosting": {
        "learning_rate": _range(0.02, 0.2, log=True),
        "max_iter": _range(100, 600),
        "max_leaf_nodes": _range(7, 63, log=True),
        "min_samples_leaf": _range(20, 500, log=True),
        "l2_regularization": _range(0.1, 100.0, log=True),
        "max_features": _range(0.2, 1.0),
    },
    "random_forest": _FOREST,
    "extra_trees": _FOREST,
    "logistic_regression": {"C": _range(1e-4, 10.0, log=True)},
    "lightgbm": {
        "learning_rate": _range(0.02, 0.2, log=True),
        "n_estimators": _range(100, 600),
        "num_leaves": _range(7, 63, log=True),
        "min_child_samples": _range(20, 500, log=True),
        "reg_lambda": _range(0.1, 100.0, log=True),
        "feature_fraction_bynode": _range(0.2, 1.0),
    },
}


def resolve_space(train: TrainModelParams, declared: Space) -> dict[str, RangeParams]:
    """Return the search space of the params, by default that of the learner, or of every member and its weight.

    Raises
    ------
    ParamsError
        A key is not a searchable param of ``train``.
    """
    space = dict(declared) or _default_space(train)
    for key in space:
        _require_searchable(train, key)
    return space


def _default_space(train: TrainModelParams) -> dict[str, RangeParams]:
    if not train.members:
        return {f"estimator_params.{name}": values for name, values in SPACES[train.estimator].items()}
    ranges = {
        f"members.{index}.estimator_params.{name}": values
        for index, member in enumerate(train.members)
        for name, values in SPACES[member.estimator].items()
    }
    weights = {f"members.{index}.weight": _range(0.1, 10.0, log=True) for index in range(1, len(train.members))}
    return {**ranges, **weights}


def apply_values(train: TrainModelParams, chosen: Mapping[str, Any]) -> TrainModelParams:
    """Return the train params with the values of a trial.

    Examples
    --------
    >>> train = TrainModelParams(estimator="random_forest", estimator_params={"max_depth": 4})
    >>> apply_values(train, {"estimator_params.max_depth": 9, "imbalance": "balanced"}).model_dump(exclude_defaults=True)
    {'estimator': 'random_forest', 'estimator_params': {'max_depth': 9}, 'imbalance': 'balanced'}
    """
    content = copy.deepcopy(train.model_dump(mode="json", exclude_unset=True))
    for key, value in chosen.items():
        *path, last = key.split(".")
        node: Any = content
        for part in path:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        node[last] = value
    return validate(TrainModelParams, content, thing="tune.space")


def _require_searchable(train: TrainModelParams, key: str) -> None:
    """Refuse a key that is not a searchable param, before any trial."""
    parts = key.split(".")
    member = parts[0] == "members" and len(parts) > 2 and parts[1].isdecimal() and int(parts[1]) < len(train.members)
    own = parts[2:] if member else parts
    fields = ("imbalance", "fraud_weight", "undersample_to", "bags", *(("weight",) if member else ("calibration",)))
    if not ((own[0] == "estimator_params" and len(own) == 2) or (len(own) == 1 and own[0] in fields)):
        raise ParamsError(
            f"tune.space.{key}: not a param that can be searched",
            hint=f"Write estimator_params.NAME, or one of {', '.join(fields)}; of an average's first member, "
            "members.0.estimator_params.NAME or members.0.weight.",
        )
