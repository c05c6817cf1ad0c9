"""Fitted trees as plain arrays: the same scores as the library that grew them, for one row or a million.

What is deployed of a tree model is its cuts and leaves alone. Every sum is taken in the order of the estimator's own
prediction, so the scores of scikit-learn's and LightGBM's trees come out to the last bit; `fit` holds the two against each
other on real rows all the same, and refuses a model whose forms differ by more than `AGREE`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from fraud3000.errors import ScorerError
from fraud3000.models.inference import tree_checks, tree_predict, treeshap
from fraud3000.models.inference.bounded_zip import MOST_TIMES, BoundedZip
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.tree_checks import LEAF
from fraud3000.strict_json import InvalidPartError

AGREE = 1e-9
"""By how much the log-odds of the deployed form may differ from the estimator's own."""

SQUEEZE = 1e-9
"""A forest's 0 and 1 must have finite log-odds."""

_SLICE, _EXPLAINED_SLICE = 4_096, 32
"""Rows worth a thread of their own, scored and explained."""
_SURELY_READ = MOST_TIMES / 2
"""Arrays so many times as large as their archive are stored as they are."""

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
    cover
        How many rows of the fit, or how much weight of theirs, came to the node.
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
    cover: Floats
    base: float
    forest: bool

    def log_odds(self, matrix: Floats) -> Floats:
        """Log-odds of fraud of encoded rows, shape (n_rows,), each independent of the rows beside it.

        Parameters
        ----------
        matrix
            ndarray of shape (n_rows, n_columns), NaN where missing.
        """
        return self.log_odds_from_sums(self.sums(matrix))

    def log_odds_from_sums(self, sums: Floats) -> Floats:
        """Log-odds where the trees add up to these: the same, but for a forest's shares."""
        if not self.forest:
            return sums
        return cast(Floats, logit(SQUEEZE + (1 - 2 * SQUEEZE) * sums))

    def sums(self, matrix: Floats) -> Floats:
        """What the trees add up to for each row, of a forest the share of fraud; shape (n_rows,)."""
        rows = self._read(matrix)
        total = np.full(len(rows), self.base)
        _in_slices(lambda part: tree_predict.add(rows[part], *self._walked, total[part]), len(rows), _SLICE)
        return total / len(self.roots) if self.forest else total

    def explain_sums(self, matrix: Floats) -> tuple[float, Floats]:
        """Take the sums apart by column.

        Returns
        -------
        float
            The mean of the sums over the rows of the fit.
        numpy.ndarray
            What each column adds to it, shape (n_rows, n_columns).
        """
        rows = self._read(matrix)
        values = np.zeros(rows.shape)
        _in_slices(
            lambda part: treeshap.add(rows[part], self.roots, self._nodes, self._ways, values[part]),
            len(rows),
            _EXPLAINED_SLICE,
        )
        base = self.base + self._ways.base
        return (base / len(self.roots), values / len(self.roots)) if self.forest else (base, values)

    def _read(self, matrix: Floats) -> Floats:
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        return rows.astype(np.float32).astype(np.float64) if self.forest else rows

    @cached_property
    def _walked(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.void], Floats]:
        return tree_predict.laid_out(
            self.roots, self.column, self.cut, self.left, self.right, self.gap_left, self.value
        )

    @cached_property
    def _nodes(self) -> npt.NDArray[np.void]:
        """All that an explanation reads of a node, side by side."""
        nodes = np.zeros(len(self.column), dtype=_NODE)
        nodes["cut"] = np.where(self.column == LEAF, self.value, self.cut)
        for name in ("column", "left", "right", "gap_left"):
            nodes[name] = getattr(self, name)
        return nodes

    @cached_property
    def _ways(self) -> treeshap.TreePaths:
        return treeshap.TreePaths.from_nodes(self.roots, self._nodes, self.cover)

    def dumps(self) -> bytes:
        """The arrays as a file of numpy's, the same bytes whenever they are the same."""
        arrays = {one.name: getattr(self, one.name) for one in fields(self)}
        place = io.BytesIO()
        np.savez_compressed(place, **arrays)
        if sum(array.nbytes for array in map(np.asarray, arrays.values())) < _SURELY_READ * place.tell():
            return place.getvalue()
        stored = io.BytesIO()  # so well compressed that it would be refused as a bomb
        np.savez(stored, **arrays)
        return stored.getvalue()

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
            arrays = _arrays(content)
        except InvalidPartError as error:
            raise ScorerError(f"the model's trees cannot be read ({error})", hint="Train again.") from error
        try:
            tree_checks.require_sound(arrays, columns)
        except InvalidPartError as error:
            raise ScorerError(
                f"the model's trees are not sound ({error}); it was not opened", hint="Train again."
            ) from error
        checked: dict[str, Any] = {**arrays, "base": float(arrays["base"]), "forest": bool(arrays["forest"])}
        return cls(**checked)


def _arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    archive = BoundedZip(content)
    return {one.name: archive.array(f"{one.name}.npy") for one in fields(Trees)}


def _in_slices(work: Callable[[slice], None], rows: int, size: int) -> None:
    """Do something for all rows, on all cores where they are many."""
    if rows < 2 * size:
        work(slice(0, rows))
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda at: work(slice(at, at + size)), range(0, rows, size)))
