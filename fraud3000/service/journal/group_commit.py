"""Group commit: all entries that arrive while one group is written form the next group."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from fraud3000.service.entries import Entry
from fraud3000.service.journal.interface import Journal

_SMALL_GROUP = 64
_FAST_WRITE = 0.005
"""Seconds: a small group is written on the event loop if the last write took no longer, which saves the switch to a thread."""


class GroupCommitWriter:
    """Writes entries to the journal in order and in groups, on the event loop or, if that takes long, on a thread.

    Entries of a failed write stay first in the queue; the next attempt writes them.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: deque[Entry] = deque()
        self._queued: dict[str, list[Entry]] = {}  # the queue by transaction
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._task: asyncio.Task[None] | None = None
        self._failed = False
        self._last_seconds = math.inf  # duration of the last write

    def add(self, entries: Iterable[Entry]) -> None:
        """Queue entries, numbered on from the last queued or written one."""
        for entry in entries:
            self._queue.append(entry)
            self._queued.setdefault(entry.transaction_id, []).append(entry)

    def of_transaction(self, transaction_id: str) -> list[Entry]:
        """Return the written and queued entries of a transaction, in order."""
        return self._with_queued(transaction_id, self._journal.of_transaction(transaction_id))

    def of_transactions(self, ids: Collection[str]) -> dict[str, list[Entry]]:
        """Return the written and queued entries of several transactions by id; unknown ids are left out."""
        written = self._journal.of_transactions(ids)
        queued = [id_ for id_ in ids if id_ in self._queued]
        return written | {id_: self._with_queued(id_, written.get(id_, [])) for id_ in queued}

    def _with_queued(self, transaction_id: str, written: list[Entry]) -> list[Entry]:
        last = written[-1].number if written else 0
        return written + [entry for entry in self._queued.get(transaction_id, ()) if entry.number > last]

    def is_queued(self, transaction_id: str) -> bool:
        """True if an entry of the transaction is not written yet."""
        return transaction_id in self._queued

    @property
    def failed(self) -> bool:
        """True if the last write failed and its entries are still queued."""
        return self._failed and bool(self._queue) and (self._task is None or self._task.done())

    async def drain(self) -> None:
        """Write the queue again after a failed write; does nothing if the last write succeeded.

        Raises
        ------
        UnavailableError
            The write fails again.
        """
        if self._failed and self._queue:
            await self.wait_durable(self._queue[-1].number)

    async def wait_durable(self, number: int) -> None:
        """Wait until the entry with that number, and so every one before it, is durable.

        Raises
        ------
        UnavailableError
            They cannot be written; they stay queued.
        """
        while self._queue and self._queue[0].number <= number:
            await asyncio.shield(self._ensure_task())

    def begin(self) -> None:
        """Start to write the queue without waiting for it; the next `wait_durable` raises an error of the write."""
        self._ensure_task().add_done_callback(_retrieve_error)

    def _ensure_task(self) -> asyncio.Task[None]:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write())
        return self._task

    async def _write(self) -> None:
        group, self._failed, begin = list(self._queue), True, time.perf_counter()
        try:
            if len(group) <= _SMALL_GROUP and self._last_seconds <= _FAST_WRITE:
                self._journal.append(group)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._journal.append, group)
            self._failed = False
        finally:
            self._last_seconds = time.perf_counter() - begin
            while self._queue and self._queue[0].number <= self._journal.last:
                self._forget(self._queue.popleft())

    def _forget(self, entry: Entry) -> None:
        """Remove a written entry from the queue by transaction."""
        queued = self._queued[entry.transaction_id]
        queued.remove(entry)
        if not queued:
            del self._queued[entry.transaction_id]


def _retrieve_error(task: asyncio.Task[None]) -> None:
    """Retrieve the error of a write that nobody waits for, so that asyncio does not log it; the next request reports it."""
    if not task.cancelled():
        task.exception()
