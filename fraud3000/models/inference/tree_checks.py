"""Validate the arrays of trees: everything that the compiled loops over their nodes rely on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fraud3000.strict_json import InvalidPartError

LEAF = -1
"""In `column`: the node is a leaf."""

_COVERS_AGREE = 1e-6
"""Largest relative difference between a node's cover and the sum of its children's: sums of weights are rounded."""
_ROUNDED = 1e-9
_LARGEST = 1e100
"""Largest absolute value of a leaf; larger values could sum to infinity."""
_KINDS = {"roots": np.int32, "column": np.int32, "cut": np.float64, "left": np.int32, "right": np.int32,
          "gap_left": np.bool_, "value": np.float64, "cover": np.float64, "base": np.float64,
          "forest": np.bool_}  # fmt: skip
_SCALARS = ("base", "forest")

Arrays = Mapping[str, npt.NDArray[Any]]
NodeIndices = npt.NDArray[np.int64]


def require_valid(arrays: Arrays, columns: int) -> None:
    """Refuse arrays that are not valid trees.

    Parameters
    ----------
    arrays
        Arrays by the field names of `Trees`.
    columns
        How many columns the encoder has.

    Raises
    ------
    InvalidPartError
        Names the array: a type or length is wrong, a child is outside the tree, before its parent or shared by two parents,
        a column does not exist, or a value, cut or cover is not a valid number.
    """
    for check in (_kinds, _values, _links, _parents, _covers):
        for problem in check(arrays, columns):  # each check relies on those before it
            raise InvalidPartError(problem)


def _kinds(arrays: Arrays, _: int) -> Iterator[str]:
    nodes, trees = arrays["column"].size, arrays["roots"].size
    for name, kind in _KINDS.items():
        array = arrays[name]
        expected: tuple[int, ...] = () if name in _SCALARS else (trees if name == "roots" else nodes,)
        if array.dtype != kind:
            yield f"{name}: {array.dtype} instead of {np.dtype(kind)}"
        if array.shape != expected:
            yield f"{name}: shape {array.shape} instead of {expected}, by roots and column"
    if not trees:
        yield "roots: no tree"


def _values(arrays: Arrays, columns: int) -> Iterator[str]:
    inner = arrays["column"] != LEAF
    known = (arrays["column"] >= LEAF) & (arrays["column"] < columns)
    value, base, forest = arrays["value"], arrays["base"], bool(arrays["forest"])
    if not known.all():
        yield f"column: {arrays['column'][~known][0]} is no column of the encoder, which has {columns}"
    if np.isnan(arrays["cut"][inner]).any():
        yield "cut: not a number"
    if not (np.abs(value) <= _LARGEST).all():
        yield f"value: {value[~(np.abs(value) <= _LARGEST)][0]} is not finite, or too large"
    if not abs(base) <= _LARGEST:
        yield f"base: {base} is not finite, or too large"
    if forest and not ((value >= -_ROUNDED) & (value <= 1 + _ROUNDED)).all():
        yield "value: a forest's shares of fraud lie between 0 and 1"
    if forest and base != 0:
        yield f"base: {base}, and a forest's sums begin with 0"


def _links(arrays: Arrays, _: int) -> Iterator[str]:
    """Check that children come after their parents, so that every traversal ends."""
    inner = np.flatnonzero(arrays["column"] != LEAF)
    for side in ("left", "right"):
        to = arrays[side][inner]
        wrong = (to <= inner) | (to >= arrays["column"].size)
        if wrong.any():
            yield f"{side}, column: node {inner[wrong][0]} is no leaf and leads to {to[wrong][0]}, which is no node after it"


def _parents(arrays: Arrays, _: int) -> Iterator[str]:
    """Check that the nodes of a tree are contiguous, its root first, and that every other node has one parent."""
    roots, nodes = arrays["roots"], arrays["column"].size
    if roots[0] != 0 or (np.diff(roots) <= 0).any() or roots[-1] >= nodes:
        yield "roots: not in order from node 0 on, or beyond the last node"
        return
    inner = np.flatnonzero(arrays["column"] != LEAF)
    parents: NodeIndices = np.tile(inner, 2)
    children = np.concatenate([arrays["left"][inner], arrays["right"][inner]])
    expected = np.ones(nodes, dtype=np.int64)
    expected[roots] = 0
    tree = np.cumsum(1 - expected)
    if (np.bincount(children, minlength=nodes) != expected).any():
        yield "column, left, right, roots: a node is the child of several nodes, or of none"
    elif (tree[parents] != tree[children]).any():
        yield "column, left, right, roots: a node leads into another tree"


def _covers(arrays: Arrays, _: int) -> Iterator[str]:
    """Check that every cover is positive and the sum of its children's."""
    inner, cover = np.flatnonzero(arrays["column"] != LEAF), arrays["cover"]
    if not (np.isfinite(cover) & (cover > 0)).all():
        yield "cover: not finite, or not above 0"
    parts = cover[arrays["left"][inner]] + cover[arrays["right"][inner]]
    if not np.allclose(cover[inner], parts, rtol=_COVERS_AGREE, atol=0):
        yield "cover, column: a node's cover is not the sum of its children's"
