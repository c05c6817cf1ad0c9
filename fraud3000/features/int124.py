"""Signed 124-bit integers for exact sums: a pair (high, low) is high * 2^62 + low with 0 <= low < 2^62."""

from __future__ import annotations

from fraud3000.features.jit import kernel

_LOW = (1 << 62) - 1
_22, _31 = (1 << 22) - 1, (1 << 31) - 1


@kernel
def add(high: int, low: int, value: int) -> tuple[int, int]:
    """Add an integer whose absolute value is below 2^62.

    Examples
    --------
    >>> add(0, 0, -1) == (-1, 2**62 - 1)
    True
    """
    low += value
    return high + (low >> 62), low & _LOW


@kernel
def plus(high: int, low: int, high_2: int, low_2: int) -> tuple[int, int]:
    """Add two pairs."""
    low += low_2
    return high + high_2 + (low >> 62), low & _LOW


@kernel
def minus(high: int, low: int, high_2: int, low_2: int) -> tuple[int, int]:
    """Subtract the second pair from the first."""
    low -= low_2
    return high - high_2 + (low >> 62), low & _LOW


@kernel
def square(value: int) -> tuple[int, int]:
    """Square an integer whose absolute value is at most 2^44.

    Examples
    --------
    >>> high, low = square(-(10**13))
    >>> high * 2**62 + low == 10**26
    True
    """
    upper, lower = value >> 22, value & _22
    outer, inner = upper * upper, 2 * upper * lower
    low = ((outer & ((1 << 18) - 1)) << 44) + ((inner & ((1 << 40) - 1)) << 22)
    high = (outer >> 18) + (inner >> 40) + (low >> 62)
    low = (low & _LOW) + lower * lower
    return high + (low >> 62), low & _LOW


@kernel
def to_float(high: int, low: int) -> float:
    """Convert to the nearest float, ties to even.

    Examples
    --------
    >>> to_float(3, 5) == float(3 * 2**62 + 5), to_float(-1, 2**62 - 7)
    (True, -7.0)
    """
    sign = 1.0
    if high < 0:
        sign = -1.0
        high, low = minus(0, 0, high, low)
    if high == 0:
        return sign * float(low)
    shift = 0
    while high >> shift:
        shift += 1
    top = (high << (62 - shift)) | (low >> shift)  # the first 62 bits
    if low & ((1 << shift) - 1):
        top |= 1  # lower bits are set: not a tie
    return sign * float(top) * float(1 << shift)


@kernel
def spread(count: int, high: int, low: int, square_high: int, square_low: int) -> tuple[int, int]:
    """Compute n * sum(x^2) - sum(x)^2 of fewer than 2^31 values exactly; (-1, 0) if it does not fit.

    Examples
    --------
    >>> spread(2, 0, 4, 0, 10)
    (0, 4)
    """
    if high < 0:
        high, low = minus(0, 0, high, low)
    if high or float(count) * to_float(square_high, square_low) >= 2.0**123:
        return -1, 0
    upper, lower = count * (square_low >> 31), count * (square_low & _31)
    result_high, result_low = plus(count * square_high + (upper >> 31), (upper & _31) << 31, 0, lower & _LOW)
    result_high += lower >> 62
    sum_upper, sum_lower = low >> 31, low & _31
    cross = sum_upper * sum_lower
    square_of_sum_high, square_of_sum_low = plus(
        sum_upper * sum_upper + (cross >> 30), (cross & ((1 << 30) - 1)) << 32, 0, 0
    )
    square_of_sum_high, square_of_sum_low = plus(square_of_sum_high, square_of_sum_low, 0, sum_lower * sum_lower)
    return minus(result_high, result_low, square_of_sum_high, square_of_sum_low)
