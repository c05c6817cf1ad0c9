"""Logistic function and its inverse, compiled, so that scoring needs no SciPy.

Both agree with `scipy.special.expit` and `scipy.special.logit` to the last bit, except for log-odds below -709, whose
probability SciPy gives as a denormal number or 0. Each value is computed on its own: no result depends on the array's length.
"""

from __future__ import annotations

import math

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.models.inference.encoder import Floats

_LARGEST_EXPONENT = 709.0
"""exp of more overflows."""


def expit(log_odds: Floats) -> Floats:
    """Probabilities of log-odds.

    Parameters
    ----------
    log_odds
        ndarray of shape (n,).

    Examples
    --------
    >>> expit(np.array([-np.inf, 0.0, 1.0])).round(4)
    array([0.    , 0.5   , 0.7311])
    """
    out = np.empty(len(log_odds))
    _expit(log_odds, out)
    return out


def logit(probability: Floats) -> Floats:
    """Log-odds of probabilities in the open interval (0, 1).

    Parameters
    ----------
    probability
        ndarray of shape (n,).

    Examples
    --------
    >>> logit(np.array([0.5, 0.9])).round(4)
    array([0.    , 2.1972])
    """
    out = np.empty(len(probability))
    _logit(probability, out)
    return out


@kernel
def _expit(log_odds: Floats, out: Floats) -> None:
    for row in range(len(log_odds)):
        value = log_odds[row]
        out[row] = 1.0 / (1.0 + math.exp(-value if value > -_LARGEST_EXPONENT else _LARGEST_EXPONENT))


@kernel
def _logit(probability: Floats, out: Floats) -> None:
    for row in range(len(probability)):
        value = probability[row]
        if value < 0.3 or value > 0.65:
            out[row] = math.log(value / (1.0 - value))
        else:  # near one half the quotient would lose digits
            distance = 2.0 * (value - 0.5)
            out[row] = math.log1p(distance) - math.log1p(-distance)
