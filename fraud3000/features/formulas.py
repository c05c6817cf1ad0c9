"""The last step of every feature, from exact sums to a number: shared by all engines.

Arrays are one value a row. Where a value is undefined it is NaN.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EARTH_RADIUS = 6_371_008.8
"""Mean radius in metres (IUGG)."""


def mean(total: Ints, count: Ints) -> Floats:
    """Total over count; NaN where there is nothing.

    Examples
    --------
    >>> mean(np.array([300, 0]), np.array([2, 0])).tolist()
    [150.0, nan]
    """
    return _divide(total.astype(np.float64), count.astype(np.float64), where=count > 0)


def deviation(count: Ints, total: Ints, squares: pl.Series) -> Floats:
    """Sample standard deviation; NaN with fewer than two values.

    The numerator n * sum(x^2) - sum(x)^2 is computed in Int128, so that nothing cancels.

    Parameters
    ----------
    count, total
        How many values and their sum, shape (n,).
    squares
        The sum of their squares, Int128, n values.

    Examples
    --------
    >>> deviation(np.array([2, 1]), np.array([4, 5]), pl.Series([10, 25], dtype=pl.Int128)).tolist()
    [1.4142135623730951, nan]
    """
    n = pl.Series(count, dtype=pl.Int64).cast(pl.Int128)
    sum_ = pl.Series(total, dtype=pl.Int64).cast(pl.Int128)
    numerator = (n * squares - sum_ * sum_).cast(pl.Float64).to_numpy()
    pairs = count.astype(np.float64) * (count - 1).astype(np.float64)
    return np.sqrt(_divide(numerator, pairs, where=count > 1))


def ratio(amount: Ints, mean_: Floats) -> Floats:
    """The amount as a multiple of a mean; NaN where that is zero or undefined."""
    return _divide(amount.astype(np.float64), mean_, where=mean_ > 0)


def zscore(amount: Ints, mean_: Floats, deviation_: Floats) -> Floats:
    """Standard deviations of the amount from a mean; NaN where the deviation is zero or undefined."""
    return _divide(amount.astype(np.float64) - mean_, deviation_, where=deviation_ > 0)


def rate(frauds: Ints, labelled: Ints) -> Floats:
    """Frauds over labelled; NaN where nothing is labelled."""
    return mean(frauds, labelled)


def metres(lat_1: Floats, long_1: Floats, lat_2: Floats, long_2: Floats) -> Floats:
    """Great-circle distance in whole metres between two points in degrees.

    References
    ----------
    R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984).

    Examples
    --------
    >>> metres(np.array([48.8566]), np.array([2.3522]), np.array([51.5074]), np.array([-0.1278])).tolist()
    [343557.0]
    """
    phi_1, phi_2 = np.radians(lat_1), np.radians(lat_2)
    half_phi, half_lambda = (phi_2 - phi_1) / 2, np.radians(long_2 - long_1) / 2
    chord = np.sin(half_phi) ** 2 + np.cos(phi_1) * np.cos(phi_2) * np.sin(half_lambda) ** 2
    whole: Floats = np.rint(2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(chord, 1.0))))
    return whole


def speed(metres_: Floats, seconds: Floats) -> Floats:
    """Kilometres an hour; NaN where no time has passed or no distance is known."""
    return _divide(metres_ * 3.6, seconds, where=seconds > 0)


def _divide(numerator: Floats, denominator: Floats, *, where: NDArray[np.bool_]) -> Floats:
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=where)
    return result
