"""Fitted estimators of scikit-learn's and LightGBM's trees, taken apart into arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fraud3000.models.inference.tree_checks import LEAF
from fraud3000.models.inference.trees import Trees

_ZERO = float(np.float32(1e-35))
"""LightGBM reads a value as 0 where it is no larger than this, and so cuts just below 0 at minus this."""
_INFINITY = 1e300
"""As which LightGBM writes an infinite cut, that tells gaps from values."""


def from_estimator(estimator: Any) -> Trees:
    """Take a fitted estimator of scikit-learn's or LightGBM's trees apart."""
    kinds: dict[str, Callable[[Any], Trees]] = {
        "HistGradientBoostingClassifier": _of_boosting,
        "RandomForestClassifier": _of_forest,
        "ExtraTreesClassifier": _of_forest,
        "LGBMClassifier": _of_lightgbm,
    }
    return kinds[type(estimator).__name__](estimator)


def _of_boosting(estimator: Any) -> Trees:
    (baseline,) = estimator._baseline_prediction.ravel()  # noqa: SLF001 - scikit-learn offers its trees nowhere else
    parts = []
    for (grown,) in estimator._predictors:  # noqa: SLF001
        nodes = grown.nodes
        leaf = nodes["is_leaf"].astype(bool)
        parts.append(
            _part(leaf, nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"],
                  nodes["missing_go_to_left"], nodes["value"], nodes["count"])
        )  # fmt: skip
    return _joined(parts, base=float(baseline), forest=False)


def _of_forest(estimator: Any) -> Trees:
    parts = []
    for grown in estimator.estimators_:
        tree = grown.tree_
        leaf = tree.children_left < 0
        parts.append(
            _part(
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
    return _joined(parts, base=0.0, forest=True)


def _of_lightgbm(estimator: Any) -> Trees:
    parts = []
    for grown in estimator.booster_.dump_model()["tree_info"]:
        nodes: list[list[Any]] = []
        _flatten(grown["tree_structure"], nodes)
        column, cut, left, right, gaps, value, cover = (np.array(one) for one in zip(*nodes, strict=True))
        parts.append(_part(column < 0, column, cut, left, right, gaps, value, cover))
    return _joined(parts, base=0.0, forest=False)


def _flatten(node: dict[str, Any], nodes: list[list[Any]]) -> int:
    """Append a node and all below it; the place of the node."""
    place = len(nodes)
    if "split_feature" not in node:
        nodes.append([LEAF, 0.0, 0, 0, False, float(node["leaf_value"]), node.get("leaf_count", 1)])
        return place
    cut = float(node["threshold"])
    if cut == -_ZERO:
        cut = float(np.nextafter(cut, -np.inf))
    if abs(cut) >= _INFINITY:
        cut = math.copysign(math.inf, cut)
    gaps = bool(node["default_left"]) if node["missing_type"] == "NaN" else cut >= 0  # else a gap is read as 0
    nodes.append([int(node["split_feature"]), cut, 0, 0, gaps, 0.0, node["internal_count"]])
    nodes[place][2] = _flatten(node["left_child"], nodes)
    nodes[place][3] = _flatten(node["right_child"], nodes)
    return place


def _part(leaf: Any, column: Any, cut: Any, left: Any, right: Any, gaps: Any, value: Any, cover: Any) -> dict[str, Any]:
    """One tree, with nothing on its leaves but their values."""
    return {
        "column": np.where(leaf, LEAF, column).astype(np.int32),
        "cut": np.where(leaf, 0.0, cut).astype(np.float64),
        "left": np.where(leaf, 0, left).astype(np.int32),
        "right": np.where(leaf, 0, right).astype(np.int32),
        "gap_left": np.where(leaf, False, gaps).astype(bool),
        "value": np.where(leaf, value, 0.0).astype(np.float64),
        "cover": cover.astype(np.float64),
    }


def _joined(parts: list[dict[str, Any]], *, base: float, forest: bool) -> Trees:
    roots = np.cumsum([0, *(len(part["column"]) for part in parts)])[:-1].astype(np.int32)
    for root, part in zip(roots, parts, strict=True):
        inner = part["column"] != LEAF
        for side in ("left", "right"):
            part[side] = np.where(inner, part[side] + root, 0).astype(np.int32)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Trees(roots=roots, **whole, base=base, forest=forest)
