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
ROWS_PER_CARD = 30
TERMINALS_PER_CARD = 10
CARDS_PER_TERMINAL = 50
CARDS, HOT_CARDS = 1_000_000, 100_000
HOT_ROWS = 1_000_000
SLICE_ROWS = 250_000
SAMPLE_ROWS = 1_000_000
OBSERVED_ROWS = 20_000
COORDINATES = [(f"{role}_{part}", role) for role in ("card", "terminal") for part in ("lat", "long")]
CATALOGUE = default_catalogue(list(TRANSACTIONS), label_delay=7 * 86_400)

Figures = dict[str, dict[str, float]]


def slices(cards: int, *, hot: int = 0) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield transactions in time order, each slice with the labels recorded in its time: 1 in 200 is a fraud, reported after 7 days.

    Each card uses a few terminals of its own; the hot terminal has additional rows in the last 30 days.
    """
    source = np.random.default_rng(2018)
    rows, parts = cards * ROWS_PER_CARD, max(cards * ROWS_PER_CARD // SLICE_ROWS, 1)
    waiting = pl.DataFrame(schema=LEDGER)
    for part in range(parts):
        first, end = part * DAYS * DAY // parts, (part + 1) * DAYS * DAY // parts
        hot_rows = hot * (end - first) // (30 * DAY) if first >= (DAYS - 30) * DAY else 0
        transactions = _slice(source, cards, (first, end), rows // parts, hot_rows, part * SLICE_ROWS * 10)
        waiting = pl.concat([waiting, visibility.ledger_from_rows(transactions, timedelta(days=7))])
        due = pl.col("recorded_at").dt.epoch("us") < end
        yield transactions, waiting.filter(due)
        waiting = waiting.filter(~due)


def _slice(
    source: np.random.Generator, cards: int, interval: tuple[int, int], rows: int, hot: int, first_seq: int
) -> pl.DataFrame:
    ts = np.sort(source.integers(*interval, rows + hot))
    card, choice = source.integers(0, cards, rows + hot), source.integers(0, TERMINALS_PER_CARD, rows + hot)
    terminal = (card * 7_919 + choice * 104_729) % (cards // CARDS_PER_TERMINAL) + 1
    terminal[source.permutation(rows + hot)[:hot]] = 0
    numbers = pl.DataFrame(
        {"ts": ts, "card": card, "terminal": terminal, "seq": np.arange(first_seq, first_seq + len(ts))}
    )
    return numbers.select(
        transaction_id=pl.format("t{}", "seq"),
        ts=pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        card_id=pl.format("c{}", "card"),
        terminal_id=pl.format("m{}", "terminal"),
        amount=pl.Series(source.integers(100, 50_000, len(ts))),
        status=pl.lit("approved"),
        is_fraud=pl.Series(source.random(len(ts)) < 1 / 200).cast(pl.Int8),
        labelled=pl.lit(value=True),
        seq="seq",
        reported_at=pl.lit(None, dtype=TIME),
        **{name: pl.col(role).hash(seed) % 18_000 / 100 - 90 for seed, (name, role) in enumerate(COORDINATES)},
    )


def build(cards: int, *, hot: int = 0) -> tuple[FeatureStore, dict[str, float]]:
    """Build a store from Parquet, and return it with the seconds, without those of the simulation."""
    store, seconds, core = FeatureStore(CATALOGUE), 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("transactions.parquet", "labels.parquet")]
        for frames in slices(cards, hot=hot):
            for frame, file in zip(frames, files, strict=True):
                frame.write_parquet(file)
            start, started = time.perf_counter(), time.process_time()
            store.absorb(*(pl.read_parquet(file) for file in files))
            seconds, core = seconds + time.perf_counter() - start, core + time.process_time() - started
            print(f"{len(store):,} rows in {seconds:.1f} s, {core:.1f} s of a core", file=sys.stderr, flush=True)
    return store, {"seconds": round(seconds, 1), "core_seconds": round(core, 1)}


def rebuild(store: FeatureStore, seconds: dict[str, float]) -> dict[str, float]:
    """Measure the speed of building a store, and check a sample against row-by-row observation."""
    start = time.perf_counter()
    store.checksum()
    checked = time.perf_counter() - start
    absorbed, observed = FeatureStore(CATALOGUE), FeatureStore(CATALOGUE)
    for transactions, ledger in slices(SAMPLE_ROWS // ROWS_PER_CARD):
        absorbed.absorb(transactions, ledger)
        _observe_all(observed, transactions, ledger)
    if absorbed.checksum() != observed.checksum():
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
    totals = {"gb": round(sum(store.memory().values()) / 1e9, 2), "peak_gb": round(_peak(), 2)}
    return {**totals, "bytes_a_card": round(sum(store.memory().values()) / CARDS), **parts}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def observe(store: FeatureStore) -> dict[str, float]:
    """Measure microseconds for a transaction of any card."""
    seconds = [_timed(store, row) for row in _more(CARDS, "m%d")]
    return {"features": len(CATALOGUE.features), **_quantiles(seconds)}


def hot_terminal() -> dict[str, float]:
    """Measure microseconds at a terminal with a million transactions and at others, alternately."""
    store, _ = build(HOT_CARDS, hot=HOT_ROWS)
    others = list(_more(HOT_CARDS, "m%d"))
    hot = list(_more(HOT_CARDS, "m0"))
    pairs = [(_timed(store, other), _timed(store, at_hot)) for other, at_hot in zip(others, hot, strict=True)]
    usual, busy = _quantiles([other for other, _ in pairs]), _quantiles([at_hot for _, at_hot in pairs])
    ratio = round(busy["core_median_us"] / usual["core_median_us"], 2)
    return {"ratio": ratio, **{f"{name}_hot": value for name, value in busy.items()}, **usual}


def _more(cards: int, terminal: str) -> Iterator[dict[str, Any]]:
    source = np.random.default_rng(2019)
    for number in range(OBSERVED_ROWS):
        card = int(source.integers(cards))
        own_terminal = (card * 7_919 + int(source.integers(TERMINALS_PER_CARD)) * 104_729) % (
            cards // CARDS_PER_TERMINAL
        ) + 1
        yield {
            "transaction_id": f"more {terminal}{number}",
            "ts": DAYS * DAY + number * 1_000,
            "card_id": f"c{card}",
            "terminal_id": terminal % own_terminal if "%" in terminal else terminal,
            "amount": 1_234,
            **{name: 1.5 for name, _ in COORDINATES},
        }


def _timed(store: FeatureStore, row: dict[str, Any]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds: other load on the machine affects only the first."""
    start, started = time.perf_counter(), time.thread_time()
    store.observe(row)
    return time.perf_counter() - start, time.thread_time() - started


