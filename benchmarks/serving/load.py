"""Load generator for POST /score: several connections that wait for their responses (closed loop), or a fixed rate (open loop)."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


class Messages:
    """Requests, each with new transactions."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked, self._count = asked, 0
        self._draw = random.Random(asked.run)
        self._begin = datetime.now(UTC) - timedelta(hours=1)
        if asked.body:
            body = Path(asked.body).read_bytes()
            head = f"POST {asked.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            self._again = f"{head}\r\n\r\n".encode() + body

    def next(self) -> bytes:
        """Return the bytes of the next request."""
        if self._asked.body:
            return self._again
        rows = [self._row() for _ in range(self._asked.size)]
        body = json.dumps({"transactions": rows}).encode()
        return (
            b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )

    def _row(self) -> dict[str, Any]:
        self._count += 1
        at = self._begin + timedelta(microseconds=100 * self._count)
        return {
            "transaction_id": f"R{self._asked.run}-{self._count}",
            "ts": at.isoformat(),
            "card_id": f"H{self._draw.randrange(self._asked.cards)}",
            "terminal_id": f"T{self._draw.randrange(2000):07}",
            "amount": self._draw.randrange(100, 20_000),
            "category": "food",
        }


class Connection:
    """Keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> Connection:
        """Open the connection."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self, request: bytes) -> None:
        """Send a request and read its response, which must have status 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)


async def closed(asked: argparse.Namespace, messages: Messages, connections: list[Connection]) -> dict[str, float]:
    """Measure requests a second (closed loop)."""
    end, answered = 0.0, 0

    async def go_on(connection: Connection) -> None:
        nonlocal answered
        while time.perf_counter() < end:
            await connection.ask(messages.next())
            answered += 1

    begin = time.perf_counter()
    end = begin + asked.seconds
    await asyncio.gather(*map(go_on, connections))
    return {"rate": round(answered / (time.perf_counter() - begin), 1)}


async def opened(asked: argparse.Namespace, messages: Messages, connections: list[Connection]) -> dict[str, float]:
    """Measure latencies from when each request was due (open loop)."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        idle.put_nowait(connection)
    waited: list[float] = []

    async def ask(due: float, request: bytes) -> None:
        connection = await idle.get()
        await connection.ask(request)
        waited.append(time.perf_counter() - due)
        idle.put_nowait(connection)

    draw, at = random.Random(7), 0.0
    coming = []
    while (at := at + draw.expovariate(asked.rate)) < asked.seconds:
        coming.append((at, messages.next()))
    gc.collect()
    gc.disable()  # pauses of the load generator would count as latency
    begin, tasks = time.perf_counter(), []
    for after, request in coming:
        if (pause := begin + after - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(ask(begin + after, request)))
    await asyncio.gather(*tasks)
    waited.sort()
    parts = {
        f"p{part}_ms": round(1_000 * waited[min(int(len(waited) * part / 100), len(waited) - 1)], 2)
        for part in (50, 99)
    }
    return {"rate": round(len(waited) / asked.seconds, 1), **parts}


async def main() -> None:
    """Load a server, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("how", choices=("closed", "open"))
    for name, kind in (
        ("run", int),
        ("cards", int),
        ("size", int),
        ("rate", float),
        ("connections", int),
        ("seconds", float),
    ):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--path", default="/score")
    parser.add_argument("--body", help="A file that is sent again and again, instead of new transactions.")
    asked = parser.parse_args()
    messages = Messages(asked)
    connections = [await Connection(asked.port).open() for _ in range(asked.connections)]
    for connection in connections:
        await connection.ask(messages.next())
    print(json.dumps(await (closed if asked.how == "closed" else opened)(asked, messages, connections)))


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
