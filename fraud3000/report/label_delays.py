"""Section on label delays: how long fraud takes to be reported, and frauds of the latest weeks still unreported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from fraud3000.labels.delay_estimate import DelayCurve
from fraud3000.report import strokes
from fraud3000.report.canvas import ACCENT, BASELINE, INK, MUTED, WARNING, Draw, Picture, Sheet
from fraud3000.report.formatting import between, percent, plain, share
from fraud3000.report.section import Section, TextTable

NAME, TOPIC = "label-delays", "Label delays"
WEEKS = ("week from", "transactions", "frauds known", "share known", "frauds expected", "rate known", "rate expected")
"""Column headers of `weeks`."""

_DAY = timedelta(days=1)


def section(
    curve: DelayCurve,
    by_source: Mapping[str, DelayCurve],
    last_weeks: pl.DataFrame,
    *,
    days: Sequence[int],
    target_share: float,
    proposed: timedelta,
    configured: timedelta,
) -> Section:
    """Return the section on a delay curve.

    Parameters
    ----------
    last_weeks
        From `fraud3000.labels.delay_estimate.nowcast`.
    days
        Days of the rows of the table.
    target_share
        Share of the frauds that is known after the proposed label delay.
    proposed, configured
        Label delays; the plot marks both.
    """
    finding = f"{percent(target_share)} of frauds are known within {proposed / _DAY:.0f} days of the transaction"
    picture = Picture(NAME, finding, _drawing(curve, by_source, last_weeks, proposed, configured), 620, 760)
    caption = (
        "Above: share of frauds known by days after the transaction, with 95 % interval. Dashed: proposed label delay."
        " Dotted: configured label delay. Below: frauds of each of the latest weeks, known so far (bars) and expected in"
        " total (marks, with 95 % intervals)."
    )
    table = TextTable(columns(by_source), rows(curve, by_source, days))
    return Section(NAME, TOPIC, finding, caption, picture, table, _data(curve, by_source))


def columns(by_source: Mapping[str, DelayCurve]) -> tuple[str, ...]:
    """Return the column headers of `rows`."""
    return ("days", "known", "95 %", *by_source)


def rows(curve: DelayCurve, by_source: Mapping[str, DelayCurve], days: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    """Format the curves at some days; unknown values are dashes.

    Examples
    --------
    >>> from fraud3000.labels.delay_estimate import estimate
    >>> rows(estimate([1, 2, 2, 5], [9, 9, 9, 9]), {}, [2, 30])
    (('2', '75 %', '13 – 96 %'), ('30', '–', ''))
    """
    known, low, high = curve.at(days)
    by_source_known = [source.at(days)[0] for source in by_source.values()]
    return tuple(
        (
            str(day),
            _share(known[i]),
            plain(between(low[i], high[i])),
            *(_share(source[i]) for source in by_source_known),
        )
        for i, day in enumerate(days)
    )


def weeks(last_weeks: pl.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Format the latest weeks; a dash if there is too little data for an estimate."""
    return tuple(_week(**week) for week in last_weeks.iter_rows(named=True))


def _week(**week: Any) -> tuple[str, ...]:
    known, transactions, expected = week["known"], week["transactions"], week["expected"]
    ends = "" if expected is None or week["low"] == week["high"] else f" ({week['low']:,.0f} – {week['high']:,.0f})"
    return (
        f"{week['first']:%Y-%m-%d}",
        f"{transactions:,}",
        f"{known:,}",
        _share(week["coverage"]),
        "–" if expected is None else f"{expected:,.0f}{ends}",
        _share(known / transactions),
        "–" if expected is None else _share(expected / transactions),
    )


def _share(value: float | None) -> str:
    return plain(share(None if value is None or np.isnan(value) else float(value)))


def _data(curve: DelayCurve, by_source: Mapping[str, DelayCurve]) -> pl.DataFrame:
    """Return every step of the curves."""
    parts = []
    for name, steps in {"all": curve, **by_source}.items():
        known, low, high = steps.at(steps.days)
        parts.append(pl.DataFrame({"source": name, "days": steps.days, "share": known, "low": low, "high": high}))
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
    known, low, high = curve.at(days)
    finite = np.isfinite(known)
    axes.fill_between(days[finite], low[finite], high[finite], color=ACCENT, alpha=0.17, linewidth=0, step="post")
    for name, source in by_source.items():
        source_known = source.at(days)[0]
        axes.step(days, source_known, where="post", color=BASELINE, linewidth=1.5)
        strokes.label_line(axes, days, source_known, name, MUTED, at=0.6, end=True)
    axes.step(days, known, where="post", color=ACCENT)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(strokes.SHARE)
    axes.set_title("share of frauds known", fontsize="medium", color=INK, loc="left", fontweight="bold")


def _weeks(axes: Axes, last_weeks: pl.DataFrame) -> None:
    axes.grid(visible=True, axis="y")
    position = np.arange(last_weeks.height)
    axes.bar(position, last_weeks["known"], color=BASELINE, width=0.6)
    expected = last_weeks.with_columns(position=position).drop_nulls("expected")
    axes.vlines(expected["position"], expected["low"], expected["high"], color=ACCENT, linewidth=1.8)
    axes.plot(expected["position"], expected["expected"], color=ACCENT, linestyle="none", marker="o", markersize=6)
    axes.set_xticks(position[::-2][::-1], [f"{day:%d %b}" for day in last_weeks["first"]][::-2][::-1])
    axes.margins(0.05)
    axes.set_ylim(bottom=0)
    axes.set_title("frauds of the latest weeks", fontsize="medium", color=INK, loc="left", fontweight="bold")
