"""Splits long work on the event loop into slices of a few milliseconds, with other requests served in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

SLICE = 0.004
"""Seconds of work before other tasks of the event loop run."""

_MAX_STEPS = 16
"""Steps between two reads of the clock, at most."""

Item = TypeVar("Item")


class Slices:
    """Runs the work of large requests in slices.

    A thread would not help, because parsing and validation hold the interpreter's lock. Of all requests that need more than one
    slice, only one runs a slice at a time, so ten large bodies delay a small request no longer than one does.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def collect(self, work: Iterable[Item], *, steps: int | None = None) -> list[Item]:
        """Collect the items of an iterable in slices; each step of the iterable is a part of the work.

        Parameters
        ----------
        work
            Each step should take a millisecond at most, as slices end only between steps and the clock is not read after each.
        steps
            Number of steps, if known: a single one needs no clock.
        """
        if steps == 1:
            return list(work)
        steps_left, items = iter(work), list[Item]()
        if _run_slice(steps_left, items):
            return items
        while True:
            async with self._lock:
                await asyncio.sleep(0)
                if _run_slice(steps_left, items):
                    return items


def _run_slice(steps: Iterator[Item], items: list[Item]) -> bool:
    """Append items until the slice is over; returns True at the end of the work.

    The clock is read after 1, 2, 4 and so on steps, because reading it takes as long as a short step.
    """
    end, count = time.perf_counter() + SLICE, 1
    while True:
        before = len(items)
        items.extend(islice(steps, count))
        if len(items) - before < count:
            return True
        if time.perf_counter() >= end:
            return False
        count = min(2 * count, _MAX_STEPS)
