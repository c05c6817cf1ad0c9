"""Asyncio readers-writer lock; waiting writers go first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class RWLock:
    """Readers-writer lock for the tasks of one event loop.

    Any number of tasks may hold it shared, or one task exclusively. Once a task waits for exclusive access, new shared ones
    wait behind it, so that a steady stream of readers cannot starve a writer.
    """

    def __init__(self) -> None:
        self._holders = 0
        self._writers = 0  # tasks that hold the lock exclusively or wait to
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold the lock together with other shared holders."""
        while self._writers:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._writers)
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._writers > 0:
                async with self._changed:
                    self._changed.notify_all()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock as its only holder."""
        self._writers += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._holders)
                self._holders += 1
            try:
                yield
            finally:
                self._holders -= 1
        finally:
            self._writers -= 1
            async with self._changed:
                self._changed.notify_all()
