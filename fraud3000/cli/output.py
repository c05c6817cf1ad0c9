"""Print what a stage has to say: aligned text, in colour only where a terminal reads it."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from fraud3000.redact import mask
from fraud3000.stages.shared.summary import Summary, Table

WIDTH = 100

Line = tuple[str, str]
"""A line and its style in rich's words; the style is empty for plain text."""


def summary(outcome: Summary, *, as_json: bool = False) -> None:
    """Print an outcome on stdout, for a reader or (as one JSON document) for a program; card numbers are masked.

    Each text is masked by itself: side by side, the cells of a table could look like one number.
    """
    outcome = Summary(**{field.name: _masked(getattr(outcome, field.name)) for field in fields(outcome)})
    if as_json:
        text(json.dumps(outcome.as_dict(), indent=2, ensure_ascii=False, default=str))
    elif sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        _in_colour(lines(outcome))
    else:
        text("\n".join(line for line, _ in lines(outcome)))


def _masked(value: Any) -> Any:
    """Mask every text in a value of a summary."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {_masked(name): _masked(item) for name, item in value.items()}
    if isinstance(value, Table):
        return Table(_masked(value.title), _masked(value.columns), _masked(value.rows))
    if isinstance(value, list | tuple):
        return type(value)(_masked(item) for item in value)
    return value


def text(content: str) -> None:
    """Print on stdout; a reader that went away (``| head``) is no fault."""
    try:
        print(content, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def lines(outcome: Summary) -> Iterator[Line]:
    """Lay an outcome out in lines of at most 100 columns.

    Examples
    --------
    >>> done = Summary("prepare", {"rows read": 1754155, "seconds": 1.25}, warnings=("2 columns are constant.",))
    >>> for line, _ in lines(done):
    ...     print(line)
    prepare
      rows read  1,754,155
      seconds    1.25
    <BLANKLINE>
    Warning: 2 columns are constant.
    """
    yield outcome.command, "bold"
    yield from _pairs(outcome.facts)
    for table in outcome.tables:
        yield "", ""
        yield from _table(table)
    if outcome.outputs:
        yield "", ""
        yield "written", "bold"
        yield from _pairs(outcome.outputs)
    for warning in outcome.warnings:
        yield "", ""
        yield from ((line, "yellow") for line in textwrap.wrap(f"Warning: {warning}", WIDTH, subsequent_indent="  "))
    if outcome.next_step:
        yield "", ""
        yield f"Next: {outcome.next_step}", "bold"
    if outcome.last_line:
        yield "", ""
        yield outcome.last_line, ""


def _pairs(pairs: dict[str, Any]) -> Iterator[Line]:
    edge = 4 + max(map(len, pairs), default=0)
    for name, value in pairs.items():
        shown = textwrap.wrap(_shown(value), max(WIDTH - edge, 20), break_on_hyphens=False) or ["-"]
        yield f"  {name:<{edge - 4}}  {shown[0]}", ""
        yield from ((" " * edge + line, "") for line in shown[1:])


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value) or "-"
    return "-" if value is None else str(value)


def _table(table: Table) -> Iterator[Line]:
    widths = _widths(table)
    right = [all(_numeric(row[place]) for row in table.rows) for place in range(len(table.columns))]
    yield table.title, "bold"
    for row, style in [(table.columns, "dim"), *((row, "") for row in table.rows)]:
        cells = [_cut(cell, width) for cell, width in zip(row, widths, strict=True)]
        aligned = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        yield ("  " + "  ".join(aligned)).rstrip(), style


def _widths(table: Table) -> list[int]:
    """Give every column the room it needs, and where that is too much take it from the widest."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    while sum(widths) + 2 * len(widths) > WIDTH and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def _numeric(cell: str) -> bool:
    return not cell or cell[0].isdigit() or (cell[0] in "+-−±[(.–" and (len(cell) == 1 or not cell[1].isalpha()))


def _in_colour(laid_out: Iterator[Line]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line, style in laid_out:
        console.print(Text(line, style=style))
