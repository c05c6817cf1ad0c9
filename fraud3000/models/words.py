"""Values of features as a reviewer reads them."""

from __future__ import annotations

from collections.abc import Callable

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def value_in_words(value: float, unit: str, *, decimals: int = 2) -> str:
    """Write a number with its unit.

    Parameters
    ----------
    unit
        A feature's unit.
    decimals
        Of the currency: how many digits of an amount are minor units.

    Examples
    --------
    >>> value_in_words(0.123, "share"), value_in_words(123456.0, "money"), value_in_words(93_600, "seconds")
    ('12.3 %', '1,234.56', '1.1 d')
    >>> value_in_words(1.2, "ratio"), value_in_words(3.0, "count"), value_in_words(2.0, "weekday")
    ('1.2 times', '3', 'Wednesday')
    """
    if unit == "money":
        return f"{value / 10**decimals:,.{decimals}f}"
    return _WRITERS.get(unit, "{:.4g}".format)(value)


def _duration(seconds: float) -> str:
    for size, name in _STEPS:
        if seconds >= size:
            return f"{seconds / size:.1f} {name}".replace(".0 ", " ")
    return f"{seconds:.0f} s"


def _far(value: float) -> str:
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


_WRITERS: dict[str, Callable[[float], str]] = {
    "share": lambda value: f"{100 * value:.1f} %",
    "seconds": _duration,
    "count": lambda value: f"{value:,.0f}",
    "hour": lambda value: f"{value:.0f} h",
    "weekday": lambda value: _WEEKDAYS[int(value) % 7],
    "ratio": lambda value: f"{value:.1f} times",
    "deviations": lambda value: f"{value:+.1f}",
    "km": lambda value: f"{_far(value)} km",
    "km/h": lambda value: f"{_far(value)} km/h",
}
