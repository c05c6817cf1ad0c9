"""A second client of a running service, whose latency must not depend on what the first one does."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tests.service.running import started
from tests.service.world import NEWEST

PATIENCE = 120.0
"""Seconds that anything here may take."""

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Running:
    """A service as a process of its own."""

    process: subprocess.Popen[str]
    port: int


@contextmanager
def serving(trained: Path, place: Path) -> Iterator[Running]:
    """The service on the small simulated world, on a store of its own."""
    raw = pl.read_parquet(trained / "data/raw/transactions.parquet").sort("ts", "transaction_id")
    raw.head(-NEWEST).write_parquet(place / "history.parquet")
    (place / "params.yaml").write_text(json.dumps({"serve": {"store": str(place / "service")}}), encoding="utf-8")
    with chdir(trained):
        process, port = started(place, "--model", "challenger")
    try:
        yield Running(process, port)
    finally:
        process.kill()
        process.wait(timeout=PATIENCE)
        if process.stdout is not None:
            process.stdout.close()


def transaction(**changed: Any) -> dict[str, Any]:
    """A new transaction with the current time."""
    number = next(_NUMBERS)
    at = datetime.now(UTC).isoformat()
    new = {"transaction_id": f"A{number}", "ts": at, "card_id": f"C{number % 3_000}", "terminal_id": f"T{number % 500}"}
    return {**new, "amount": 100 + number % 9_000, "category": "online", **changed}


def ask(
    connection: http.client.HTTPConnection,
    content: bytes,
    path: str = "/score",
    *,
    headers: Mapping[str, str] = {"Content-Type": "application/json"},
) -> int:
    """Send a body and return the status of the answer; 0 if the connection ended without one."""
    try:
        connection.request("POST" if content else "GET", path, content or None, dict(headers))
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return answer.status


@dataclass
class Bystander:
    """Sends transactions and requests for `/health` one after another and records the latency of each.

    Attributes
    ----------
    seconds
        Of each answer.
    statuses
        Of all answers.
    """

    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def ask_once(self, connection: http.client.HTTPConnection) -> None:
        """Ask for a decision and for health."""
        headers = {"Content-Type": "application/json", **self.headers}
        for content, path in ((json.dumps(transaction()).encode(), "/score"), (b"", "/health")):
            begin = time.perf_counter()
            self.statuses.add(ask(connection, content, path, headers=headers))
            self.seconds.append(time.perf_counter() - begin)

    def quiet(self, times: int = 40) -> float:
        """The longest that an answer takes while nothing else is asked."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            for _ in range(times):
                self.ask_once(connection)
        longest = max(self.seconds[times // 2 :])
        self.seconds.clear()
        return longest

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ask again and again, beside whatever is done meanwhile."""
        end = threading.Event()

        def go_on() -> None:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
                while not end.is_set():
                    self.ask_once(connection)
                    time.sleep(0.005)

        beside = threading.Thread(target=go_on)
        beside.start()
        try:
            time.sleep(0.1)
            self.seconds.clear()
            yield
            time.sleep(0.1)
        finally:
            end.set()
            beside.join()
