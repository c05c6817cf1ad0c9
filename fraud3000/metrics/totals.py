"""Weighted sums over rows for any bootstrap draw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fraud3000.metrics.intervals import Draw
from fraud3000.metrics.scored_arrays import FloatArray, ScoredArrays


class Totals:
    """Weighted column sums, with cached sums per card and terminal.

    Parameters
    ----------
    sample
        The rows.
    columns
        Shape (n,) each, in the sample's order.

    Examples
    --------
    >>> ones, index = np.ones(3), np.arange(3)
    >>> keys = {"card": np.array([0, 1, 1])}
    >>> sample = ScoredArrays(ones, ones, ones, ones > 0, ones < 0, index, keys, None)
    >>> copies = np.array([0.0, 2.0])
    >>> Totals(sample, {"money": np.array([1.0, 10.0, 100.0])})(Draw("card", copies, copies[[0, 1, 1]]))
    {'money': 220.0}
    """

    def __init__(self, sample: ScoredArrays, columns: Mapping[str, FloatArray]) -> None:
        self._keys = sample.keys
        self._columns = columns
        self._sums: dict[str, NDArray[np.float64]] = {}

    def __call__(self, draw: Draw) -> dict[str, float]:
        """Return the weighted sum of each column."""
        if draw.by not in self._sums:
            self._sums[draw.by] = np.stack([self._cluster_sums(draw.by, column) for column in self._columns.values()])
        return dict(zip(self._columns, (self._sums[draw.by] @ draw.copies).tolist(), strict=True))

    def _cluster_sums(self, key: str, column: FloatArray) -> FloatArray:
        return np.bincount(self._keys[key], column).astype(np.float64) if key in self._keys else column
