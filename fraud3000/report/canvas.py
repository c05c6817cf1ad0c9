"""Drawing in the report's own hand: one look, two widths, SVG that follows the reader's light or dark.

Everything is drawn in the colours of paper. Inside the page they become variables of its style
sheet, so that one drawing serves light, dark and print.
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

ACCENT, INK, MUTED, FLOOR, RULE, PAPER, WARNING = (
    "#0b63a8",
    "#1c2127",
    "#5b636d",
    "#868e97",
    "#d9dde2",
    "#ffffff",
    "#b3371b",
)
VARIABLES = {
    ACCENT: "accent", INK: "ink", MUTED: "muted", FLOOR: "floor", RULE: "rule", PAPER: "paper", WARNING: "warning",
}  # fmt: skip
"""Colours on paper, and the variables they become in the page."""

WIDE, NARROW, TEXT = 700, 340, 15
"""Widths in CSS pixels, and the size of all text."""
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
    """A figure to draw on, and whether it is for a phone."""

    figure: Figure
    narrow: bool

    def axes(self) -> Axes:
        """One pair of axes, with lines across at the ticks of the upright one."""
        return _plain(self.figure.add_subplot())

    def pair(self) -> list[Axes]:
        """Two pairs of axes of equal scales: side by side, or one below the other on a phone."""
        across = {"nrows": 2, "ncols": 1} if self.narrow else {"nrows": 1, "ncols": 2}
        both = self.figure.subplots(**across, sharex=True, sharey=True)  # type: ignore[call-overload]
        return [_plain(one) for one in both.flat]


def _plain(axes: Axes) -> Axes:
    axes.grid(visible=True, axis="y")
    return axes


Draw = Callable[[Sheet], None]


@dataclass(frozen=True, eq=False)
class Picture:
    """One drawing in every form that is needed; each form is made when it is first asked for.

    Equal input gives equal bytes.

    Attributes
    ----------
    name
        Its ids in the page begin with it.
    title
        The answer in words; what a screen reader says of the picture.
    draw
        Draws on the sheet that it is given.
    height, narrow_height
        In CSS pixels.
    """

    name: str
    title: str
    draw: Draw
    height: int
    narrow_height: int

    @cached_property
    def wide(self) -> str:
        """An ``<svg>`` element for the page, in the variables of its style sheet."""
        return _for_page(self._svg(self._figure), f"{self.name}-wide", self.title)

    @cached_property
    def narrow(self) -> str:
        """The same for a phone."""
        with self._hand():
            figure = _drawn(self.draw, NARROW, self.narrow_height, narrow=True)
        return _for_page(self._svg(figure), f"{self.name}-narrow", self.title)

    @cached_property
    def svg(self) -> str:
        """A file of its own, with the title, on white."""
        return _alone(self._svg(self._titled), self.title)

    @cached_property
    def png(self) -> bytes:
        """The same in dots."""
        place = io.BytesIO()
        self._titled.set_dpi(_DOTS)
        with self._hand():
            FigureCanvasAgg(self._titled).print_png(place, metadata={"Software": None})  # type: ignore[no-untyped-call]
        return place.getvalue()

    @cached_property
    def _figure(self) -> Figure:
        with self._hand():
            return _drawn(self.draw, WIDE, self.height, narrow=False)

    @cached_property
    def _titled(self) -> Figure:
        assert self.wide  # is made before the figure gets its title
        with self._hand():
            _entitle(self._figure, self.title, self.height)
        return self._figure

    def _svg(self, figure: Figure) -> str:
        place = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        with self._hand():
            FigureCanvasSVG(figure).print_svg(place, metadata=nothing)  # type: ignore[no-untyped-call]
        return place.getvalue()

    @contextmanager
    def _hand(self) -> Iterator[None]:
        with warnings.catch_warnings(), rc_context({**_STYLE, "svg.hashsalt": self.name}):
            warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that the PNG's font lacks
            yield


def _drawn(draw: Draw, width: int, height: int, *, narrow: bool) -> Figure:
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasAgg(figure)
    draw(Sheet(figure, narrow))
    figure.draw_without_rendering()  # lays it out, once for all the forms it is saved in
    figure.set_layout_engine("none")
    return figure


def _entitle(figure: Figure, title: str, height: int) -> None:
    """Give a picture that leaves the page its title and a ground."""
    lines = textwrap.wrap(plain(title), 74)
    whole = height + _TITLE_LINE * len(lines) + 16
    for axes in figure.axes:
        place = axes.get_position()
        axes.set_position((place.x0, place.y0 * height / whole, place.width, place.height * height / whole))
    figure.set_size_inches(WIDE / 72, whole / 72)
    figure.set_facecolor(PAPER)
    figure.text(0.006, 1 - 6 / whole, "\n".join(lines), va="top", fontweight="bold", linespacing=1.3)


_FAMILY = re.compile(r"font-family: [^;\"]*")


def _for_page(svg: str, prefix: str, title: str) -> str:
    """An element for the page: its own ids, the page's font and colours, a name for screen readers."""
    from markupsafe import escape

    body = _lean(svg)
    body = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", body)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}-", body.replace("xlink:href", "href"))
    body = re.sub(r"(?<=[ \";])" + _FAMILY.pattern + "; ", "", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', body)[:2]
    label, kind = escape(title), prefix.rpartition("-")[2]
    opening = f'<svg class="{kind}" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">'
    return opening + body[body.index(">") + 1 :]


def _alone(svg: str, title: str) -> str:
    from markupsafe import escape

    body = _FAMILY.sub("font-family: system-ui, sans-serif", _lean(svg))
    end = body.index(">") + 1
    return f"{body[:end]}\n<title>{escape(title)}</title>{body[end:]}\n"


def _lean(svg: str) -> str:
    """Leave out what nobody reads: the header, metadata, names of groups, a thousandth of a pixel."""
    body = svg[svg.index("<svg") :].rstrip()
    body = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r"(?:<defs>\s*</defs>|<g/>)\s*", "", body)
    body = re.sub(r"(?<=\d)\.(\d{2})\d+", r".\1", body)
    return re.sub(r"\s*\n\s*", "\n", body)
