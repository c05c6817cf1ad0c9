"""Style and output of plots: two widths, SVG that follows the reader's light or dark setting, PNG.

Plots are drawn in the colours of paper. In the page these become variables of its style sheet, so that one drawing
serves light, dark and print.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from fraud3000.report.formatting import plain

ACCENT, INK, MUTED, BASELINE, RULE, PAPER, WARNING = (
    "#0b63a8",
    "#1c2127",
    "#5b636d",
    "#868e97",
    "#d9dde2",
    "#ffffff",
    "#b3371b",
)
VARIABLES = {
    ACCENT: "accent", INK: "ink", MUTED: "muted", BASELINE: "baseline", RULE: "rule", PAPER: "paper", WARNING: "warning",
}  # fmt: skip
"""Colours on paper, and the CSS variables that replace them in the page."""

WIDE, NARROW, TEXT = 700, 340, 15
"""Widths in CSS pixels, and the font size of all text."""
_TITLE_LINE, _DOTS = 22, 144
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": TEXT,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.unicode_minus": False,
    "axes.axisbelow": True,
    "axes.xmargin": 0.0,
    "axes.ymargin": 0.0,
    "figure.facecolor": "none",
    "figure.dpi": 72,
    "grid.color": RULE,
    "grid.linewidth": 1.0,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 2.5,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Sheet:
    """Figure to draw on, and whether it is the narrow form for a phone."""

    figure: Figure
    narrow: bool

    def axes(self) -> Axes:
        """Add axes with horizontal grid lines."""
        return _with_grid(self.figure.add_subplot())

    def pair(self) -> list[Axes]:
        """Add two axes of equal scales: side by side, or one below the other on a phone."""
        layout = {"nrows": 2, "ncols": 1} if self.narrow else {"nrows": 1, "ncols": 2}
        both = self.figure.subplots(**layout, sharex=True, sharey=True)  # type: ignore[call-overload]
        return [_with_grid(axes) for axes in both.flat]


def _with_grid(axes: Axes) -> Axes:
    axes.grid(visible=True, axis="y")
    return axes


Draw = Callable[[Sheet], None]


@dataclass(frozen=True, eq=False)
class Picture:
    """Plot in every form that is needed; each form is rendered at its first use.

    Equal input gives equal bytes.

    Attributes
    ----------
    name
        Prefix of its ids in the page.
    title
        The finding in one sentence; also the text that a screen reader reads.
    draw
        Function that draws on a sheet.
    height, narrow_height
        Heights in CSS pixels.
    """

    name: str
    title: str
    draw: Draw
    height: int
    narrow_height: int

    @cached_property
    def wide(self) -> str:
        """SVG element for the page, with the colours of its style sheet."""
        return _for_page(self._svg(self._figure), f"{self.name}-wide", self.title)

    @cached_property
    def narrow(self) -> str:
        """SVG element for a phone."""
        with self._style():
            figure = _laid_out(self.draw, NARROW, self.narrow_height, narrow=True)
        return _for_page(self._svg(figure), f"{self.name}-narrow", self.title)

    @cached_property
    def svg(self) -> str:
        """SVG file with the title, on white."""
        return _standalone(self._svg(self._titled), self.title)

    @cached_property
    def png(self) -> bytes:
        """PNG file with the title, on white."""
        buffer = io.BytesIO()
        self._titled.set_dpi(_DOTS)
        with self._style():
            FigureCanvasAgg(self._titled).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
        return buffer.getvalue()

    @cached_property
    def _figure(self) -> Figure:
        with self._style():
            return _laid_out(self.draw, WIDE, self.height, narrow=False)

    @cached_property
    def _titled(self) -> Figure:
        assert self.wide  # rendered before the title is added to the figure
        with self._style():
            _add_title(self._figure, self.title, self.height)
        return self._figure

    def _svg(self, figure: Figure) -> str:
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        with self._style():
            FigureCanvasSVG(figure).print_svg(buffer, metadata=no_metadata)  # type: ignore[no-untyped-call]
        return buffer.getvalue()

    @contextmanager
    def _style(self) -> Iterator[None]:
        with warnings.catch_warnings(), rc_context({**_STYLE, "svg.hashsalt": self.name}):
            warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that the PNG's font lacks
            yield


def _laid_out(draw: Draw, width: int, height: int, *, narrow: bool) -> Figure:
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasAgg(figure)
    draw(Sheet(figure, narrow))
    figure.draw_without_rendering()  # computes the layout, once for all output formats
    figure.set_layout_engine("none")
    return figure


def _add_title(figure: Figure, title: str, height: int) -> None:
    """Add the title and a background, for a plot outside the page."""
    lines = textwrap.wrap(plain(title), 74)
    full_height = height + _TITLE_LINE * len(lines) + 16
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, box.y0 * height / full_height, box.width, box.height * height / full_height))
    figure.set_size_inches(WIDE / 72, full_height / 72)
    figure.set_facecolor(PAPER)
    figure.text(0.006, 1 - 6 / full_height, "\n".join(lines), va="top", fontweight="bold", linespacing=1.3)


_FAMILY = re.compile(r"font-family: [^;\"]*")


def _for_page(svg: str, prefix: str, title: str) -> str:
    """Convert to an element of the page: unique ids, the page's font and colours, a label for screen readers."""
    from markupsafe import escape

    body = _minified(svg)
    body = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", body)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}-", body.replace("xlink:href", "href"))
    body = re.sub(r"(?<=[ \";])" + _FAMILY.pattern + "; ", "", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', body)[:2]
    label, kind = escape(title), prefix.rpartition("-")[2]
    opening = f'<svg class="{kind}" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">'
    return opening + body[body.index(">") + 1 :]


def _standalone(svg: str, title: str) -> str:
    from markupsafe import escape

    body = _FAMILY.sub("font-family: system-ui, sans-serif", _minified(svg))
    end = body.index(">") + 1
    return f"{body[:end]}\n<title>{escape(title)}</title>{body[end:]}\n"


def _minified(svg: str) -> str:
    """Remove the header, metadata, group names and excess digits, so that the page is small."""
    body = svg[svg.index("<svg") :].rstrip()
    body = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r"(?:<defs>\s*</defs>|<g/>)\s*", "", body)
    body = re.sub(r"(?<=\d)\.(\d{2})\d+", r".\1", body)
    return re.sub(r"\s*\n\s*", "\n", body)
