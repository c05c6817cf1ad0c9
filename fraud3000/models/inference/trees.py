"""Fitted trees as plain arrays, with the scores of the library that fitted them.

Only the cuts and leaves of a tree model are deployed. Every sum is taken in the order of the estimator's own prediction, so
the scores equal those of scikit-learn and LightGBM to the last bit; `fit` compares both on real rows and refuses a model
whose forms differ by more than `AGREE`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fraud3000.errors import ScorerError
from fraud3000.models.inference import tree_checks, tree_predict, treeshap
from fraud3000.models.inference.bounded_zip import MOST_TIMES, BoundedZip
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.logistic import logit
from fraud3000.models.inference.tree_checks import LEAF
from fraud3000.strict_json import InvalidPartError

AGREE = 1e-9
"""Largest allowed difference between the log-odds of the deployed form and of the estimator."""

SQUEEZE = 1e-9
"""A forest's shares are moved inside (0, 1) by this much, so that their log-odds are finite."""

_SLICE, _EXPLAINED_SLICE = 4_096, 32
"""Rows per thread when scoring, and when explaining."""
_MOST_COMPRESSED = MOST_TIMES / 2
"""Arrays that compress by more than this factor are stored uncompressed."""

Ints = npt.NDArray[np.int32]

_NODE = np.dtype([("cut", "f8"), ("column", "i4"), ("left", "i4"), ("right", "i4"), ("gap_left", "i4")], align=True)
"""A leaf has its value in the field `cut`."""


@dataclass(frozen=True, eq=False)
class Trees:
    """Binary trees over the columns of an encoder; nodes are stored in sequence, parents before children.

    Attributes
    ----------
    roots
        Index of each tree's root, shape (n_trees,).
    column
        Column that each node tests; -1 for a leaf. This and the following have shape (n_nodes,).
    cut
        A row goes left if its value is at most this.
    left, right
        Indices of the children.
    gap_left
        Whether a row with a missing value goes left.
    value
        Value that a leaf adds.
    cover
        Number (or weight) of rows of the fit that reached the node.
    base
        Initial value of all sums.
    forest
        True if the trees give shares of fraud to be averaged, and columns are compared in single precision.
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
        """Return log-odds of fraud of encoded rows, shape (n_rows,); each row's does not depend on other rows.

        Parameters
        ----------
        matrix
            ndarray of shape (n_rows, n_columns), NaN where missing.
        """
        return self.log_odds_from_sums(self.sums(matrix))

    def log_odds_from_sums(self, sums: Floats) -> Floats:
        """Convert sums of the trees to log-odds: the sums themselves, or the logit of a forest's shares."""
        if not self.forest:
            return sums
        return logit(SQUEEZE + (1 - 2 * SQUEEZE) * sums)

    def sums(self, matrix: Floats) -> Floats:
        """Return the sum of the trees for each row (for a forest the share of fraud), shape (n_rows,)."""
        rows = self._compared(matrix)
        total = np.full(len(rows), self.base)
        _in_slices(lambda part: tree_predict.add(rows[part], *self._layout, total[part]), len(rows), _SLICE)
        return total / len(self.roots) if self.forest else total

    def explain_sums(self, matrix: Floats) -> tuple[float, Floats]:
        """Compute the contributions of columns to the sums.

        Returns
        -------
        float
            The mean of the sums over the rows of the fit.
        numpy.ndarray
            Contribution of each column, shape (n_rows, n_columns).
        """
        rows = self._compared(matrix)
        values = np.zeros(rows.shape)
        _in_slices(
            lambda part: treeshap.add(rows[part], self.roots, self._nodes, self._paths, values[part]),
            len(rows),
            _EXPLAINED_SLICE,
        )
        base = self.base + self._paths.base
        return (base / len(self.roots), values / len(self.roots)) if self.forest else (base, values)

    def _compared(self, matrix: Floats) -> Floats:
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        return rows.astype(np.float32).astype(np.float64) if self.forest else rows

    @cached_property
    def _layout(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.void], Floats]:
        return tree_predict.lay_out(self.roots, self.column, self.cut, self.left, self.right, self.gap_left, self.value)

    @cached_property
    def _nodes(self) -> npt.NDArray[np.void]:
        """Fields of each node that an explanation reads, as one record per node."""
        nodes = np.zeros(len(self.column), dtype=_NODE)
        nodes["cut"] = np.where(self.column == LEAF, self.value, self.cut)
        for name in ("column", "left", "right", "gap_left"):
            nodes[name] = getattr(self, name)
        return nodes

    @cached_property
    def _paths(self) -> treeshap.TreePaths:
        return treeshap.TreePaths.from_nodes(self.roots, self._nodes, self.cover)

    def dumps(self) -> bytes:
        """Serialize as an NPZ file; equal trees give equal bytes."""
        arrays = {item.name: getattr(self, item.name) for item in fields(self)}
        compressed = io.BytesIO()
        np.savez_compressed(compressed, **arrays)
        if sum(array.nbytes for array in map(np.asarray, arrays.values())) < _MOST_COMPRESSED * compressed.tell():
            return compressed.getvalue()
        stored = io.BytesIO()  # BoundedZip would refuse this compression ratio as a ZIP bomb
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
            The file cannot be read, or its arrays are not valid trees (see `tree_checks`).
        """
        try:
            arrays = _arrays(content)
        except InvalidPartError as error:
            raise ScorerError(f"the model's trees cannot be read ({error})", hint="Train again.") from error
        try:
            tree_checks.require_valid(arrays, columns)
        except InvalidPartError as error:
            raise ScorerError(
                f"the model's trees are invalid ({error}); the model was not loaded", hint="Train again."
            ) from error
        checked: dict[str, Any] = {**arrays, "base": float(arrays["base"]), "forest": bool(arrays["forest"])}
        return cls(**checked)


def _arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    archive = BoundedZip(content)
    return {item.name: archive.array(f"{item.name}.npy") for item in fields(Trees)}


def _in_slices(work: Callable[[slice], None], rows: int, size: int) -> None:
    """Apply work to all rows; on all cores if there are many rows."""
    if rows < 2 * size:
        work(slice(0, rows))
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda at: work(slice(at, at + size)), range(0, rows, size)))
