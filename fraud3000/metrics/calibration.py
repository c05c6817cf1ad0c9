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

from fraud3000.metrics.sample import FloatArray

EDGE = 1e-12
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""
STEPS = 50
TOLERANCE = 1e-8
FLAT = 1e-10
"""Below this share of its diagonal the information has no direction left to tell a slope from."""
BINS = 10


def log_odds(score: FloatArray) -> FloatArray:
    """Give log(p / (1 − p)) of probabilities, shape (n,), 0 and 1 moved inside by `EDGE`."""
    inside = np.clip(score, EDGE, 1 - EDGE)
    odds: FloatArray = np.log(inside) - np.log1p(-inside)
    return odds


def slope_intercept(
    odds: FloatArray, fraud: FloatArray, weight: FloatArray, start: tuple[float, float] = (1.0, 0.0)
) -> tuple[float, float]:
    """Fit the labels to the log-odds by logistic regression without a penalty, by Newton's method.

    A slope below 1 says that the scores are too extreme, above 1 too timid; with slope 1, an
    intercept above 0 says that they are too low.

    Parameters
    ----------
    odds, fraud, weight
        Shape (n,).
    start
        Slope and intercept to start from.

    Returns
    -------
    Slope and intercept; both NaN where the rows do not determine them: one class, one score, or
    classes that a score divides.
    """
    found = _newton(odds, fraud, weight, *start)
    if np.isfinite(found[0]):
        return found
    total, frauds = float(weight.sum()), float(weight @ fraud)
    if not 0 < frauds < total:
        return np.nan, np.nan
    return _newton(odds, fraud, weight, 0.0, float(np.log(frauds / (total - frauds))))


def _newton(
    odds: FloatArray, fraud: FloatArray, weight: FloatArray, slope: float, intercept: float
) -> tuple[float, float]:
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(intercept + slope * odds, -700, 700)))
        pull, heft = weight * (fraud - p), weight * p * (1 - p)
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


def brier_skill(score: FloatArray, fraud: FloatArray, weight: FloatArray) -> float:
    """Give 1 − Brier score / that of the prevalence; NaN with one class.

    Examples
    --------
    >>> brier_skill(np.array([0.0, 0.5, 1.0, 0.5]), np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4))
    0.5
    """
    total = float(weight.sum())
    prevalence = float(weight @ fraud) / total if total else np.nan
    baseline = total * prevalence * (1 - prevalence)
    return 1 - float(weight @ (score - fraud) ** 2) / baseline if baseline > 0 else np.nan


def calibration_error(score: FloatArray, fraud: FloatArray, weight: FloatArray, bins: int = BINS) -> float:
    """Give the mean gap between score and fraud rate over bins of equal count.

    Parameters
    ----------
    score, fraud, weight
        Shape (n,), sorted by score either way.
    """
    total = float(weight.sum())
    if not total:
        return np.nan
    middle = np.cumsum(weight) - weight / 2
    which = np.minimum((bins * middle / total).astype(np.int64), bins - 1)
    gaps = np.bincount(which, weight * (score - fraud), minlength=bins)
    return float(np.abs(gaps).sum() / total)
