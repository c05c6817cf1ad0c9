"""Scores that a model gave when it was made, kept with it, so that wherever it is loaded it can show that it is the same."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraud3000.models.inference.encoder import Floats

ROWS = 50


def row_indices(n_rows: int) -> list[int]:
    """Which of so many rows to record: some, evenly spread.

    Examples
    --------
    >>> row_indices(3), len(row_indices(1_000))
    ([0, 1, 2], 50)
    """
    return sorted(set(np.linspace(0, n_rows - 1, min(ROWS, n_rows)).astype(int).tolist()))


def rows_around(usual: Iterable[float]) -> Floats:
    """Make rows around a usual one, the same whenever it is: the row itself, one without values, and some that differ.

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
    """Rows as the model takes them, and what it said of them.

    Attributes
    ----------
    rows
        Encoded, NaN where missing; each as long as the encoder has columns.
    scores
        Calibrated probabilities, one of each row.
    """

    rows: tuple[tuple[float, ...], ...] = ()
    scores: tuple[float, ...] = ()

    @classmethod
    def from_matrix(cls, matrix: Floats, scores: Floats) -> SelfTestRows:
        """Keep rows of shape (n_rows, n_columns) with their scores, of shape (n_rows,)."""
        return cls(tuple(map(tuple, matrix.tolist())), tuple(scores.tolist()))

    @property
    def matrix(self) -> Floats:
        """Of shape (n_rows, n_columns)."""
        return np.array(self.rows, dtype=np.float64)

    def difference(self, scores: Floats) -> float:
        """The largest difference from what was said then; 0 where nothing was recorded."""
        return float(np.max(np.abs(scores - np.array(self.scores)), initial=0.0))

    def to_dict(self) -> dict[str, Any]:
        rows = [[None if math.isnan(value) else value for value in row] for row in self.rows]
        return {"rows": rows, "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> SelfTestRows:
        rows = tuple(tuple(math.nan if value is None else float(value) for value in row) for row in content["rows"])
        return cls(rows, tuple(map(float, content["scores"])))
