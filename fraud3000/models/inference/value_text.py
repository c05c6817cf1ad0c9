"""Format feature values for reviewers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def format_value(value: float, unit: str, *, decimals: int = 2) -> str:
    """Format a number with its unit.

    Parameters
    ----------
    unit
        A feature's unit.
    decimals
        Number of minor-unit digits of the currency.

    Examples
    --------
    >>> format_value(0.123, "share"), format_value(123456.0, "money"), format_value(93_600, "seconds")
    ('12.3 %', '1,234.56', '1.1 d')
    >>> format_value(1.2, "ratio"), format_value(3.0, "count"), format_value(2.0, "weekday")
    ('1.2 times', '3', 'Wednesday')
    >>> format_value(0.104, "count"), format_value(12.5, "count"), format_value(0.0000231, "count")
    ('0.1', '12.5', '0.00002')
    """
    if unit == "money":
        return f"{value / 10**decimals:,.{decimals}f}"
    return _WRITERS.get(unit, "{:.4g}".format)(value)


def _format_duration(seconds: float) -> str:
    for size, name in _STEPS:
        if seconds >= size:
            return f"{seconds / size:.1f} {name}".replace(".0 ", " ")
    return f"{seconds:.0f} s"


def _format_count(value: float) -> str:
    """Format a count, or a mean of counts."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 0.95 else np.format_float_positional(value, 1, fractional=False, trim="-")


def _format_distance(value: float) -> str:
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


_WRITERS: dict[str, Callable[[float], str]] = {
    "share": lambda value: f"{100 * value:.1f} %",
    "seconds": _format_duration,
    "count": _format_count,
    "hour": lambda value: f"{value:.0f} h",
    "weekday": lambda value: _WEEKDAYS[int(value) % 7],
    "ratio": lambda value: f"{value:.1f} times",
    "deviations": lambda value: f"{value:+.1f}" if value else "0",
    "km": lambda value: f"{_format_distance(value)} km",
    "km/h": lambda value: f"{_format_distance(value)} km/h",
}
