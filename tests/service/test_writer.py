"""Group commit writes on the event loop while that is fast, else on a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from fraud3000.service.entries import Entry
from fraud3000.service.journal.group_commit import GroupCommitWriter
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.service.operator_entries import ErasureEntry


class Watched(SqliteJournal):
    """Journal whose writes take a set time, and that records whether the event loop waited for them."""

    seconds = 0.0

    def append(self, added: Sequence[Entry]) -> None:
        waited.append(threading.current_thread() is threading.main_thread())
        time.sleep(self.seconds)
        super().append(added)


waited: list[bool] = []


def test_fast_writes_stay_on_the_event_loop_and_slow_or_large_ones_use_a_thread(tmp_path: Path) -> None:
    journal = Watched(tmp_path / "journal.db", flush="normal")
    writer, numbers = GroupCommitWriter(journal), iter(range(1, 10_000))

    async def write(entries: int, seconds: float = 0.0) -> bool:
        journal.seconds = seconds
        added = [ErasureEntry(next(numbers), 0, 0) for _ in range(entries)]
        writer.add(added)
        await writer.wait_durable(added[-1].number)
        assert journal.last == added[-1].number
        return waited.pop()

    async def work() -> None:
        assert not await write(1), "nothing is known of the disk yet"
        while not await write(1):
            pass
        assert not await write(100)
        while not await write(1):
            pass
        await write(1, seconds=0.05)
        assert not await write(1, seconds=0.05), "the disk was slow"
        assert not await write(1, seconds=0.05)

    asyncio.run(asyncio.wait_for(work(), 60))
    journal.close()
