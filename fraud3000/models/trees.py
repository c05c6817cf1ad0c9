"""Fitted trees as plain arrays: the same scores as the library that grew them, for one row or a million.

What is deployed of a tree model is its cuts and leaves alone. Every sum is taken in the order of the estimator's own
prediction, so the scores of scikit-learn's and LightGBM's trees come out to the last bit; `fit` holds the two against each
other on real rows all the same, and refuses a model whose forms differ by more than `AGREE`.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from fraud3000.errors import ScorerError
from fraud3000.features.kernel import kernel
from fraud3000.models.encoder import Floats

AGREE = 1e-9
"""By how much the log-odds of the deployed form may differ from the estimator's own."""

SQUEEZE = 1e-9
"""A forest's 0 and 1 must have finite log-odds."""

_LEAF = -1
_BLOCK = 1_024
"""Rows that go through one tree before the next: its nodes stay near the processor meanwhile."""
_SLICE = 4_096
"""Rows worth a thread of their own."""

_ZERO = float(np.float32(1e-35))
"""LightGBM reads a value as 0 where it is no larger than this, and so cuts just below 0 at minus this."""
_INFINITY = 1e300
"""As which LightGBM writes an infinite cut, that tells gaps from values."""

Ints = npt.NDArray[np.int32]

_NODE = np.dtype([("cut", "f8"), ("column", "i4"), ("left", "i4"), ("right", "i4"), ("gap_left", "i4")], align=True)
"""A leaf has its value in the place of the cut."""


@dataclass(frozen=True, eq=False)
class Trees:
    """Binary trees over the columns of an encoder, their nodes one after the other, parents before children.

    Attributes
    ----------
    roots
        Place of each tree's first node, shape (n_trees,).
    column
        Of each node the column it looks at; -1 for a leaf. This and the following have shape (n_nodes,).
    cut
        A row goes left where its value is at most this.
    left, right
        Places of the children.
    gap_left
        Whether a row without a value goes left.
    value
        What a leaf adds.
    base
        What all sums begin with.
    forest
        The sums are shares of fraud, to be averaged, and columns are compared in single precision.
    """

    roots: Ints
    column: Ints
    cut: Floats
    left: Ints
    right: Ints
    gap_left: npt.NDArray[np.bool_]
    value: Floats
    base: float
    forest: bool

    def log_odds(self, matrix: Floats) -> Floats:
        """Log-odds of fraud of encoded rows, shape (n_rows,), each independent of the rows beside it.

        Parameters
        ----------
        matrix
            ndarray of shape (n_rows, n_columns), NaN where missing.
        """
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if self.forest:
            rows = rows.astype(np.float32).astype(np.float64)
        total = np.full(len(rows), self.base)
        if len(rows) < 2 * _SLICE:
            self._add(rows, total)
        else:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                parts = range(0, len(rows), _SLICE)
                list(pool.map(lambda at: self._add(rows[at : at + _SLICE], total[at : at + _SLICE]), parts))
        if not self.forest:
            return total
        share = total / len(self.roots)
        return cast(Floats, logit(SQUEEZE + (1 - 2 * SQUEEZE) * share))

    def _add(self, rows: Floats, total: Floats) -> None:
        _descend(rows, self.roots, self._nodes, total)

    @cached_property
    def _nodes(self) -> npt.NDArray[np.void]:
        """All that a step reads of a node, side by side."""
        nodes = np.zeros(len(self.column), dtype=_NODE)
        nodes["cut"] = np.where(self.column == _LEAF, self.value, self.cut)
        for name in ("column", "left", "right", "gap_left"):
            nodes[name] = getattr(self, name)
        return nodes

    def dumps(self) -> bytes:
        """The arrays as a file of numpy's, the same bytes whenever they are the same."""
        place = io.BytesIO()
        np.savez_compressed(place, **{one.name: getattr(self, one.name) for one in fields(self)})
        return place.getvalue()

    @classmethod
    def loads(cls, content: bytes, columns: int) -> Trees:
        """Read what `dumps` wrote.

        Parameters
        ----------
        columns
            How many columns the encoder has.

        Raises
        ------
        ScorerError
            They cannot be read, or make no trees: a node leads out of them, backwards, or to a column that there is not.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                told = {one.name: arrays[one.name] for one in fields(cls)}
            trees = cls(**{**told, "base": float(told["base"]), "forest": bool(told["forest"])})
        except (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ScorerError(f"the model's trees cannot be read ({error})", hint="Train again.") from error
        if not trees._sound(columns):
            raise ScorerError("the model's trees are not sound; it was not opened", hint="Train again.")
        return trees

    def _sound(self, columns: int) -> bool:
        """Whether every walk ends: all the loop over the nodes relies on."""
        kinds = {"column": np.int32, "cut": np.float64, "left": np.int32, "right": np.int32, "gap_left": np.bool_,
                 "value": np.float64}  # fmt: skip
        nodes = len(self.column)
        shaped = all(
            getattr(self, name).shape == (nodes,) and getattr(self, name).dtype == kinds[name] for name in kinds
        )
        if not (shaped and self.roots.ndim == 1 and self.roots.dtype == np.int32 and len(self.roots)):
            return False
        inner = np.flatnonzero(self.column != _LEAF)
        children = np.concatenate([self.left[inner], self.right[inner]])
        onwards = (children > np.concatenate([inner, inner])) & (children < nodes)
        known = (self.column[inner] >= 0) & (self.column[inner] < columns)
        began = (self.roots >= 0) & (self.roots < nodes)
        finite = np.isfinite(self.value).all() and np.isfinite(self.base)
        return bool(onwards.all() and known.all() and began.all() and finite)


@kernel
def _descend(rows: Floats, roots: Ints, nodes: npt.NDArray[np.void], total: Floats) -> None:
    """Add to each row's total the leaf that it comes to in every tree, in order."""
    for begin in range(0, rows.shape[0], _BLOCK):
        end = min(begin + _BLOCK, rows.shape[0])
        for root in roots:
            for row in range(begin, end):
                place = root
                looks_at = nodes[place]["column"]
                while looks_at >= 0:
                    found, node = rows[row, looks_at], nodes[place]
                    if found <= node["cut"]:
                        place = node["left"]
                    elif found > node["cut"]:
                        place = node["right"]
                    else:  # no value
                        place = node["left"] if node["gap_left"] else node["right"]
                    looks_at = nodes[place]["column"]
                total[row] += nodes[place]["cut"]


