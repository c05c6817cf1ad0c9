"""Whether a score of 0.1 means one fraud in ten.

Judged by the slope and intercept of the labels on the scores' log-odds, by frauds and money
observed over expected where it matters, and by the Brier skill against the prevalence. The
expected calibration error is for show: with few frauds a constant score wins it.

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
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""
STEPS = 50
TOLERANCE = 1e-8
FLAT = 1e-10
"""Below this share of its diagonal the information has no direction left to tell a slope from."""
TOP = 0.01
"""The share of highest scores in which calibration is judged."""
BINS = 10
GROUPS = 4096


def log_odds(score: FloatArray) -> FloatArray:
    """Give log(p / (1 − p)) of probabilities, shape (n,), 0 and 1 moved inside by `EDGE`."""
    inside = np.clip(score, EDGE, 1 - EDGE)
    odds: FloatArray = np.log(inside) - np.log1p(-inside)
    return odds


def slope_intercept(
    odds: FloatArray, frauds: FloatArray, rows: FloatArray, start: tuple[float, float] = (1.0, 0.0)
) -> tuple[float, float]:
    """Fit the labels to the log-odds by logistic regression without a penalty, by Newton's method.

    A slope below 1 says that the scores are too extreme, above 1 too timid; with slope 1, an
    intercept above 0 says that they are too low.

    Parameters
    ----------
    odds, frauds, rows
        Log-odds, and the weight of frauds and of all rows at them, shape (n,).
    start
        Slope and intercept to start from.

    Returns
    -------
    Slope and intercept; both NaN where the rows do not determine them: one class, one score, or
    classes that a score divides.
    """
    found = _newton(odds, frauds, rows, *start)
    if np.isfinite(found[0]):
        return found
    one, other = float(frauds.sum()), float((rows - frauds).sum())
    if one <= 0 or other <= 0:
        return np.nan, np.nan
    return _newton(odds, frauds, rows, 0.0, float(np.log(one / other)))


def _newton(
    odds: FloatArray, frauds: FloatArray, rows: FloatArray, slope: float, intercept: float
) -> tuple[float, float]:
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(intercept + slope * odds, -700, 700)))
        pull, heft = frauds - rows * p, rows * p * (1 - p)
        g0, g1 = float(pull.sum()), float(pull @ odds)
        h0, h1, h2 = float(heft.sum()), float(heft @ odds), float((heft * odds) @ odds)
        determinant = h0 * h2 - h1 * h1
        if not determinant > FLAT * h0 * h2:
            break
        down, across = (h2 * g0 - h1 * g1) / determinant, (h0 * g1 - h1 * g0) / determinant
        intercept, slope = intercept + down, slope + across
        if abs(down) + abs(across) < TOLERANCE:
            return slope, intercept
    return np.nan, np.nan


def grouped(odds: FloatArray, groups: int = GROUPS) -> tuple[IntArray, FloatArray]:
    """Cut sorted log-odds into narrow groups, so that a fit need not see each row.

    Parameters
    ----------
    odds
        Shape (n,), sorted either way.

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
    """Give 1 − Brier score / that of the prevalence; NaN with one class.

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
    """Give the mean gap between score and fraud rate over bins of equal count.

    Parameters
    ----------
    gap, weight
        Score − label, and weight, of rows sorted by score either way, shape (n,).
    """
    so_far = np.cumsum(weight)
    if not len(so_far) or so_far[-1] <= 0:
        return np.nan
    middles = np.searchsorted(so_far, np.arange(1, bins) * so_far[-1] / bins)
    edges = np.unique(np.append(0, middles))
    return float(np.abs(np.add.reduceat(weight * gap, edges)).sum() / so_far[-1])


class Probabilities:
    """The calibration figures of one sample of probabilities that need more than sums.

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
        self._starts, self._odds = grouped(odds)
        self._some = np.flatnonzero(sample.fraud)
        self._group = np.searchsorted(self._starts, self._some, side="right") - 1
        self._exact = slope_intercept(odds, sample.fraud, np.ones(sample.rows)) if sample.rows else (np.nan, np.nan)

    def __call__(self, weight: FloatArray) -> dict[str, float]:
        """Give slope and intercept, observed over expected in the top scores, and the calibration error."""
        slope, intercept = self._line(weight)
        return {
            "calibration_slope": slope,
            "calibration_intercept": intercept,
            **self._top(weight),
            "calibration_error": calibration_error(self._gap, weight),
        }

    def _line(self, weight: FloatArray) -> tuple[float, float]:
        """Fit the rows themselves where none is weighted; replicates over narrow groups of log-odds."""
        if not np.isfinite(self._exact[0]) or bool((weight == 1).all()):
            return self._exact
        rows = np.add.reduceat(weight, self._starts)
        frauds = np.bincount(self._group, weight[self._some], minlength=len(rows)).astype(np.float64)
        return slope_intercept(self._odds, frauds, rows, self._exact)

    def _top(self, weight: FloatArray) -> dict[str, float]:
        """Give observed over expected in the top of the scores; the last score's rows in proportion."""
        sample, so_far = self._sample, np.cumsum(weight)
        wanted = top_rows(float(so_far[-1]), TOP)
        edge = sample.score[min(int(np.searchsorted(so_far, wanted)), sample.rows - 1)]
        first, last = (int(np.searchsorted(self._falling, -edge, side=side)) for side in ("left", "right"))
        part = weight[:last].copy()
        tied = float(part[first:].sum())
        part[first:] *= (wanted - float(part[:first].sum())) / tied if tied else 0.0
        fraud, score, amount = sample.fraud[:last], sample.score[:last], sample.amount[:last]
        name = "observed_over_expected"
        return {
            f"{name}_frauds_top_{TOP:g}": share(float(part @ fraud), float(part @ score)),
            f"{name}_money_top_{TOP:g}": share(float(part @ (fraud * amount)), float(part @ (score * amount))),
        }
