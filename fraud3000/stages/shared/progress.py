"""Progress of long work, on stderr and only where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import polars as pl

Step = TypeVar("Step")


def track(blocks: Iterable[pl.DataFrame], doing: str, *, rows: int) -> Iterator[pl.DataFrame]:
    """Hand out blocks of rows one by one and show how many rows are done."""
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
def show_status(what: str) -> Iterator[None]:
    """Say what takes its time while it does."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def steps(all_of_them: Sequence[Step], doing: str) -> Iterator[Step]:
    """Hand out steps one by one and show how many are done."""
    if not sys.stderr.isatty():
        yield from all_of_them
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(all_of_them, description=doing)
