"""Parse and format whole-second durations such as 90s, 30m, 12h, 7d, 2w."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PATTERN = re.compile(r"([0-9]+)([smhdw])")


def seconds(text: str) -> int:
    """Parse a duration into seconds.

    Months and years are not accepted, because their length depends on the calendar and windows have a fixed length.

    Examples
    --------
    >>> seconds("7d")
    604800
    >>> seconds("1mo")
    Traceback (most recent call last):
    ValueError: '1mo' is not a duration; write a whole number and one unit of s, m, h, d, w, such as '7d'
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        units = ", ".join(_SECONDS)
        raise ValueError(f"'{text}' is not a duration; write a whole number and one unit of {units}, such as '7d'")
    return int(match[1]) * _SECONDS[match[2]]


def text(duration: int | timedelta) -> str:
    """Format a duration, or a number of seconds, in the largest unit, up to days, that divides it.

    Examples
    --------
    >>> text(604800), text(5400), text(timedelta(0))
    ('7d', '90m', '0d')
    """
    if isinstance(duration, timedelta):
        duration = int(duration.total_seconds())
    for unit in ("d", "h", "m"):
        if duration % _SECONDS[unit] == 0:
            return f"{duration // _SECONDS[unit]}{unit}"
    return f"{duration}s"