def of(estimator: Any) -> Trees:
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
                  nodes["missing_go_to_left"], nodes["value"])
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
            )
        )
    return _joined(parts, base=0.0, forest=True)


def _of_lightgbm(estimator: Any) -> Trees:
    parts = []
    for grown in estimator.booster_.dump_model()["tree_info"]:
        nodes: list[list[Any]] = []
        _flatten(grown["tree_structure"], nodes)
        column, cut, left, right, gaps, value = (np.array(one) for one in zip(*nodes, strict=True))
        parts.append(_part(column < 0, column, cut, left, right, gaps, value))
    return _joined(parts, base=0.0, forest=False)


def _flatten(node: dict[str, Any], nodes: list[list[Any]]) -> int:
    """Append a node and all below it; the place of the node."""
    place = len(nodes)
    if "split_feature" not in node:
        nodes.append([_LEAF, 0.0, 0, 0, False, float(node["leaf_value"])])
        return place
    cut = float(node["threshold"])
    if cut == -_ZERO:
        cut = float(np.nextafter(cut, -np.inf))
    if abs(cut) >= _INFINITY:
        cut = math.copysign(math.inf, cut)
    gaps = bool(node["default_left"]) if node["missing_type"] == "NaN" else cut >= 0  # else a gap is read as 0
    nodes.append([int(node["split_feature"]), cut, 0, 0, gaps, 0.0])
    nodes[place][2] = _flatten(node["left_child"], nodes)
    nodes[place][3] = _flatten(node["right_child"], nodes)
    return place


def _part(leaf: Any, column: Any, cut: Any, left: Any, right: Any, gaps: Any, value: Any) -> dict[str, Any]:
    """One tree, with nothing on its leaves but their values."""
    return {
        "column": np.where(leaf, _LEAF, column).astype(np.int32),
        "cut": np.where(leaf, 0.0, cut).astype(np.float64),
        "left": np.where(leaf, 0, left).astype(np.int32),
        "right": np.where(leaf, 0, right).astype(np.int32),
        "gap_left": np.where(leaf, False, gaps).astype(bool),
        "value": np.where(leaf, value, 0.0).astype(np.float64),
    }


def _joined(parts: list[dict[str, Any]], *, base: float, forest: bool) -> Trees:
    roots = np.cumsum([0, *(len(part["column"]) for part in parts)])[:-1].astype(np.int32)
    for root, part in zip(roots, parts, strict=True):
        inner = part["column"] != _LEAF
        for side in ("left", "right"):
            part[side] = np.where(inner, part[side] + root, 0).astype(np.int32)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Trees(roots=roots, **whole, base=base, forest=forest)
