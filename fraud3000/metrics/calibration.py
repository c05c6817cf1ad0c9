"""Calibration metrics: whether a score of 0.1 means one fraud in ten.

They are the slope and intercept of a logistic regression of the labels on the scores' log-odds, observed over
expected frauds and money among the highest scores, and the Brier skill against the prevalence. The expected
calibration error is for information only: with few frauds a constant score has the best one.

References
----------
Cox. Two further applications of a model for binary regression. Biometrika, 1958.
"""

from __future__ import annotations

import numpy as np

from fraud3000.metrics.cost import share
from fraud3000.metrics.ranking import top_rows
from fraud3000.metrics.scored_arrays import FloatArray, IntArray, ScoredArrays

EDGE = 1e-12
"""Probabilities are clipped to this distance from 0 and 1 before their log-odds are taken."""
STEPS = 50
TOLERANCE = 1e-8
FLAT = 1e-10
"""If the determinant of the information matrix is below this share of its diagonal, no slope can be fitted."""
TOP = 0.01
"""Share of highest scores in which calibration is measured."""
BINS = 10
GROUPS = 4096


def log_odds(score: FloatArray) -> FloatArray:
    """Return log(p / (1 − p)) of probabilities, shape (n,), clipped by `EDGE`."""
    inside = np.clip(score, EDGE, 1 - EDGE)
    odds: FloatArray = np.log(inside) - np.log1p(-inside)
    return odds


def slope_intercept(
    odds: FloatArray, frauds: FloatArray, rows: FloatArray, start: tuple[float, float] = (1.0, 0.0)
) -> tuple[float, float]:
    """Fit an unpenalised logistic regression of the labels on the log-odds by Newton's method.

    A slope below 1 means that the scores are too extreme, above 1 too moderate; with slope 1, an
    intercept above 0 means that they are too low.

    Parameters
    ----------
    odds, frauds, rows
        Log-odds, and the weight of frauds and of all rows at them, shape (n,).
    start
        Slope and intercept to start from.

    Returns
    -------
    Slope and intercept; both NaN if the rows do not determine them: one class, one score, or
    classes that the score separates perfectly.
    """
    fitted = _newton(odds, frauds, rows, *start)
    if np.isfinite(fitted[0]):
        return fitted
    fraud, legitimate = float(frauds.sum()), float((rows - frauds).sum())
    if fraud <= 0 or legitimate <= 0:
        return np.nan, np.nan
    return _newton(odds, frauds, rows, 0.0, float(np.log(fraud / legitimate)))


def _newton(
    odds: FloatArray, frauds: FloatArray, rows: FloatArray, slope: float, intercept: float
) -> tuple[float, float]:
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(intercept + slope * odds, -700, 700)))
        residual, curvature = frauds - rows * p, rows * p * (1 - p)
        g0, g1 = float(residual.sum()), float(residual @ odds)
        h0, h1, h2 = float(curvature.sum()), float(curvature @ odds), float((curvature * odds) @ odds)
        determinant = h0 * h2 - h1 * h1
        if not determinant > FLAT * h0 * h2:
            break
        intercept_step, slope_step = (h2 * g0 - h1 * g1) / determinant, (h0 * g1 - h1 * g0) / determinant
        intercept, slope = intercept + intercept_step, slope + slope_step
        if abs(intercept_step) + abs(slope_step) < TOLERANCE:
            return slope, intercept
    return np.nan, np.nan


def group_odds(odds: FloatArray, groups: int = GROUPS) -> tuple[IntArray, FloatArray]:
    """Bin sorted log-odds into narrow groups, so that a fit does not need every row.

    Parameters
    ----------
    odds
        Shape (n,), ascending or descending.

    Returns
    -------
    The first index of each group, and the mean log-odds of each.
    """
    if not len(odds):
        return np.empty(0, dtype=np.int64), np.empty(0)
    width = max(float(np.ptp(odds)) / groups, np.finfo(np.float64).tiny)
    which = np.floor((odds - odds.min()) / width)
    starts = np.append(0, np.flatnonzero(np.diff(which)) + 1)
    sizes = np.diff(np.append(starts, len(odds)))
    return starts, np.add.reduceat(odds, starts) / sizes


