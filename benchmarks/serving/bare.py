"""Minimal service: a FastAPI endpoint that parses the messages of POST /score and returns constant results.

`bare.py PORT flushed` also writes each result to a file and flushes it to disk first, several at a time.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import datetime

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Transaction(BaseModel):
    """Transaction of a request."""

    transaction_id: str
    ts: datetime
    card_id: str
    terminal_id: str
    amount: int
    status: str = "approved"
    category: str | None = None


class Transactions(BaseModel):
    """Body of a request."""

    transactions: list[Transaction]


class Result(BaseModel):
    """Result of one transaction."""

    transaction_id: str
    decision_id: str
    score: float
    threshold: float
    alert: bool
    decision: str
    decision_source: str
    reasons: list[dict[str, str]]


class Results(BaseModel):
    """Body of a response."""

    model_version: str
    results: list[Result]


BYTES = 1_400  # size of a journal entry


class Disk:
    """Group commit: writes waiting entries together, outside the event loop."""

    def __init__(self) -> None:
        self._file = os.open(".", os.O_TMPFILE | os.O_RDWR)
        self._waiting: list[bytes] = []
        self._asked = self._kept = 0
        self._task: asyncio.Task[None] | None = None

    async def keep(self, content: bytes) -> None:
        """Wait until an entry is on disk."""
        self._waiting.append(content)
        self._asked += 1
        mine = self._asked
        while self._kept < mine:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._write())
            await asyncio.shield(self._task)

    async def _write(self) -> None:
        group, self._waiting = self._waiting, []
        await asyncio.get_running_loop().run_in_executor(None, self._put, b"".join(group))
        self._kept += len(group)

    def _put(self, content: bytes) -> None:
        os.write(self._file, content)
        os.fdatasync(self._file)


def app(*, flushed: bool) -> FastAPI:
    """Return the application; with `flushed`, each result is on disk before the response."""
    made = FastAPI()
    disk = Disk()

    @made.post("/score")
    async def score(asked: Transactions) -> Results:
        if flushed:
            await disk.keep(os.urandom(16) + b"." * (BYTES - 16))
        results = [
            Result(
                transaction_id=one.transaction_id,
                decision_id="0" * 24,
                score=0.0123456789,
                threshold=0.4,
                alert=False,
                decision="approve",
                decision_source="model",
                reasons=[],
            )
            for one in asked.transactions
        ]
        return Results(model_version="1", results=results)

    return made


if __name__ == "__main__":
    uvicorn.run(app(flushed=sys.argv[2] == "flushed"), port=int(sys.argv[1]), access_log=False, log_level="warning")
