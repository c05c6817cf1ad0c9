"""Ranking metrics: average precision, ROC AUC and recall at a rate.

Every metric is a function of two cumulative sums, highest score first: rows and frauds. Rows
have weights, so a bootstrap replicate is one pass over rows that are sorted once; only
the corners of the curve, next to frauds, are stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fraud3000.metrics.scored_arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Curve:
    """Cumulative rows and frauds at each corner, from the highest score down.

    Attributes
    ----------
    rows, frauds
        Cumulative weights, shape (corners,); both are linear between two corners.
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
        """Build the curve of rows sorted by score, highest first; ``ends`` are their `corners`."""
        if not len(ends):
            return cls(np.empty(0), np.empty(0))
        starts = np.append(0, ends[:-1] + 1)
        positive = np.flatnonzero(fraud)
        frauds = np.bincount(np.searchsorted(ends, positive), weight[positive] * fraud[positive], minlength=len(ends))
        return cls(np.cumsum(np.add.reduceat(weight, starts)), np.cumsum(frauds))

    def average_precision(self) -> float:
        """Return Σ (Rₙ − Rₙ₋₁) Pₙ, as scikit-learn does; NaN without a fraud. Its baseline is the prevalence."""
        gained = np.diff(self.frauds, prepend=0.0)
        positive = np.flatnonzero(gained > 0)
        if not len(positive):
            return np.nan
        return float((gained[positive] * (self.frauds[positive] / self.rows[positive])).sum() / self.frauds[-1])

    def auc_roc(self) -> float:
        """Return the probability that a fraud scores above a legitimate row, ties half; NaN with one class."""
        if self._one_class():
            return np.nan
        legitimate = self.rows - self.frauds
        below = self.frauds - np.diff(self.frauds, prepend=0.0) / 2
        area = (np.diff(legitimate, prepend=0.0) * below).sum()
        return float(area / (legitimate[-1] * self.frauds[-1]))

    def recall_at_fpr(self, rate: float) -> float:
        """Return the recall at this false-positive rate, linear between scores; NaN with one class."""
        if self._one_class():
            return np.nan
        legitimate = np.concatenate([[0.0], self.rows - self.frauds])
        recall = np.concatenate([[0.0], self.frauds / self.frauds[-1]])
        return float(np.interp(rate, legitimate / legitimate[-1], recall))

    def recall_at_alert_rate(self, rate: float) -> float:
        """Return the share of frauds in the top ⌈rate·n⌉ rows; NaN without a fraud.

        If the limit falls among equal scores, their frauds count in proportion: the mean over random
        orders of the ties, so the order of rows does not matter.
        """
        if not len(self.frauds) or self.frauds[-1] <= 0:
            return np.nan
        return at_rate(self.rows, self.frauds, rate) / float(self.frauds[-1])

    def _one_class(self) -> bool:
        return not len(self.rows) or not 0 < self.frauds[-1] < self.rows[-1]


def corners(score: FloatArray, fraud: FloatArray) -> IntArray:
    """Return the last index of each run of equal scores with a fraud, and of the run before it.

    Between corners there is no fraud, so the curve is linear. The last row is always a corner.

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
    """Return ⌈rate·total⌉, safe against rounding (1 % of 300 is 3, not 4)."""
    return float(np.ceil(round(rate * total, 9)))


def at_rate(rows: FloatArray, sums: FloatArray, rate: float) -> float:
    """Return a cumulative sum at the top ⌈rate·n⌉ rows, interpolated between entries."""
    target = top_rows(float(rows[-1]), rate)
    return float(np.interp(target, np.concatenate([[0.0], rows]), np.concatenate([[0.0], sums])))


def average_precision(score: FloatArray, fraud: FloatArray) -> float:
    """Return the average precision of unsorted rows.

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
    """Return the area under the ROC curve of unsorted rows, shape (n,); NaN with one class.

    Examples
    --------
    >>> auc_roc(np.array([0.9, 0.8, 0.7]), np.array([1.0, 0.0, 1.0]))
    0.5
    """
    return Curve.from_rows(score, fraud).auc_roc()
