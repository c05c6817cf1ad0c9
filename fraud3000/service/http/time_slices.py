"""Long work on the event loop, cut into slices of a few milliseconds so that other requests are answered in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

SLICE = 0.004
"""Seconds of work between two chances for everything else on the event loop."""

_STEPS_AT_ONCE = 16
"""Steps between two looks at the clock, at most."""

Item = TypeVar("Item")


class Slices:
    """Runs the work of large requests in slices.

    A thread would not help: parsing and validation hold the interpreter's lock. Of all requests that are too long for one
    slice, one runs its next slice at a time, so ten large bodies delay a small request no longer than one does.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def collect(self, work: Iterable[Item], *, steps: int | None = None) -> list[Item]:
        """Return the items of an iterable as a list; each step of the iterable is a part of the work.

        Parameters
        ----------
        work
            Its steps should take a millisecond at most: a step is never cut, and some may run between two looks at the clock.
        steps
            How many there are, if that is known: a single one needs no clock.
        """
        if steps == 1:
            return list(work)
        left, items = iter(work), list[Item]()
        if _run_slice(left, items):
            return items
        while True:
            async with self._turn:
                await asyncio.sleep(0)
                if _run_slice(left, items):
                    return items


def _run_slice(steps: Iterator[Item], items: list[Item]) -> bool:
    """Append items until the slice is over; True at the end of the work.

    The clock is read after 1, 2, 4 and so on steps, for it costs as much as a short step does.
    """
    end, many = time.perf_counter() + SLICE, 1
    while True:
        before = len(items)
        items.extend(islice(steps, many))
        if len(items) - before < many:
            return True
        if time.perf_counter() >= end:
            return False
        many = min(2 * many, _STEPS_AT_ONCE)
