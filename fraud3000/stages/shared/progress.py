"""Progress display on stderr, only if it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import polars as pl

if TYPE_CHECKING:
    from rich.progress import Progress

    from fraud3000.evaluation.hyperparameter_search import Trial

Step = TypeVar("Step")


def track(blocks: Iterable[pl.DataFrame], doing: str, *, rows: int) -> Iterator[pl.DataFrame]:
    """Yield blocks of rows and show how many rows are done."""
    with _shown() as progress:
        task = progress.add_task(doing, total=rows) if progress else None
        for block in blocks:
            yield block
            if progress and task is not None:
                progress.advance(task, block.height)


@contextmanager
def track_trials() -> Iterator[Callable[[Trial, int], None]]:
    """Return a function that shows the finished trials of a search and their best objective."""
    best = -float("inf")
    with _shown() as progress:
        task = progress.add_task("searching") if progress else None

        def ended(trial: Trial, of: int) -> None:
            nonlocal best
            best = best if trial.given_up else max(best, trial.mean)
            if progress and task is not None:
                progress.update(task, total=of, completed=trial.number + 1, description=f"searching, best {best:.4f}")

        yield ended


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
    with _shown() as progress:
        yield from progress.track(items, description=doing) if progress else items


@contextmanager
def _shown() -> Iterator[Progress | None]:
    """Show a progress bar while the block runs; None if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield progress
