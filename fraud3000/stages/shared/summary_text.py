"""Layout of a `Summary`: aligned lines of text, and HTML for notebooks; card numbers are masked."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fraud3000.html_table import html_table
from fraud3000.redact import mask

if TYPE_CHECKING:
    from fraud3000.stages.shared.summary import Summary, Table

WIDTH = 100
"""Longest line, in characters."""

Line = tuple[str, str]
"""A line and its style, named as in rich; the style is empty for plain text."""


def masked(summary: Summary) -> Summary:
    """Mask card numbers in every text of a summary.

    Each text is masked by itself: side by side, the cells of a table could look like one number.
    """
    return type(summary)(**{field.name: _masked(getattr(summary, field.name)) for field in fields(summary)})


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {_masked(name): _masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_masked(item) for item in value)
    if hasattr(value, "columns"):  # a Table
        return type(value)(_masked(value.title), _masked(value.columns), _masked(value.rows))
    return value


def lines(summary: Summary) -> Iterator[Line]:
    """Format a summary as lines of at most `WIDTH` characters.

    Examples
    --------
    >>> from fraud3000.stages.shared.summary import Summary
    >>> done = Summary("prepare", {"rows read": 1754155, "seconds": 1.25}, warnings=("2 columns are constant.",))
    >>> for line, _ in lines(done):
    ...     print(line)
    prepare
      rows read  1,754,155
      seconds    1.25
    <BLANKLINE>
    Warning: 2 columns are constant.
    """
    yield summary.command, "bold"
    yield from _pairs(summary.facts)
    for table in summary.tables:
        yield "", ""
        yield from _table(table)
    if summary.outputs:
        yield "", ""
        yield "written", "bold"
        yield from _pairs(summary.outputs)
    for warning in summary.warnings:
        yield "", ""
        yield from ((line, "yellow") for line in textwrap.wrap(f"Warning: {warning}", WIDTH, subsequent_indent="  "))
    if summary.next_step:
        yield "", ""
        yield f"Next: {summary.next_step}", "bold"
    if summary.last_line:
        yield "", ""
        yield summary.last_line, ""


def html(summary: Summary) -> str:
    """Format a summary as HTML tables, followed by its warnings and the next step.

    Examples
    --------
    >>> from fraud3000.stages.shared.summary import Summary
    >>> html(Summary("prepare", {"rows read": 1754155}))
    '<table><caption>prepare</caption><tbody><tr><th scope="row">rows read</th><td>1,754,155</td></tr></tbody></table>'
    """
    from html import escape

    parts = [html_table(summary.command, [(name, _formatted(value)) for name, value in summary.facts.items()])]
    parts += [html_table(table.title, table.rows, table.columns) for table in summary.tables]
    if summary.outputs:
        parts.append(html_table("written", summary.outputs.items()))
    parts += [f"<p>Warning: {escape(warning)}</p>" for warning in summary.warnings]
    if summary.next_step:
        parts.append(f"<p>Next: <code>{escape(summary.next_step)}</code></p>")
    return "\n".join(parts)


def _pairs(pairs: dict[str, Any]) -> Iterator[Line]:
    edge = 4 + max(map(len, pairs), default=0)
    for name, value in pairs.items():
        wrapped = textwrap.wrap(_formatted(value), max(WIDTH - edge, 20), break_on_hyphens=False) or ["-"]
        yield f"  {name:<{edge - 4}}  {wrapped[0]}", ""
        yield from ((" " * edge + line, "") for line in wrapped[1:])


def _formatted(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_formatted(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_formatted(item) for item in value) or "-"
    return "-" if value is None else str(value)


def _table(table: Table) -> Iterator[Line]:
    widths = _widths(table)
    numeric = [all(_is_number(row[index]) for row in table.rows) for index in range(len(table.columns))]
    yield table.title, "bold"
    for row, style in [(table.columns, "dim"), *((row, "") for row in table.rows)]:
        cells = [_truncate(cell, width) for cell, width in zip(row, widths, strict=True)]
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        yield ("  " + "  ".join(aligned)).rstrip(), style


def _widths(table: Table) -> list[int]:
    """Give every column the width of its longest cell; if the line is too long, narrow the widest columns."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    while sum(widths) + 2 * len(widths) > WIDTH and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def _truncate(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or (cell[0] in "+-−±[(.–" and (len(cell) == 1 or not cell[1].isalpha()))
