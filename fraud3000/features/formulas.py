"""The last step of every feature, from exact sums to a number: shared by all engines.

Sums are pairs (high, low) as in `exact`. Where a value is undefined it is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraud3000.features import int124
from fraud3000.features.jit import kernel

EARTH_RADIUS = 6_371_008.8
"""Mean radius in metres (IUGG)."""

STEPS = 10_000
"""Numeric columns are summed and compared in whole steps of one part in so many."""

MISSING = -(1 << 63)
"""The step of a value that is not there."""

_MOST = 1e13


@kernel
def steps(value: float) -> int:
    """A numeric column's value in whole steps; missing where it is not a number or beyond 10^9 either way.

    Examples
    --------
    >>> steps(1.25), steps(float("nan")) == MISSING
    (12500, True)
    """
    scaled = value * STEPS
    if not abs(scaled) <= _MOST:
        return MISSING
    return int(round(scaled))


@kernel
def in_steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """A numeric column in whole steps, row by row."""
    found = np.empty(len(values), dtype=np.int64)
    for row in range(len(values)):
        found[row] = steps(values[row])
    return found


@kernel
def total(high: int, low: int, unit: float) -> float:
    """A sum, largest or smallest value in the column's own unit: 1 for amounts, `STEPS` for numeric columns."""
    return int124.to_float(high, low) / unit


@kernel
def mean(count: int, high: int, low: int, unit: float) -> float:
    """Total over count; NaN where there is nothing.

    Examples
    --------
    >>> mean(2, 0, 300, 1.0), mean(0, 0, 0, 1.0)
    (150.0, nan)
    """
    if count == 0:
        return math.nan
    return int124.to_float(high, low) / float(count) / unit


@kernel
def deviation(count: int, high: int, low: int, square_high: int, square_low: int, unit: float) -> float:
    """Sample standard deviation; NaN with fewer than two values, or where n * sum(x^2) reaches 2^123.

    The numerator n * sum(x^2) - sum(x)^2 is a whole number, so that nothing cancels.

    Examples
    --------
    >>> deviation(2, 0, 4, 0, 10, 1.0)
    1.4142135623730951
    """
    if count < 2:
        return math.nan
    top_high, top_low = int124.spread(count, high, low, square_high, square_low)
    if top_high < 0:
        return math.nan
    return math.sqrt(int124.to_float(top_high, top_low) / (float(count) * float(count - 1))) / unit


@kernel
def ratio(value: float, mean_: float) -> float:
    """The value as a multiple of a mean; NaN where that is not above zero."""
    if not mean_ > 0:
        return math.nan
    return value / mean_


@kernel
def zscore(value: float, mean_: float, deviation_: float) -> float:
    """Standard deviations of the value from a mean; NaN where the deviation is zero or undefined."""
    if not deviation_ > 0:
        return math.nan
    return (value - mean_) / deviation_


@kernel
def share(part: int, whole: int) -> float:
    """Part over whole, such as frauds over labelled; NaN where there is no whole."""
    if whole == 0:
        return math.nan
    return float(part) / float(whole)


@kernel
def smoothed(frauds: int, labelled: int, prior: float, strength: float) -> float:
    """Frauds over labelled, as if so many labelled transactions at the prior rate had come before.

    Examples
    --------
    >>> smoothed(1, 8, 0.125, 8.0)
    0.125
    """
    return (float(frauds) + prior * strength) / (float(labelled) + strength)


@kernel
def metres(lat_1: float, long_1: float, lat_2: float, long_2: float) -> float:
    """Great-circle distance in whole metres between two points in degrees; NaN where one is.

    References
    ----------
    R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984).

    Examples
    --------
    >>> metres(48.8566, 2.3522, 51.5074, -0.1278)
    343557.0
    """
    phi_1, phi_2 = math.radians(lat_1), math.radians(lat_2)
    half_phi, half_lambda = (phi_2 - phi_1) / 2, math.radians(long_2 - long_1) / 2
    chord = math.sin(half_phi) ** 2 + math.cos(phi_1) * math.cos(phi_2) * math.sin(half_lambda) ** 2
    if not chord >= 0:
        return math.nan
    return math.floor(2 * EARTH_RADIUS * math.asin(math.sqrt(min(chord, 1.0))) + 0.5)


@kernel
def seconds(microseconds: int) -> float:
    """A time in seconds."""
    return float(microseconds) / 1e6


@kernel
def speed(metres_: float, seconds_: float) -> float:
    """Kilometres an hour; NaN where no time has passed or no distance is known."""
    if not seconds_ > 0:
        return math.nan
    return metres_ * 3.6 / seconds_
