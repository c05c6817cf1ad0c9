"""Format numbers, money, intervals and dates for readers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import numpy as np

GAP = "\u00a0"
"""No-break space: keeps a number and its unit on one line."""
TO = f"{GAP}–\u2060{GAP}"
"""Dash between the ends of an interval, which keeps them on one line."""


def percent(share: float) -> str:
    """Format a share: whole percents, with one decimal near 0 and 1 and a second below one percent.

    Examples
    --------
    >>> [percent(share).replace(GAP, " ") for share in (0.712, 0.0871, 0.996, 0.00123, 1.0)]
    ['71 %', '8.7 %', '99.6 %', '0.12 %', '100 %']
    """
    return f"{_hundred(share)}{GAP}%"


def _hundred(share: float) -> str:
    if share in {0.0, 1.0}:
        return f"{100 * share:.0f}"
    if 0.9994 < share < 1:
        return "99.9"
    if abs(share) < 0.00995:
        return f"{100 * share:.2g}" if abs(share) >= 1e-6 else "0"
    return f"{100 * share:.{1 if abs(share) < 0.0995 or 0.99 < share < 1 else 0}f}"


def number(value: float | None, *, sign: str = "", decimals: int = 3) -> str:
    """Format a metric: three decimals, none from 100 on; a dash if it is unknown.

    Parameters
    ----------
    sign
        ``+`` to show the sign of positive numbers, as of differences.

    Examples
    --------
    >>> number(0.52549), number(12_345.6), number(-0.0002), number(0.0123, sign="+"), number(None)
    ('0.525', '12,346', '0.000', '+0.012', '–')
    """
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"


def ratio(value: float) -> str:
    """Format a ratio with two decimals.

    Examples
    --------
    >>> ratio(1.046)
    '1.05'
    """
    return f"{value:.2f}"


def per_day(value: float) -> str:
    """Format a number of alerts a day.

    Examples
    --------
    >>> per_day(120.93), per_day(4.25), per_day(0.034), per_day(0.0)
    ('121', '4.2', '0.034', '0')
    """
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}".replace(".0", "") if value >= 1 or value == 0 else f"{value:.2g}"


def money(minor: float, decimals: int, currency: str | None = None) -> str:
    """Format an amount of minor units in major units, whole from 100 on.

    Examples
    --------
    >>> money(1_234_567, 2), money(1_050, 2, "EUR").replace(GAP, " "), money(500, 2)
    ('12,346', '10.50 EUR', '5')
    """
    major = minor / 10**decimals
    whole = abs(major) >= 100 or major == int(major)
    return f"{major:,.{0 if whole else decimals}f}" + (f"{GAP}{currency}" if currency else "")


def points(difference: float) -> str:
    """Format a difference of shares in percentage points.

    Examples
    --------
    >>> points(0.106).replace(GAP, " "), points(0.0123).replace(GAP, " ")
    ('11 points', '1.2 points')
    """
    return f"{100 * difference:.{0 if difference >= 0.0995 else 1}f}{GAP}points"


def share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Format a share, with its interval if it has one of positive width; a dash if it is unknown.

    Examples
    --------
    >>> plain(share(0.5)), share(None), plain(share(0.5, 0.4, 0.6)), plain(share(1.0, 1.0, 1.0))
    ('50 %', '–', '50 % (40 – 60 %)', '100 %')
    """
    if value is None:
        return "–"
    return percent(value) if low is None or low == high else f"{percent(value)} ({between(low, high)})"


def between(low: float | None, high: float | None) -> str:
    """Format an interval of shares; empty if there is none.

    Examples
    --------
    >>> plain(between(0.634, 0.911)), between(None, None)
    ('63 – 91 %', '')
    """
    if low is None or high is None or not np.isfinite(low) or not np.isfinite(high):
        return ""
    return f"{_hundred(low)}{TO}{percent(high)}"


def day(at: date | datetime | str) -> str:
    """Format a date.

    Examples
    --------
    >>> day("2018-08-08T00:00:00+00:00").replace(GAP, " ")
    '8 August 2018'
    """
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{when.day}{GAP}{when:%B}{GAP}{when.year}"


def span(first: datetime | str, last: datetime | str) -> str:
    """Format a span [first, last) by its first and last day; to the minute if both are the same day.

    Examples
    --------
    >>> span("2018-08-08T00:00:00+00:00", "2018-08-15T00:00:00+00:00").replace(GAP, " ")
    '8 August 2018 to 14 August 2018'
    """
    begin, end = (datetime.fromisoformat(at) if isinstance(at, str) else at for at in (first, last))
    end = max(begin, end - timedelta(microseconds=1))
    if begin.date() == end.date():
        return f"{day(begin)}, {begin:%H:%M}{TO}{end:%H:%M}"
    return f"{day(begin)} to {day(end)}"


def listed(items: Sequence[str]) -> str:
    """Join items with commas and a final "and".

    Examples
    --------
    >>> listed(["frauds", "money", "cards"])
    'frauds, money and cards'
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def plain(text: str) -> str:
    """Replace no-break spaces by plain ones.

    Examples
    --------
    >>> plain(percent(0.5))
    '50 %'
    """
    return text.replace(GAP, " ").replace("\u2060", "")
