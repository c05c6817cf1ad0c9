"""Calibrate log-odds to probabilities of fraud by strictly increasing functions.

Because every calibrator is strictly increasing, the ranking (and average precision) is that of the model itself. Fit
calibrators on rows that the model was not fitted on, in their natural prevalence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import isotonic_regression

from fraud3000.errors import ScorerError
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.threads import single_blas_thread
from fraud3000.models.training.fit import Labels

FEWEST_FOR_SLOPE = 5
FEWEST_FOR_SHAPE = 20
"""Frauds needed to fit a slope, and to fit more than a slope."""

_TILT = 1e-6
"""Weight of a slowly rising term that keeps distinct scores apart where a curve is flat."""
_LEAST_SLOPE = 0.01
_PRIOR = 1.0
"""Penalty that pulls a slope towards 1, as strong as one observation of unit information."""


class Calibrator(Protocol):
    """A strictly increasing map from log-odds to probability."""

    method: ClassVar[str]

    def probability(self, log_odds: Floats) -> Floats:
        """Return probabilities in the open interval (0, 1), ndarray of shape (n_rows,)."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; floats are exact."""


@dataclass(frozen=True)
class Platt:
    """Platt calibration: logit p = slope · z + intercept.

    References
    ----------
    Platt (1999): Probabilistic Outputs for Support Vector Machines.
    """

    slope: float
    intercept: float
    method: ClassVar[str] = "platt"

    def probability(self, log_odds: Floats) -> Floats:
        return _tilt(expit(self.slope * log_odds + self.intercept), log_odds)

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, **asdict(self)}


@dataclass(frozen=True)
class Beta:
    """Beta calibration: logit p = a · ln s − b · ln(1 − s) + c, with s the uncalibrated probability.

    References
    ----------
    Kull, Silva Filho, Flach (2017): Beyond Sigmoids: How to Obtain Well-Calibrated Probabilities
    from Binary Classifiers with Beta Calibration.
    """

    a: float
    b: float
    c: float
    method: ClassVar[str] = "beta"

    def probability(self, log_odds: Floats) -> Floats:
        low, high = _beta_terms(log_odds)
        return _tilt(expit(self.a * low + self.b * high + self.c), log_odds)

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, **asdict(self)}


@dataclass(frozen=True)
class Isotonic:
    """Isotonic calibration: linear interpolation between the centres of the blocks of an isotonic regression."""

    centres: tuple[float, ...]
    rates: tuple[float, ...]
    method: ClassVar[str] = "isotonic"

    def probability(self, log_odds: Floats) -> Floats:
        return _tilt(np.interp(log_odds, self.centres, self.rates), log_odds)

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, "centres": list(self.centres), "rates": list(self.rates)}


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


def from_dict(content: dict[str, Any]) -> Calibrator:
    """Read what `to_dict` wrote.

    Raises
    ------
    ScorerError
        The method is unknown to this release.
    """
    values = {name: value for name, value in content.items() if name != "method"}
    if content["method"] == "isotonic":
        return Isotonic(tuple(values["centres"]), tuple(values["rates"]))
    known: dict[str, Callable[..., Calibrator]] = {"platt": Platt, "beta": Beta}
    if content["method"] not in known:
        raise ScorerError(
            f"unknown calibration '{content['method']}'; known: platt, beta, isotonic", hint="Update fraud3000."
        )
    return known[content["method"]](**values)


def _tilt(probability: Floats, log_odds: Floats) -> Floats:
    rising = 0.5 + 0.5 * log_odds / (1 + np.abs(log_odds))
    tilted: Floats = (1 - _TILT) * probability + _TILT * rising
    return tilted


def _beta_terms(log_odds: Floats) -> tuple[Floats, Floats]:
    """Return ln s and −ln(1 − s)."""
    return -np.logaddexp(0, -log_odds), np.logaddexp(0, log_odds)


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
    a, b, c = _fit_logistic(_beta_terms(log_odds), np.zeros_like(log_odds), _smooth_targets(is_fraud))
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
