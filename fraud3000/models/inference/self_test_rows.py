"""Self-test of a model: rows stored with their scores, which are compared whenever the model is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraud3000.models.inference.encoder import Floats

ROWS = 50


def row_indices(n_rows: int) -> list[int]:
    """Return the indices of at most 50 rows, evenly spread.

    Examples
    --------
    >>> row_indices(3), len(row_indices(1_000))
    ([0, 1, 2], 50)
    """
    return sorted(set(np.linspace(0, n_rows - 1, min(ROWS, n_rows)).astype(int).tolist()))


def rows_around(usual: Iterable[float]) -> Floats:
    """Return rows around a usual one, deterministically: the row itself, a row without values, and random variations.

    Returns
    -------
    numpy.ndarray
        Of shape (50, n_columns).

    Examples
    --------
    >>> rows_around([2.0, math.nan])[:2]
    array([[ 2., nan],
           [nan, nan]])
    """
    row = np.fromiter(usual, dtype=np.float64)
    steps = np.random.default_rng(0).normal(size=(ROWS, len(row)))
    rows = row + steps * np.maximum(np.abs(row), 1.0)
    rows[0], rows[1] = row, math.nan
    return rows


@dataclass(frozen=True)
class SelfTestRows:
    """Encoded rows with the scores that the model gave them.

    Attributes
    ----------
    rows
        Encoded rows, NaN where missing; one value per column of the encoder.
    scores
        Calibrated probabilities, one per row.
    """

    rows: tuple[tuple[float, ...], ...] = ()
    scores: tuple[float, ...] = ()

    @classmethod
    def from_matrix(cls, matrix: Floats, scores: Floats) -> SelfTestRows:
        """Build from rows of shape (n_rows, n_columns) with their scores, of shape (n_rows,)."""
        return cls(tuple(map(tuple, matrix.tolist())), tuple(scores.tolist()))

    @property
    def matrix(self) -> Floats:
        """The rows as an ndarray of shape (n_rows, n_columns)."""
        return np.array(self.rows, dtype=np.float64)

    def difference(self, scores: Floats) -> float:
        """Return the largest difference from the recorded scores; 0 if there are no rows."""
        return float(np.max(np.abs(scores - np.array(self.scores)), initial=0.0))

    def to_dict(self) -> dict[str, Any]:
        rows = [[None if math.isnan(value) else value for value in row] for row in self.rows]
        return {"rows": rows, "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> SelfTestRows:
        rows = tuple(tuple(math.nan if value is None else float(value) for value in row) for row in content["rows"])
        return cls(rows, tuple(map(float, content["scores"])))
