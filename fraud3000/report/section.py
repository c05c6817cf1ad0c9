"""What a section of the report is."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from fraud3000.report.canvas import Picture


@dataclass(frozen=True)
class Shown:
    """A table as the page shows it; the first column names the rows, the others are numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Section:
    """One question and its answer.

    Attributes
    ----------
    name
        Of its files and of its place in the page.
    topic
        What it is about, in a word or two.
    finding
        The answer in words: the title of its picture.
    said
        How to read the picture.
    data
        The numbers behind it; empty where there is nothing to show.
    """

    name: str
    topic: str
    finding: str
    said: str = ""
    picture: Picture | None = None
    shown: Shown | None = None
    data: pl.DataFrame = field(default_factory=pl.DataFrame)


def without(name: str, topic: str, reason: str) -> Section:
    """A section that cannot be made, and why."""
    return Section(name, topic, f"Not shown: {reason}.")
