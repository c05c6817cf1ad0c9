"""Resources of a service after many decisions: memory, and time of a start with and without snapshots.

The service's decision engine decides transactions of the same cards, a thousand at a time, and writes each to the journal
(flush: normal); without HTTP. The data is simulated, for a model of 70 features.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from contextlib import chdir, closing
from datetime import UTC, datetime
from pathlib import Path

import serve

import fraud3000
from fraud3000 import params
from fraud3000.features.online.event_encoder import microseconds
from fraud3000.models.inference import bundle
from fraud3000.service.data_dir import DataDir
from fraud3000.service.engine import feature_state
from fraud3000.service.engine.decider import Decider
from fraud3000.service.engine.decision_engine import DecisionEngine
from fraud3000.service.engine.fallback import Fallback
from fraud3000.service.entries import Row

ROWS = {
    "memory": "resident memory after five times as many decisions over that after the first of them, same cards",
    "start": "seconds from the command to a service that answers, by snapshots as they are written by default, and without any",
}
ENTRIES = int(os.environ.get("FRAUD3000_BENCH_ENTRIES", "10000000"))
CARDS = int(os.environ.get("FRAUD3000_BENCH_CARDS", "1000000"))
_AT_ONCE = 1_000
_SPAN = 1_000 * 86_400_000_000  # microseconds: a tenth of the decisions fills the longest window of 90 days
_SNAPSHOT = params.Params().serve.snapshot_entries

Figures = dict[str, dict[str, float]]


def measure(wanted: str | None) -> Figures:
    """Decide and store transactions, then start on the stored ones."""
    with tempfile.TemporaryDirectory() as place, chdir(place):
        serve._prepared()  # noqa: SLF001
        Path("service.yaml").write_text("serve: {store: service, flush: normal}\n", encoding="utf-8")
        figures: Figures = {}
        if wanted in (None, "memory"):
            cards = CARDS // 10  # at the first count each has ten transactions
            memory = asyncio.run(_decided("memory", ENTRIES // 2, cards))
            least, most = memory[ENTRIES // 10], memory[ENTRIES // 2]
            figures["keeping_memory"] = {
                "cards": cards,
                "decisions": ENTRIES // 2,
                "mebibytes": round(most / 2**20),
                "over_first": round(most / least, 3),
                "first_decisions": ENTRIES // 10,
                "at_most": 1.15,
            }
            shutil.rmtree("memory")
        if wanted in (None, "start"):
            asyncio.run(_decided("service", ENTRIES, CARDS))
            with_them = _started()
            shutil.rmtree("service/snapshots")
            figures["keeping_start"] = {
                "cards": CARDS,
                "journalled": ENTRIES,
                "seconds": round(with_them, 1),
                "at_most_seconds": 60,
                "without_snapshots_seconds": round(_started(), 1),
                "at_most_without_seconds": 1_200,
            }
        return figures


async def _decided(place: str, entries: int, cards: int) -> dict[int, int]:
    """Decide transactions in a folder and return resident bytes at intervals; the snapshot lacks the newest entries."""
    scorer = fraud3000.load("challenger")
    folder = DataDir(Path(place))
    folder.seed(None, None, {"history": None, "told": "none"})
    kept = folder.open(scorer.catalogue, flush="normal")
    decider = Decider(scorer, bundle.fingerprint(Path("data/models/1")), Fallback())
    engine, memory = DecisionEngine(decider, kept.store, kept.journal, kept.past), {}
    draw, begin = random.Random(7), microseconds(datetime.now(UTC)) - _SPAN
    step = _SPAN // ENTRIES
    with closing(folder), closing(kept.journal):
        for first in range(0, entries, _AT_ONCE):
            rows = [_row(number, begin + number * step, cards, draw) for number in range(first, first + _AT_ONCE)]
            await engine.decide(rows, begin + first * step)
            done = first + _AT_ONCE
            if done % (ENTRIES // 10) == 0:
                gc.collect()
                memory[done] = _resident()
            if done == entries - min(_SNAPSHOT, entries // 2):
                feature_state.save(folder.root, engine.store, kept.journal.end)
    return memory


def _row(number: int, ts: int, cards: int, draw: random.Random) -> Row:
    return {
        "transaction_id": f"K{number}",
        "ts": ts,
        "card_id": f"H{draw.randrange(cards)}",
        "terminal_id": f"T{draw.randrange(2_000):07}",
        "amount": draw.randrange(100, 20_000),
        "status": "approved",
        "card_lat": None,
        "card_long": None,
        "terminal_lat": None,
        "terminal_long": None,
        "category": "food",
    }


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _started() -> float:
    """Return the seconds until the service listens; it is then killed, so that it writes no snapshot."""
    command = [serve.COMMAND, "serve", "--port", "0", "--model", "challenger", "--cold-start", "--json"]
    begin = time.perf_counter()
    running = subprocess.Popen([*command, "--params", "service.yaml"], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        for line in running.stdout:
            if line == "}\n":
                return time.perf_counter() - begin
        raise RuntimeError("the service did not start")
    finally:
        running.kill()
        running.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
