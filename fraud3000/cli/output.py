"""Print the summary of a command: aligned text, in colour only on a terminal, or JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

from fraud3000.stages.shared.summary import Summary
from fraud3000.stages.shared.summary_text import WIDTH, Line, lines, masked

__all__ = ["WIDTH", "lines", "summary", "text"]


def summary(outcome: Summary, *, as_json: bool = False) -> None:
    """Print a summary on stdout, as text or as one JSON document; card numbers are masked."""
    outcome = masked(outcome)
    if as_json:
        text(json.dumps(outcome.as_dict(), indent=2, ensure_ascii=False, default=str))
    elif sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        _print_coloured(lines(outcome))
    else:
        text("\n".join(line for line, _ in lines(outcome)))


def text(content: str) -> None:
    """Print on stdout; a closed pipe (``| head``) is no error."""
    try:
        print(content, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_coloured(styled_lines: Iterator[Line]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line, style in styled_lines:
        console.print(Text(line, style=style))
