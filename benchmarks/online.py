"""Online feature engine: time per transaction, memory of a million cards, speed of rebuilding a store."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from handbook_features import load

from fraud3000.features.default_features import default_catalogue
from fraud3000.features.online import FeatureStore
from fraud3000.labels import visibility
from fraud3000.schema import LEDGER, TIME, TRANSACTIONS

ROWS = {
    "rebuild": "30 transactions of each of a million cards, 90 days, from Parquet to a store; a million rows also one by one",
    "memory": "what that store takes",
    "observe": "one transaction more, in that store",
    "hot_terminal": "the same for a terminal of a million transactions in 30 days, beside all others",
    "replay": "the Handbook's 1.75 million transactions and their labels, one by one",
}
DAY = 86_400_000_000
DAYS = 90
A_CARD = 30
TERMINALS_A_CARD = 10
A_TERMINAL = 50  # cards per terminal
CARDS, HOT_CARDS = 1_000_000, 100_000
HOT = 1_000_000
SLICE = 250_000
SAMPLE = 1_000_000
OBSERVED = 20_000
PLACES = [(f"{role}_{part}", role) for role in ("card", "terminal") for part in ("lat", "long")]
EVERY = default_catalogue(list(TRANSACTIONS), label_delay=7 * 86_400)

Figures = dict[str, dict[str, float]]


def slices(cards: int, *, hot: int = 0) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield transactions in time order, each slice with the labels recorded in its time: 1 in 200 is a fraud, reported after 7 days.

    Each card uses a few terminals of its own; the hot terminal has additional rows in the last 30 days.
    """
    chance = np.random.default_rng(2018)
    rows, parts = cards * A_CARD, max(cards * A_CARD // SLICE, 1)
    waiting = pl.DataFrame(schema=LEDGER)
    for part in range(parts):
        first, end = part * DAYS * DAY // parts, (part + 1) * DAYS * DAY // parts
        more = hot * (end - first) // (30 * DAY) if first >= (DAYS - 30) * DAY else 0
        transactions = _slice(chance, cards, (first, end), rows // parts, more, part * SLICE * 10)
        waiting = pl.concat([waiting, visibility.ledger_from_rows(transactions, timedelta(days=7))])
        due = pl.col("recorded_at").dt.epoch("us") < end
        yield transactions, waiting.filter(due)
        waiting = waiting.filter(~due)


def _slice(
    chance: np.random.Generator, cards: int, time_: tuple[int, int], rows: int, hot: int, place: int
) -> pl.DataFrame:
    ts = np.sort(chance.integers(*time_, rows + hot))
    card, own = chance.integers(0, cards, rows + hot), chance.integers(0, TERMINALS_A_CARD, rows + hot)
    terminal = (card * 7_919 + own * 104_729) % (cards // A_TERMINAL) + 1
    terminal[chance.permutation(rows + hot)[:hot]] = 0
    numbers = pl.DataFrame({"ts": ts, "card": card, "terminal": terminal, "place": np.arange(place, place + len(ts))})
    return numbers.select(
        transaction_id=pl.format("t{}", "place"),
        ts=pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        card_id=pl.format("c{}", "card"),
        terminal_id=pl.format("m{}", "terminal"),
        amount=pl.Series(chance.integers(100, 50_000, len(ts))),
        status=pl.lit("approved"),
        is_fraud=pl.Series(chance.random(len(ts)) < 1 / 200).cast(pl.Int8),
        labelled=pl.lit(value=True),
        seq="place",
        reported_at=pl.lit(None, dtype=TIME),
        **{name: pl.col(role).hash(seed) % 18_000 / 100 - 90 for seed, (name, role) in enumerate(PLACES)},
    )


def built(cards: int, *, hot: int = 0) -> tuple[FeatureStore, dict[str, float]]:
    """Build a store from Parquet, and return it with the seconds, without those of the simulation."""
    store, seconds, own = FeatureStore(EVERY), 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("transactions.parquet", "labels.parquet")]
        for made in slices(cards, hot=hot):
            for frame, file in zip(made, files, strict=True):
                frame.write_parquet(file)
            start, worked = time.perf_counter(), time.process_time()
            store.absorb(*(pl.read_parquet(file) for file in files))
            seconds, own = seconds + time.perf_counter() - start, own + time.process_time() - worked
            print(f"{len(store):,} rows in {seconds:.1f} s, {own:.1f} s of a core", file=sys.stderr, flush=True)
    return store, {"seconds": round(seconds, 1), "core_seconds": round(own, 1)}


def rebuild(store: FeatureStore, seconds: dict[str, float]) -> dict[str, float]:
    """Measure the speed of building a store, and check a sample against row-by-row observation."""
    start = time.perf_counter()
    store.checksum()
    checked = time.perf_counter() - start
    taken, observed = FeatureStore(EVERY), FeatureStore(EVERY)
    for transactions, ledger in slices(SAMPLE // A_CARD):
        taken.absorb(transactions, ledger)
        _observe_all(observed, transactions, ledger)
    if taken.checksum() != observed.checksum():
        raise AssertionError("the rebuilt sample differs from the observed one")
    return {"rows": len(store), **seconds, "checksum_seconds": round(checked, 1), "equal_sample_rows": len(observed)}


def _observe_all(store: FeatureStore, transactions: pl.DataFrame, ledger: pl.DataFrame) -> None:
    """Observe row by row, each label record before the first transaction that may know it."""
    epoch = pl.col(pl.Datetime).dt.epoch("us")
    records = deque(ledger.sort("recorded_at", maintain_order=True).with_columns(epoch).rows(named=True))
    for row in transactions.sort("seq").with_columns(epoch).iter_rows(named=True):
        while records and records[0]["recorded_at"] < row["ts"]:
            store.record_label(**records.popleft())
        store.observe(row)
    while records:
        store.record_label(**records.popleft())


def memory(store: FeatureStore) -> dict[str, float]:
    """Measure memory by part, in GB."""
    parts = {name.replace(" ", "_"): round(size / 1e9, 3) for name, size in store.memory().items()}
    told = {"gb": round(sum(store.memory().values()) / 1e9, 2), "peak_gb": round(_peak(), 2)}
    return {**told, "bytes_a_card": round(sum(store.memory().values()) / CARDS), **parts}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def observe(store: FeatureStore) -> dict[str, float]:
    """Measure microseconds for a transaction of any card."""
    seconds = [_timed(store, row) for row in _more(CARDS, "m%d")]
    return {"features": len(EVERY.features), **_quantiles(seconds)}


def hot_terminal() -> dict[str, float]:
    """Measure microseconds at a terminal with a million transactions and at others, alternately."""
    store, _ = built(HOT_CARDS, hot=HOT)
    others = list(_more(HOT_CARDS, "m%d"))
    hot = list(_more(HOT_CARDS, "m0"))
    told = [(_timed(store, one), _timed(store, two)) for one, two in zip(others, hot, strict=True)]
    usual, busy = _quantiles([one for one, _ in told]), _quantiles([two for _, two in told])
    ratio = round(busy["core_median_us"] / usual["core_median_us"], 2)
    return {"ratio": ratio, **{f"{name}_hot": value for name, value in busy.items()}, **usual}


def _more(cards: int, terminal: str) -> Iterator[dict[str, Any]]:
    chance = np.random.default_rng(2019)
    for place in range(OBSERVED):
        card = int(chance.integers(cards))
        own = (card * 7_919 + int(chance.integers(TERMINALS_A_CARD)) * 104_729) % (cards // A_TERMINAL) + 1
        yield {
            "transaction_id": f"more {terminal}{place}",
            "ts": DAYS * DAY + place * 1_000,
            "card_id": f"c{card}",
            "terminal_id": terminal % own if "%" in terminal else terminal,
            "amount": 1_234,
            **{name: 1.5 for name, _ in PLACES},
        }


def _timed(store: FeatureStore, row: dict[str, Any]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds: other load on the machine affects only the first."""
    start, worked = time.perf_counter(), time.thread_time()
    store.observe(row)
    return time.perf_counter() - start, time.thread_time() - worked


def _quantiles(seconds: list[tuple[float, float]]) -> dict[str, float]:
    passed, own = (statistics.quantiles(each, n=100) for each in zip(*seconds, strict=True))
    told = {"median_us": passed[49], "p99_us": passed[98], "core_median_us": own[49], "core_p99_us": own[98]}
    return {name: round(value * 1e6, 1) for name, value in told.items()}


def replay() -> dict[str, float]:
    """Measure rows a second through `observe`, each label record before the first transaction that may know it."""
    transactions, ledger = load(Path(os.environ["FRAUD3000_DATASETS"]) / "handbook_transactions.parquet")
    told = [name for name in TRANSACTIONS if name in transactions.columns]
    store = FeatureStore(default_catalogue(told, label_delay=7 * 86_400))
    start = time.perf_counter()
    _observe_all(store, transactions, ledger)
    seconds = time.perf_counter() - start
    return {"rows": len(store), "features": len(store.catalogue.features), "rows_a_second": round(len(store) / seconds)}


def measure(wanted: str | None) -> Figures:
    """Measure one row, or all rows that this machine can measure."""
    found: Figures = {}
    if wanted in {None, "rebuild", "memory", "observe"}:
        store, seconds = built(CARDS)
        found |= {"memory": memory(store), "rebuild": rebuild(store, seconds), "observe": observe(store)}
        del store
    if wanted in {None, "hot_terminal"}:
        found["hot_terminal"] = hot_terminal()
    if wanted == "replay" or (wanted is None and "FRAUD3000_DATASETS" in os.environ):
        found["replay"] = replay()
    return {f"online_{name}": figures for name, figures in found.items() if wanted in {None, name}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
