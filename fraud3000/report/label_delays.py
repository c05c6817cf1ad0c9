"""How long it takes until frauds are known, and the last weeks with those that are still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from fraud3000.labels.delay_estimate import DelayCurve
from fraud3000.report import strokes
from fraud3000.report.canvas import ACCENT, FLOOR, INK, MUTED, WARNING, Draw, Picture, Sheet
from fraud3000.report.formatting import between, percent, plain, share
from fraud3000.report.section import Section, Shown

NAME, TOPIC = "label-delays", "When frauds are known"
WEEKS = ("week from", "transactions", "frauds known", "share known", "frauds expected", "rate known", "rate expected")
"""Heads of `weeks`."""

_DAY = timedelta(days=1)


def section(
    curve: DelayCurve,
    by_source: Mapping[str, DelayCurve],
    last_weeks: pl.DataFrame,
    *,
    days: Sequence[int],
    wanted: float,
    proposed: timedelta,
    configured: timedelta,
) -> Section:
    """Tell a delay curve.

    Parameters
    ----------
    last_weeks
        As `fraud3000.labels.delay_estimate.nowcast` gives them.
    days
        At which the curve is written.
    wanted
        Share of the frauds that is known when the proposed label delay has passed.
    proposed, configured
        Label delays; both are marked.
    """
    finding = f"{percent(wanted)} of frauds are known {proposed / _DAY:.0f} days after their transactions"
    picture = Picture(NAME, finding, _drawing(curve, by_source, last_weeks, proposed, configured), 620, 760)
    said = (
        "Above: share of the frauds known so many days after their transactions, with its interval of 95 %. Dashed: the proposed"
        " label delay. Dotted: the configured one. Below: frauds of each of the last weeks, known (bars) and expected in all"
        " (marks, with intervals of 95 %)."
    )
    shown = Shown(columns(by_source), rows(curve, by_source, days))
    return Section(NAME, TOPIC, finding, said, picture, shown, _data(curve, by_source))


def columns(by_source: Mapping[str, DelayCurve]) -> tuple[str, ...]:
    """Heads of `rows`."""
    return ("days", "known", "95 %", *by_source)


def rows(curve: DelayCurve, by_source: Mapping[str, DelayCurve], days: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    """Write curves at some days; what is not known is a dash.

    Examples
    --------
    >>> from fraud3000.labels.delay_estimate import estimate
    >>> rows(estimate([1, 2, 2, 5], [9, 9, 9, 9]), {}, [2, 30])
    (('2', '75 %', '13 – 96 %'), ('30', '–', ''))
    """
    told, low, high = curve.at(days)
    alone = [one.at(days)[0] for one in by_source.values()]
    return tuple(
        (str(day), _share(told[place]), plain(between(low[place], high[place])), *(_share(one[place]) for one in alone))
        for place, day in enumerate(days)
    )


def weeks(last_weeks: pl.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Write the last weeks; a dash where too little is known to expect anything."""
    return tuple(_week(**one) for one in last_weeks.iter_rows(named=True))


def _week(**week: Any) -> tuple[str, ...]:
    known, of, expected = week["known"], week["transactions"], week["expected"]
    ends = "" if expected is None or week["low"] == week["high"] else f" ({week['low']:,.0f} – {week['high']:,.0f})"
    return (
        f"{week['first']:%Y-%m-%d}",
        f"{of:,}",
        f"{known:,}",
        _share(week["coverage"]),
        "–" if expected is None else f"{expected:,.0f}{ends}",
        _share(known / of),
        "–" if expected is None else _share(expected / of),
    )


def _share(value: float | None) -> str:
    return plain(share(None if value is None or np.isnan(value) else float(value)))


def _data(curve: DelayCurve, by_source: Mapping[str, DelayCurve]) -> pl.DataFrame:
    """Every step of the curves."""
    parts = []
    for name, one in {"all": curve, **by_source}.items():
        told, low, high = one.at(one.days)
        parts.append(pl.DataFrame({"source": name, "days": one.days, "share": told, "low": low, "high": high}))
    return pl.concat(parts)


def _drawing(
    curve: DelayCurve,
    by_source: Mapping[str, DelayCurve],
    last_weeks: pl.DataFrame,
    proposed: timedelta,
    configured: timedelta,
) -> Draw:
    def draw(sheet: Sheet) -> None:
        above, below = sheet.figure.subplots(nrows=2, ncols=1, height_ratios=(3, 2))
        until = max(2 * proposed / _DAY, 1.3 * configured / _DAY, 7.0)
        _curves(above, curve, by_source, min(until, max(curve.horizon, 1.0)))
        for delay, style in ((proposed, "--"), (configured, ":")):
            above.axvline(delay / _DAY, color=WARNING if delay == configured < proposed else INK, linestyle=style)
        above.set_xlabel("days after the transaction", color=MUTED)
        _weeks(below, last_weeks)

    return draw


def _curves(axes: Axes, curve: DelayCurve, by_source: Mapping[str, DelayCurve], until: float) -> None:
    axes.grid(visible=True, axis="y")
    days = np.linspace(0, until, 400)
    told, low, high = curve.at(days)
    seen = np.isfinite(told)
    axes.fill_between(days[seen], low[seen], high[seen], color=ACCENT, alpha=0.17, linewidth=0, step="post")
    for name, one in by_source.items():
        alone = one.at(days)[0]
        axes.step(days, alone, where="post", color=FLOOR, linewidth=1.5)
        strokes.say(axes, days, alone, name, MUTED, at=0.6, end=True)
    axes.step(days, told, where="post", color=ACCENT)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(strokes.SHARE)
    axes.set_title("frauds known", fontsize="medium", color=INK, loc="left", fontweight="bold")


def _weeks(axes: Axes, last_weeks: pl.DataFrame) -> None:
    axes.grid(visible=True, axis="y")
    place = np.arange(last_weeks.height)
    axes.bar(place, last_weeks["known"], color=FLOOR, width=0.6)
    expected = last_weeks.with_columns(place=place).drop_nulls("expected")
    axes.vlines(expected["place"], expected["low"], expected["high"], color=ACCENT, linewidth=1.8)
    axes.plot(expected["place"], expected["expected"], color=ACCENT, linestyle="none", marker="o", markersize=6)
    axes.set_xticks(place[::-2][::-1], [f"{day:%d %b}" for day in last_weeks["first"]][::-2][::-1])
    axes.margins(0.05)
    axes.set_ylim(bottom=0)
    axes.set_title("frauds of the last weeks", fontsize="medium", color=INK, loc="left", fontweight="bold")
