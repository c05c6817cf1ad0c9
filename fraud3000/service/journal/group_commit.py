"""The way into the journal: all entries that came while one group was written are the next."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from fraud3000.service.journal.entries import Entry
from fraud3000.service.journal.interface import Journal

_FEW = 64
_QUICK = 0.005
"""Seconds: while the last write took no longer, a few entries are written where they are, without the way to a thread and back."""


class GroupCommitWriter:
    """Writes entries in their order and in groups, beside the event loop that it is called by where that takes long.

    What could not be written goes on waiting, before all that comes later: it is written with the next attempt.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: deque[Entry] = deque()
        self._waiting: dict[str, list[Entry]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._writing: asyncio.Task[None] | None = None
        self._failed = False
        self._took = math.inf  # seconds of the last write

    def add(self, entries: Iterable[Entry]) -> None:
        """Let entries wait, numbered on from those before."""
        for entry in entries:
            self._queue.append(entry)
            self._waiting.setdefault(entry.transaction_id, []).append(entry)

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """What is kept of a transaction or waits for that, in order."""
        return self._with_waiting(transaction_id, self._journal.of_transaction(transaction_id))

    def of_transactions(self, ids: Collection[str]) -> dict[str, list[Entry]]:
        """The same of several at once; those of which nothing is known are left out."""
        kept = self._journal.of_transactions(ids)
        waiting = [id_ for id_ in ids if id_ in self._waiting]
        return kept | {id_: self._with_waiting(id_, kept.get(id_, [])) for id_ in waiting}

    def _with_waiting(self, transaction_id: str, kept: list[Entry]) -> list[Entry]:
        last = kept[-1].number if kept else 0
        return kept + [entry for entry in self._waiting.get(transaction_id, ()) if entry.number > last]

    def waits(self, transaction_id: str) -> bool:
        """Whether something of a transaction is not kept yet."""
        return transaction_id in self._waiting

    @property
    def failed(self) -> bool:
        """Whether entries wait that could not be written."""
        return self._failed and bool(self._queue) and (self._writing is None or self._writing.done())

    async def catch_up(self) -> None:
        """Try again to write what could not be written; does nothing where nothing failed.

        Raises
        ------
        UnavailableError
            It still cannot be.
        """
        if self._failed and self._queue:
            await self.until(self._queue[-1].number)

    async def until(self, number: int) -> None:
        """Wait until the entry of that number, and so all before it, are kept.

        Raises
        ------
        UnavailableError
            They cannot be written; they go on waiting.
        """
        while self._queue and self._queue[0].number <= number:
            await asyncio.shield(self._start())

    def begin(self) -> None:
        """Begin to write what waits, and do not wait for it; whoever waits later is told of an error."""
        self._start().add_done_callback(_retrieve_error)

    def _start(self) -> asyncio.Task[None]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())
        return self._writing

    async def _write(self) -> None:
        group, self._failed, begin = list(self._queue), True, time.perf_counter()
        try:
            if len(group) <= _FEW and self._took <= _QUICK:
                self._journal.append(group)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._journal.append, group)
            self._failed = False
        finally:
            self._took = time.perf_counter() - begin
            while self._queue and self._queue[0].number <= self._journal.last:
                self._leave(self._queue.popleft())

    def _leave(self, entry: Entry) -> None:
        """Leave to the journal what it has."""
        waiting = self._waiting[entry.transaction_id]
        waiting.remove(entry)
        if not waiting:
            del self._waiting[entry.transaction_id]


def _retrieve_error(writing: asyncio.Task[None]) -> None:
    """Keep asyncio from reporting the error of a write that nobody waits for: the next request tries again and reports it."""
    if not writing.cancelled():
        writing.exception()
