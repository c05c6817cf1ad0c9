"""Elements that the plots share: bars, intervals, bands, lines, marks and labels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from fraud3000.metrics.scored_arrays import FloatArray
from fraud3000.report.canvas import ACCENT, INK, PAPER, Sheet
from fraud3000.report.formatting import GAP

SHARE = FuncFormatter(lambda share, _index: f"{100 * share:.0f}{GAP}%")
"""Formats shares as whole percents."""
TICK = FuncFormatter(lambda share, _index: f"{100 * share:g}{GAP}%")
"""Formats shares as percents, with as many digits as needed."""


def bar_axes(axes: Axes, labels: Sequence[str], *, wrap: int) -> None:
    """Set up axes for horizontal bars, with a label for each."""
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(labels)))))
    cut = ["\n".join(textwrap.wrap(label, wrap)[:3]) for label in labels]
    axes.yaxis.set_ticklabels(cut, color=INK)


def interval_bar(axes: Axes, low: float, high: float, y: float) -> None:
    """Draw a horizontal interval in black with a light edge, visible on a bar and on the page."""
    axes.plot([low, high], [y, y], color=PAPER, linewidth=4.5, solid_capstyle="butt")
    axes.plot([low, high], [y, y], color=INK, linewidth=1.8, solid_capstyle="butt")


def interval_band(axes: Axes, table: pl.DataFrame, x: FloatArray, low: str, high: str) -> None:
    """Shade the interval along a line, where it is known."""
    known = table[low].is_not_null().to_numpy()
    if known.any():
        ends = (table[name].to_numpy()[known] for name in (low, high))
        axes.fill_between(x[known], *ends, color=ACCENT, alpha=0.17, linewidth=0)


def line_from_zero(axes: Axes, x: FloatArray, y: FloatArray, colour: str, width: float) -> None:
    """Draw a line that starts at the origin."""
    axes.plot(np.append(0, x), np.append(0, y), color=colour, linewidth=width)


def label_line(
    axes: Axes,
    x: FloatArray,
    y: FloatArray,
    label: str,
    colour: str,
    *,
    at: float,
    bold: bool = False,
    end: bool = False,
) -> None:
    """Label a line just above it, at a fraction of its length."""
    known = np.isfinite(y)
    if not known.any():
        return
    index = round(at * (int(known.sum()) - 1))
    below = end and y[known][index] > 0.2
    at_height = (
        max(y[known][len(x[known]) // 3], 0.12) if below else y[known][index]
    )  # a rising line leaves room below its end
    axes.annotate(
        label, (x[known][index], at_height), xytext=(0 if end else 6, -2 if below else 6), textcoords="offset points",
        color=colour, fontweight="bold" if bold else "normal", ha="right" if end else "left", va="top" if below else "bottom",
    )  # fmt: skip


def mark_point(axes: Axes, x: float, y: float, label: str) -> None:
    """Mark a point with a dot and a label."""
    axes.scatter([x], [y], color=INK, s=52, zorder=4, clip_on=False)
    right = x < 0.6 * axes.get_xlim()[1]
    axes.annotate(
        label, (x, y), xytext=(9 if right else -9, -9), textcoords="offset points", color=INK, fontweight="bold",
        ha="left" if right else "right", va="top",
    )  # fmt: skip


def share_axes(axes: Axes, across: str, up: str) -> None:
    """Scale both axes from 0 to 100 %."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for scale in (axes.xaxis, axes.yaxis):
        scale.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        scale.set_major_formatter(SHARE)
    axes.set_xlabel(across)
    axes.set_ylabel(up)


def share_ticks(sheet: Sheet) -> list[float]:
    """Return the ticks of a share axis; fewer on a phone."""
    return [0, 0.5, 1] if sheet.narrow else [0, 0.25, 0.5, 0.75, 1]


def text_alignment(share: float) -> str:
    """Return the alignment of a label at a share, so that it stays inside the axes."""
    return "left" if share < 0.2 else "right" if share > 0.8 else "center"