def brier_skill(squared: float, frauds: float, rows: float) -> float:
    """Return 1 − Brier score / Brier score of the prevalence; NaN with one class.

    Parameters
    ----------
    squared
        Sum of (score − label)² over the rows.

    Examples
    --------
    >>> brier_skill(squared=0.5, frauds=2, rows=4)
    0.5
    """
    baseline = frauds * (1 - frauds / rows) if rows > 0 else 0.0
    return 1 - squared / baseline if baseline > 0 else np.nan


def calibration_error(gap: FloatArray, weight: FloatArray, bins: int = BINS) -> float:
    """Return the mean absolute difference between score and fraud rate over bins of equal count.

    Parameters
    ----------
    gap, weight
        Score − label, and weight, of rows sorted by score (ascending or descending), shape (n,).
    """
    cumulative = np.cumsum(weight)
    if not len(cumulative) or cumulative[-1] <= 0:
        return np.nan
    middles = np.searchsorted(cumulative, np.arange(1, bins) * cumulative[-1] / bins)
    edges = np.unique(np.append(0, middles))
    return float(np.abs(np.add.reduceat(weight * gap, edges)).sum() / cumulative[-1])


class Probabilities:
    """Calibration metrics of one sample of probabilities that are not functions of sums.

    Parameters
    ----------
    sample
        Scores between 0 and 1, highest first.
    """

    def __init__(self, sample: ScoredArrays) -> None:
        self._sample = sample
        self._gap = sample.score - sample.fraud
        self._falling = -sample.score
        odds = log_odds(sample.score)
        self._starts, self._odds = group_odds(odds)
        self._fraud_rows = np.flatnonzero(sample.fraud)
        self._group = np.searchsorted(self._starts, self._fraud_rows, side="right") - 1
        self._exact = slope_intercept(odds, sample.fraud, np.ones(sample.rows)) if sample.rows else (np.nan, np.nan)

    def __call__(self, weight: FloatArray) -> dict[str, float]:
        """Return slope, intercept, observed over expected among the highest scores, and the calibration error."""
        slope, intercept = self._line(weight)
        return {
            "calibration_slope": slope,
            "calibration_intercept": intercept,
            **self._top(weight),
            "calibration_error": calibration_error(self._gap, weight),
        }

    def _line(self, weight: FloatArray) -> tuple[float, float]:
        """Fit the rows themselves if all weights are 1, and narrow groups of log-odds for replicates."""
        if not np.isfinite(self._exact[0]) or bool((weight == 1).all()):
            return self._exact
        rows = np.add.reduceat(weight, self._starts)
        frauds = np.bincount(self._group, weight[self._fraud_rows], minlength=len(rows)).astype(np.float64)
        return slope_intercept(self._odds, frauds, rows, self._exact)

    def _top(self, weight: FloatArray) -> dict[str, float]:
        """Return observed over expected among the highest scores; rows tied at the limit count in proportion."""
        sample, cumulative = self._sample, np.cumsum(weight)
        target = top_rows(float(cumulative[-1]), TOP)
        edge = sample.score[min(int(np.searchsorted(cumulative, target)), sample.rows - 1)]
        first, last = (int(np.searchsorted(self._falling, -edge, side=side)) for side in ("left", "right"))
        part = weight[:last].copy()
        tied = float(part[first:].sum())
        part[first:] *= (target - float(part[:first].sum())) / tied if tied else 0.0
        fraud, score, amount = sample.fraud[:last], sample.score[:last], sample.amount[:last]
        name = "observed_over_expected"
        return {
            f"{name}_frauds_top_{TOP:g}": share(float(part @ fraud), float(part @ score)),
            f"{name}_money_top_{TOP:g}": share(float(part @ (fraud * amount)), float(part @ (score * amount))),
        }
