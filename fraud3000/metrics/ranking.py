"""How well scores rank: average precision, ROC and recall at a rate.

Every number is a function of two running sums, highest score first: rows and frauds so far. Rows
carry weights, so that a bootstrap replicate is one pass over rows that were sorted once; and only
the corners of the curve, where frauds come in, are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fraud3000.metrics.scored_arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Curve:
    """Rows and frauds so far at each corner, from the highest score down.

    Attributes
    ----------
    rows, frauds
        Running sums of weights, shape (corners,); between two corners both grow evenly.
    """

    rows: FloatArray
    frauds: FloatArray

    @classmethod
    def from_rows(cls, score: FloatArray, fraud: FloatArray) -> Curve:
        """Sort the rows and build their curve; both arrays of shape (n,)."""
        order = np.argsort(-score, kind="stable")
        return cls.from_sorted(corners(score[order], fraud[order]), fraud[order], np.ones(len(score)))

    @classmethod
    def from_sorted(cls, ends: IntArray, fraud: FloatArray, weight: FloatArray) -> Curve:
        """Build the curve of rows already in order; ``ends`` is what `corners` gives for them."""
        if not len(ends):
            return cls(np.empty(0), np.empty(0))
        starts = np.append(0, ends[:-1] + 1)
        some = np.flatnonzero(fraud)
        frauds = np.bincount(np.searchsorted(ends, some), weight[some] * fraud[some], minlength=len(ends))
        return cls(np.cumsum(np.add.reduceat(weight, starts)), np.cumsum(frauds))

    def average_precision(self) -> float:
        """Give Σ (Rₙ − Rₙ₋₁) Pₙ, as scikit-learn does; NaN without a fraud. Its baseline is the prevalence."""
        gained = np.diff(self.frauds, prepend=0.0)
        some = np.flatnonzero(gained > 0)
        if not len(some):
            return np.nan
        return float((gained[some] * (self.frauds[some] / self.rows[some])).sum() / self.frauds[-1])

    def auc_roc(self) -> float:
        """Give the chance that a fraud scores above a legitimate row, ties half; NaN with one class."""
        if self._one_class():
            return np.nan
        honest = self.rows - self.frauds
        below = self.frauds - np.diff(self.frauds, prepend=0.0) / 2
        area = (np.diff(honest, prepend=0.0) * below).sum()
        return float(area / (honest[-1] * self.frauds[-1]))

    def recall_at_fpr(self, rate: float) -> float:
        """Give the recall where this share of legitimate rows is alerted, linear between scores; NaN with one class."""
        if self._one_class():
            return np.nan
        honest = np.concatenate([[0.0], self.rows - self.frauds])
        recall = np.concatenate([[0.0], self.frauds / self.frauds[-1]])
        return float(np.interp(rate, honest / honest[-1], recall))

    def recall_at_alert_rate(self, rate: float) -> float:
        """Give the share of frauds in the top ⌈rate·n⌉ rows; NaN without a fraud.

        Where the edge falls among equal scores, their frauds count in proportion: what a random
        order of the ties gives on average, so the order of rows does not matter.
        """
        if not len(self.frauds) or self.frauds[-1] <= 0:
            return np.nan
        return at_rate(self.rows, self.frauds, rate) / float(self.frauds[-1])

    def _one_class(self) -> bool:
        return not len(self.rows) or not 0 < self.frauds[-1] < self.rows[-1]


def corners(score: FloatArray, fraud: FloatArray) -> IntArray:
    """Give the last index of each run of equal scores that holds a fraud, and of the run before it.

    Between these the curve has no fraud, so it is straight. The last row is always a corner.

    Parameters
    ----------
    score, fraud
        Shape (n,), highest score first.

    Examples
    --------
    >>> corners(np.array([0.9, 0.7, 0.5, 0.5, 0.3, 0.1]), np.array([0.0, 0, 0, 1, 0, 0])).tolist()
    [1, 3, 5]
    """
    if not len(score):
        return np.empty(0, dtype=np.int64)
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    holding = np.unique(np.searchsorted(ends, np.flatnonzero(fraud)))
    before = holding[holding > 0] - 1
    return np.asarray(ends[np.union1d(np.union1d(holding, before), [len(ends) - 1])])


def top_rows(total: float, rate: float) -> float:
    """Give ⌈rate·total⌉, safe against rounding (1 % of 300 is 3, not 4)."""
    return float(np.ceil(round(rate * total, 9)))


def at_rate(rows: FloatArray, sums: FloatArray, rate: float) -> float:
    """Read a running sum at the top ⌈rate·n⌉ rows, even between two entries."""
    wanted = top_rows(float(rows[-1]), rate)
    return float(np.interp(wanted, np.concatenate([[0.0], rows]), np.concatenate([[0.0], sums])))


def average_precision(score: FloatArray, fraud: FloatArray) -> float:
    """Give the average precision of unsorted rows.

    Parameters
    ----------
    score, fraud
        Shape (n,); fraud is 0 or 1.

    Returns
    -------
    The sum Σ (Rₙ − Rₙ₋₁) Pₙ, never the trapezoid; NaN without a fraud.

    Examples
    --------
    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([1.0, 0.0, 1.0])).__round__(4)
    0.8333
    """
    return Curve.from_rows(score, fraud).average_precision()


def auc_roc(score: FloatArray, fraud: FloatArray) -> float:
    """Give the area under the ROC curve of unsorted rows, shape (n,); NaN with one class.

    Examples
    --------
    >>> auc_roc(np.array([0.9, 0.8, 0.7]), np.array([1.0, 0.0, 1.0]))
    0.5
    """
    return Curve.from_rows(score, fraud).auc_roc()
