"""Bitwise comparison of columns."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def differ(left: pl.Series, right: pl.Series) -> Bools:
    """True where two columns of one type differ in any bit; null equals null.

    Examples
    --------
    >>> differ(pl.Series([1.0, None, 0.0, None]), pl.Series([1.0, None, -0.0, 0.0])).tolist()
    [False, False, True, True]
    """
    if left.dtype != pl.Float64:
        return left.ne_missing(right).to_numpy()
    nulls = (left.is_null() != right.is_null()).to_numpy()
    bits = [column.fill_null(0.0).to_numpy().view(np.int64) for column in (left, right)]
    return np.asarray(nulls | (bits[0] != bits[1]))
