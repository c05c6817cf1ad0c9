"""Fit calibrators on rows outside the fit of the model, in their natural prevalence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import isotonic_regression

from fraud3000.models.inference.calibrate import Beta, Calibrator, Isotonic, Platt, beta_terms
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.training.fit import Labels, single_blas_thread

FEWEST_FOR_SLOPE = 5
FEWEST_FOR_SHAPE = 20
"""Frauds needed to fit more than a shift, and more than a slope."""

_LEAST_SLOPE = 0.01
_PRIOR = 1.0
"""Pull of a slope towards 1, as strong as one observation of unit information."""


def fit(method: str, log_odds: Floats, is_fraud: Labels) -> Calibrator:
    """Fit the named method, or a simpler one if there are too few frauds for it.

    Below 5 frauds only a shift is fitted (`Platt` of slope 1), below 20 a slope and a shift; the
    `method` of the result is the one fitted. Targets are smoothed as in Platt (1999), so that the result
    is finite with 0 frauds or with frauds only.

    Parameters
    ----------
    method
        `platt`, `beta` or `isotonic`.
    log_odds, is_fraud
        ndarrays of shape (n_rows,), of rows that the model was not fitted on.

    Examples
    --------
    >>> fit("beta", np.array([-4.0, -3.0, 0.0]), np.array([0, 0, 1], dtype=np.int8)).to_dict()["method"]
    'platt'
    """
    frauds = min(int(is_fraud.sum()), int((is_fraud == 0).sum()))
    if frauds < FEWEST_FOR_SLOPE:
        return _fit_shift(log_odds, is_fraud)
    if method == "platt" or frauds < FEWEST_FOR_SHAPE:
        return _fit_platt(log_odds, is_fraud)
    return _fit_beta(log_odds, is_fraud) if method == "beta" else _fit_isotonic(log_odds, is_fraud)


def _smooth_targets(is_fraud: Labels) -> Floats:
    frauds = int(is_fraud.sum())
    return np.where(is_fraud == 1, (frauds + 1) / (frauds + 2), 1 / (len(is_fraud) - frauds + 2))


def _fit_shift(log_odds: Floats, is_fraud: Labels) -> Platt:
    if not len(is_fraud) or not is_fraud.any():
        return Platt(1.0, 0.0)
    return Platt(1.0, *_fit_logistic([], log_odds, _smooth_targets(is_fraud)))


def _fit_platt(log_odds: Floats, is_fraud: Labels) -> Platt:
    slope, intercept = _fit_logistic([log_odds], np.zeros_like(log_odds), _smooth_targets(is_fraud))
    return Platt(slope, intercept)


def _fit_beta(log_odds: Floats, is_fraud: Labels) -> Beta:
    a, b, c = _fit_logistic(beta_terms(log_odds), np.zeros_like(log_odds), _smooth_targets(is_fraud))
    return Beta(a, b, c)


def _fit_isotonic(log_odds: Floats, is_fraud: Labels) -> Isotonic:
    order = np.argsort(log_odds, kind="stable")
    values, first, counts = np.unique(log_odds[order], return_index=True, return_counts=True)
    rates = np.add.reduceat(is_fraud[order].astype(np.float64), first) / counts
    fitted = isotonic_regression(rates, sample_weight=counts.astype(np.float64))
    _, block = np.unique(fitted, return_inverse=True)
    weight = np.bincount(block, weights=counts)
    centres = np.bincount(block, weights=values * counts) / weight
    targets = _smooth_targets(is_fraud)
    blocks = np.clip(np.bincount(block, weights=fitted * counts) / weight, targets.min(), targets.max())
    # Interpolation lies above the steps that it replaces: rescale so that probabilities sum to the number of frauds.
    excess = float(np.interp(log_odds, centres, blocks).sum()) / float(is_fraud.sum())
    return Isotonic(tuple(centres.tolist()), tuple(np.minimum(blocks / excess, targets.max()).tolist()))


def _fit_logistic(terms: Sequence[Floats], offset: Floats, targets: Floats) -> list[float]:
    """Fit the slopes of the terms (bounded below by a small positive one) and the intercept by penalised likelihood."""
    columns = [*terms, np.ones_like(offset)]

    def loss(weights: Floats) -> tuple[float, Floats]:
        z = offset + sum(weight * column for weight, column in zip(weights, columns, strict=True))
        pull = weights[:-1] - 1
        slope = expit(z) - targets
        gradient = np.array([float(slope @ column) for column in columns])
        gradient[:-1] += _PRIOR * pull
        return float(np.logaddexp(0, z).sum() - targets @ z + _PRIOR / 2 * pull @ pull), gradient

    bounds = [(_LEAST_SLOPE, None)] * len(terms) + [(None, None)]
    start = np.array([1.0] * len(terms) + [0.0])
    options = {"maxiter": 500, "ftol": 1e-14}
    with single_blas_thread():
        fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return cast(list[float], fitted.x.tolist())
