"""Draw the figures of docs/concepts.md; with --check only report whether they are up to date."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PAPER, INK, GREY, PALE = "#fdfdfc", "#1f2328", "#6e7781", "#d8dce1"
SEEN, FRAUD = "#1f6fb2", "#c2410c"
"""One colour for what x sees and what the model is trained on, one for fraud; grey for the rest."""
SMALL, LARGE = 10, 12.5
_LOOK: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "svg.fonttype": "none",
    "svg.hashsalt": "fraud3000",
}


def window() -> Figure:
    """Draw which events of its key a transaction x at t sees, and which labels of two frauds it knows."""
    axes = _sheet("A transaction sees events that came before it and labels that were known by then", height=5.9)
    t, near, far = 10.0, 8.0, 3.0
    axes.axvline(t, ymin=0.04, ymax=0.88, color=INK, linewidth=1)
    _text(axes, t, 9.05, "x at t", weight="bold", ha="center")

    _text(axes, 0, 8.55, "Events of x's key", weight="bold")
    axes.axvspan(far, near, ymin=0.555, ymax=0.815, color=SEEN, alpha=0.1, linewidth=0)
    _span(axes, far, near, 8.0, "length: the window", SEEN)
    _span(axes, near, t, 8.0, "delay", GREY)
    axes.plot([0, 12.6], [7.0, 7.0], color=PALE, linewidth=1, zorder=1)
    for at in (far, 4.3, 6.9):
        _dot(axes, at, 7.0, seen=True)
    for at in (1.6, 5.6, near, 9.0, t):
        _dot(axes, at, 7.0, seen=False)
    axes.annotate(
        "",
        (11.25, 7.08),
        (5.68, 7.12),
        arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 1, "connectionstyle": "arc3,rad=-0.08"},
    )
    axes.plot(11.3, 7.0, marker="|", color=GREY, markersize=9)
    _text(axes, 11.3, 7.55, "and comes in here", color=GREY, ha="center")
    for at, told in (
        (1.6, "too early"),
        (far, "on the\nfar edge:\nseen"),
        (4.3, "seen"),
        (5.6, "happens\nhere"),
        (6.9, "seen"),
        (near, "on the\nnear edge"),
        (9.0, "in the\ndelay"),
        (10.45, "at the same\ntime as x"),
    ):
        seen = "seen" in told
        _text(axes, at, 6.65, told, color=SEEN if seen else GREY, va="top", ha="left" if at > t else "center")

    _text(axes, 0, 4.85, "What is known of two frauds", weight="bold")
    _fraud(axes, 3.3, at=0.6, mature=4.1, reported=6.2, t=t)
    _fraud(axes, 1.3, at=3.4, mature=6.9, reported=11.3, t=t)
    return axes.get_figure()  # type: ignore[return-value]


def split() -> Figure:
    """Draw how a data set is split by time, and as of when the model knows labels."""
    axes = _sheet("A model is made with the labels of one day, before the test begins", height=3.6)
    bounds = [0.0, 1.9, 5.9, 6.9, 8.6, 9.6, 11.6]
    names = ["history", "train", "gap", "validation", "gap", "test"]
    colours = [PALE, SEEN, PAPER, SEEN, PAPER, GREY]
    for name, colour, first, last in zip(names, colours, bounds[:-1], bounds[1:], strict=True):
        gap = colour == PAPER
        axes.barh(
            6.3,
            last - first,
            left=first,
            height=1.3,
            color=colour,
            edgecolor=PALE if gap else PAPER,
            alpha=0.75 if name == "validation" else 1,
            linewidth=1,
        )
        _text(axes, (first + last) / 2, 6.3, name, color=GREY if gap else INK if colour == PALE else PAPER, ha="center")
    _span(axes, 0, 1.9, 7.45, "burn-in", GREY)
    for first, last in ((5.9, 6.9), (8.6, 9.6)):
        _span(axes, first, last, 7.45, "label delay", GREY)
    axes.plot([11.6, 12.6], [6.3, 6.3], color=PALE, linewidth=1)
    for at, told in (
        (9.6, "as of: fit, calibration and threshold\nknow the labels of this moment"),
        (12.4, "label date of\nthe evaluation"),
    ):
        axes.plot([at, at], [2.6, 6.3], color=INK, linewidth=1)
        _text(axes, at - 0.12, 3.0, told, ha="right", weight="bold")
    axes.plot([4.6, 10.9], [4.6, 4.6], color=FRAUD, linewidth=1)
    _dot(axes, 4.6, 4.6, seen=True, colour=FRAUD)
    axes.plot(10.9, 4.6, marker="|", color=FRAUD, markersize=9)
    _text(axes, 4.45, 4.6, "a fraud reported after that moment", color=FRAUD, ha="right")
    _text(axes, 11.0, 4.6, "report", color=FRAUD)
    _text(axes, 7.1, 5.05, "counts as legitimate, as it did that day", color=GREY, ha="center")
    return axes.get_figure()  # type: ignore[return-value]


PICTURES: dict[str, Callable[[], Figure]] = {"time.svg": window, "split.svg": split}


def drawn(picture: Callable[[], Figure]) -> bytes:
    """Return a figure as SVG, with the same bytes each time."""
    with mpl.rc_context(_LOOK):
        file = io.BytesIO()
        picture().savefig(file, format="svg", facecolor=PAPER, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _sheet(title: str, height: float) -> Axes:
    figure = Figure(figsize=(10.4, height))
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set(xlim=(-0.2, 13.2), ylim=(0, 10) if height > 5 else (2.2, 9.6))
    axes.axis("off")
    _text(axes, 0, 9.75 if height > 5 else 9.1, title, size=LARGE, weight="bold")
    return axes


def _text(axes: Axes, x: float, y: float, told: str, *, size: float = SMALL, **how: Any) -> None:
    axes.text(x, y, told, **{"fontsize": size, "color": INK, "va": "center", "linespacing": 1.3, **how})


def _dot(axes: Axes, x: float, y: float, *, seen: bool, colour: str = SEEN) -> None:
    ink = colour if seen else GREY
    axes.plot(x, y, "o", markersize=9, markerfacecolor=ink if seen else PAPER, markeredgecolor=ink, zorder=3)


def _span(axes: Axes, first: float, last: float, y: float, told: str, colour: str) -> None:
    axes.annotate("", (first, y), (last, y), arrowprops={"arrowstyle": "<->", "color": colour, "linewidth": 1})
    _text(axes, (first + last) / 2, y + 0.38, told, color=colour, ha="center")


def _fraud(axes: Axes, y: float, *, at: float, mature: float, reported: float, t: float) -> None:
    """Draw a fraud's label over time: unknown, presumed legitimate, fraud; and what x reads at t."""
    for first, last, colour, said in (
        (at, mature, PALE, "unknown"),
        (mature, reported, GREY, "presumed legitimate"),
        (reported, 12.6, FRAUD, "fraud"),
    ):
        axes.barh(y, last - first, left=first, height=0.62, color=colour, edgecolor=PAPER, linewidth=1)
        middle = (first + (min(last, t) if first < t else last)) / 2
        _text(axes, middle, y, said, color=INK if colour == PALE else PAPER, ha="center")
    _dot(axes, at, y, seen=True, colour=FRAUD)
    _span(axes, at, mature, y + 0.55, "label delay", GREY)
    _text(axes, reported, y + 0.6, "reported", color=FRAUD, ha="center")
    _text(axes, t - 0.12, y + 0.93, f"x reads: {'fraud' if reported < t else 'legitimate'}", ha="right", weight="bold")


def main() -> int:
    """Write the figures, or report which are stale."""
    IMAGES.mkdir(exist_ok=True)
    stale = 0
    for name, picture in PICTURES.items():
        path, content = IMAGES / name, drawn(picture)
        if sys.argv[1:] != ["--check"]:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            stale = 1
            print(f"docs/images/{name} is stale: run `make docs`", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main())