def _quantiles(seconds: list[tuple[float, float]]) -> dict[str, float]:
    wall, core = (statistics.quantiles(each, n=100) for each in zip(*seconds, strict=True))
    figures = {"median_us": wall[49], "p99_us": wall[98], "core_median_us": core[49], "core_p99_us": core[98]}
    return {name: round(value * 1e6, 1) for name, value in figures.items()}


def replay() -> dict[str, float]:
    """Measure rows a second through `observe`, each label record before the first transaction that may know it."""
    transactions, ledger = load(Path(os.environ["FRAUD3000_DATASETS"]) / "handbook_transactions.parquet")
    columns = [name for name in TRANSACTIONS if name in transactions.columns]
    store = FeatureStore(default_catalogue(columns, label_delay=7 * 86_400))
    start = time.perf_counter()
    _observe_all(store, transactions, ledger)
    seconds = time.perf_counter() - start
    return {"rows": len(store), "features": len(store.catalogue.features), "rows_a_second": round(len(store) / seconds)}


def measure(row: str | None) -> Figures:
    """Measure one row, or all rows that this machine can measure."""
    figures: Figures = {}
    if row in {None, "rebuild", "memory", "observe"}:
        store, seconds = build(CARDS)
        figures |= {"memory": memory(store), "rebuild": rebuild(store, seconds), "observe": observe(store)}
        del store
    if row in {None, "hot_terminal"}:
        figures["hot_terminal"] = hot_terminal()
    if row == "replay" or (row is None and "FRAUD3000_DATASETS" in os.environ):
        figures["replay"] = replay()
    return {f"online_{name}": values for name, values in figures.items() if row in {None, name}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
