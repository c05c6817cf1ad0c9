"""Turns: many at a time, or one alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class RWLock:
    """Lets many tasks of one event loop in together, or one alone; whoever waits to be alone goes before later ones."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = 0  # those that are alone or wait to be
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """One of many."""
        while self._alone:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._alone)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if self._alone > 0:
                async with self._changed:
                    self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The only one."""
        self._alone += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._inside)
                self._inside += 1
            try:
                yield
            finally:
                self._inside -= 1
        finally:
            self._alone -= 1
            async with self._changed:
                self._changed.notify_all()
