"""Section of the report: a finding, a plot, a table and the data behind them."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from fraud3000.report.canvas import Picture


@dataclass(frozen=True)
class TextTable:
    """Table of text cells, as the page shows it; the first column names the rows, the others hold numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Section:
    """Section of the report that answers one question.

    Attributes
    ----------
    name
        Name of its files, and its id in the page.
    topic
        Short heading.
    finding
        The answer in one sentence; also the title of the plot.
    caption
        How to read the plot.
    picture
        The plot; None if it cannot be drawn.
    table
        Table below the plot, if any.
    data
        Numbers behind the plot; empty if there are none.
    """

    name: str
    topic: str
    finding: str
    caption: str = ""
    picture: Picture | None = None
    table: TextTable | None = None
    data: pl.DataFrame = field(default_factory=pl.DataFrame)


def unavailable(name: str, topic: str, reason: str) -> Section:
    """Return a section that states only why it cannot be computed."""
    return Section(name, topic, f"Not shown: {reason}.")
