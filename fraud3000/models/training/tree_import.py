"""Convert fitted tree estimators of scikit-learn and LightGBM to arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fraud3000.models.inference.tree_checks import LEAF
from fraud3000.models.inference.trees import Trees

_ZERO = float(np.float32(1e-35))
"""LightGBM treats values up to this size as 0, so its cut just below 0 is minus this."""
_INFINITY = 1e300
"""LightGBM writes an infinite cut, which separates missing values from others, as a number of at least this size."""


def from_estimator(estimator: Any) -> Trees:
    """Convert a fitted tree estimator of scikit-learn or LightGBM."""
    kinds: dict[str, Callable[[Any], Trees]] = {
        "HistGradientBoostingClassifier": _from_boosting,
        "RandomForestClassifier": _from_forest,
        "ExtraTreesClassifier": _from_forest,
        "LGBMClassifier": _from_lightgbm,
    }
    return kinds[type(estimator).__name__](estimator)


def _from_boosting(estimator: Any) -> Trees:
    (baseline,) = estimator._baseline_prediction.ravel()  # noqa: SLF001 - scikit-learn has no public access to its trees
    parts = []
    for (fitted_tree,) in estimator._predictors:  # noqa: SLF001
        nodes = fitted_tree.nodes
        leaf = nodes["is_leaf"].astype(bool)
        parts.append(
            _tree_arrays(leaf, nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"],
                  nodes["missing_go_to_left"], nodes["value"], nodes["count"])
        )  # fmt: skip
    return _join(parts, base=float(baseline), forest=False)


def _from_forest(estimator: Any) -> Trees:
    parts = []
    for fitted_tree in estimator.estimators_:
        tree = fitted_tree.tree_
        leaf = tree.children_left < 0
        parts.append(
            _tree_arrays(
                leaf,
                tree.feature,
                tree.threshold,
                tree.children_left,
                tree.children_right,
                tree.missing_go_to_left,
                tree.value[:, 0, 1],
                tree.weighted_n_node_samples,
            )
        )
    return _join(parts, base=0.0, forest=True)


def _from_lightgbm(estimator: Any) -> Trees:
    parts = []
    for fitted_tree in estimator.booster_.dump_model()["tree_info"]:
        nodes: list[list[Any]] = []
        _flatten(fitted_tree["tree_structure"], nodes)
        column, cut, left, right, gaps, value, cover = (np.array(values) for values in zip(*nodes, strict=True))
        parts.append(_tree_arrays(column < 0, column, cut, left, right, gaps, value, cover))
    return _join(parts, base=0.0, forest=False)


def _flatten(node: dict[str, Any], nodes: list[list[Any]]) -> int:
    """Append a node and its descendants; return the index of the node."""
    index = len(nodes)
    if "split_feature" not in node:
        nodes.append([LEAF, 0.0, 0, 0, False, float(node["leaf_value"]), node.get("leaf_count", 1)])
        return index
    cut = float(node["threshold"])
    if cut == -_ZERO:
        cut = float(np.nextafter(cut, -np.inf))
    if abs(cut) >= _INFINITY:
        cut = math.copysign(math.inf, cut)
    gaps = (
        bool(node["default_left"]) if node["missing_type"] == "NaN" else cut >= 0
    )  # else a missing value is read as 0
    nodes.append([int(node["split_feature"]), cut, 0, 0, gaps, 0.0, node["internal_count"]])
    nodes[index][2] = _flatten(node["left_child"], nodes)
    nodes[index][3] = _flatten(node["right_child"], nodes)
    return index


def _tree_arrays(
    leaf: Any, column: Any, cut: Any, left: Any, right: Any, gaps: Any, value: Any, cover: Any
) -> dict[str, Any]:
    """Return the arrays of one tree; a leaf has only a value and a cover."""
    return {
        "column": np.where(leaf, LEAF, column).astype(np.int32),
        "cut": np.where(leaf, 0.0, cut).astype(np.float64),
        "left": np.where(leaf, 0, left).astype(np.int32),
        "right": np.where(leaf, 0, right).astype(np.int32),
        "gap_left": np.where(leaf, False, gaps).astype(bool),
        "value": np.where(leaf, value, 0.0).astype(np.float64),
        "cover": cover.astype(np.float64),
    }


def _join(parts: list[dict[str, Any]], *, base: float, forest: bool) -> Trees:
    roots = np.cumsum([0, *(len(part["column"]) for part in parts)])[:-1].astype(np.int32)
    for root, part in zip(roots, parts, strict=True):
        inner = part["column"] != LEAF
        for side in ("left", "right"):
            part[side] = np.where(inner, part[side] + root, 0).astype(np.int32)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Trees(roots=roots, **whole, base=base, forest=forest)
