"""Progress display on stderr, only if it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import polars as pl

Step = TypeVar("Step")


def track(blocks: Iterable[pl.DataFrame], doing: str, *, rows: int) -> Iterator[pl.DataFrame]:
    """Yield blocks of rows and show how many rows are done."""
    if not sys.stderr.isatty():
        yield from blocks
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=rows)
        for block in blocks:
            yield block
            progress.advance(task, block.height)


@contextmanager
def show_status(text: str) -> Iterator[None]:
    """Show a status text while the block runs."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def steps(items: Sequence[Step], doing: str) -> Iterator[Step]:
    """Yield items and show how many are done."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, description=doing)
