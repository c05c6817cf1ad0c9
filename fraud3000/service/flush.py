"""Entries that wait for the disk: all that came while one group was written are the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from fraud3000.service.entries import Entry
from fraud3000.service.journal import Journal


class Flusher:
    """Writes entries to the journal, in their order and in groups, beside the event loop.

    What could not be written goes on waiting, before all that comes later: it is written with the next attempt.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._failed = False
        self._waiting: deque[Entry] = deque()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._writing: asyncio.Task[None] | None = None

    def add(self, entries: Iterable[Entry]) -> None:
        """Let entries wait, numbered on from those before."""
        self._waiting.extend(entries)

    async def catch_up(self) -> None:
        """Try again to write what could not be written; does nothing where nothing failed.

        Raises
        ------
        UnavailableError
            It still cannot be.
        """
        if self._failed and self._waiting:
            await self.until(self._waiting[-1].number)

    async def until(self, number: int) -> None:
        """Wait until the entry of that number, and so all before it, are kept.

        Raises
        ------
        UnavailableError
            They cannot be written; they go on waiting.
        """
        while self.journal.last < number:
            if self._writing is None or self._writing.done():
                self._writing = asyncio.get_running_loop().create_task(self._write())
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        group, self._failed = list(self._waiting), True
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self.journal.append, group)
            self._failed = False
        finally:
            while self._waiting and self._waiting[0].number <= self.journal.last:
                self._waiting.popleft()
