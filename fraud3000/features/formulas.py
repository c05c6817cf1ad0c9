"""Formulas that both engines share: from exact integer sums to a feature's value.

Sums are pairs (high, low) as in `int124`. An undefined value is NaN.
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
"""Numeric columns are summed and compared in integer steps of 1/10,000."""

MISSING = -(1 << 63)
"""Step of a missing value."""

_MAX_STEPS = 1e13


@kernel
def steps(value: float) -> int:
    """Value of a numeric column in integer steps; `MISSING` if it is NaN or its absolute value is above 10^9.

    Examples
    --------
    >>> steps(1.25), steps(float("nan")) == MISSING
    (12500, True)
    """
    scaled = value * STEPS
    if not abs(scaled) <= _MAX_STEPS:
        return MISSING
    return int(round(scaled))


@kernel
def in_steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Values of a numeric column in integer steps, row by row."""
    result = np.empty(len(values), dtype=np.int64)
    for row in range(len(values)):
        result[row] = steps(values[row])
    return result


@kernel
def total(high: int, low: int, unit: float) -> float:
    """A sum or an extreme in the column's own unit; `unit` is 1 for amounts, `STEPS` for numeric columns."""
    return int124.to_float(high, low) / unit


@kernel
def mean(count: int, high: int, low: int, unit: float) -> float:
    """Sum divided by count; NaN if the count is 0.

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
    """Sample standard deviation; NaN with fewer than two values, or if n * sum(x^2) reaches 2^123.

    The numerator n * sum(x^2) - sum(x)^2 is an exact integer, so there is no cancellation.

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
    """Value divided by a mean; NaN if the mean is not above 0."""
    if not mean_ > 0:
        return math.nan
    return value / mean_


@kernel
def zscore(value: float, mean_: float, deviation_: float) -> float:
    """Distance of the value from a mean in standard deviations; NaN if the deviation is 0 or undefined."""
    if not deviation_ > 0:
        return math.nan
    return (value - mean_) / deviation_


@kernel
def share(part: int, whole: int) -> float:
    """Part divided by whole, such as frauds by labelled; NaN if the whole is 0."""
    if whole == 0:
        return math.nan
    return float(part) / float(whole)


@kernel
def smoothed(frauds: int, labelled: int, prior: float, strength: float) -> float:
    """Frauds divided by labelled, after adding `strength` labelled transactions at the `prior` rate.

    Examples
    --------
    >>> smoothed(1, 8, 0.125, 8.0)
    0.125
    """
    return (float(frauds) + prior * strength) / (float(labelled) + strength)


@kernel
def metres(lat_1: float, long_1: float, lat_2: float, long_2: float) -> float:
    """Great-circle distance in whole metres between two points in degrees; NaN if a coordinate is NaN.

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
    """Convert microseconds to seconds."""
    return float(microseconds) / 1e6


@kernel
def speed(metres_: float, seconds_: float) -> float:
    """Speed in km/h; NaN if no time has passed or the distance is unknown."""
    if not seconds_ > 0:
        return math.nan
    return metres_ * 3.6 / seconds_
