"""The online engine: how long a transaction takes, what a million cards take of memory, how fast a store is built anew."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraud3000 import labels
from fraud3000.data import clean, sources
from fraud3000.features import catalogue
from fraud3000.features.online import FeatureStore
from fraud3000.params import PrepareModelParams
from fraud3000.schema import TIME, TRANSACTIONS

ROWS = {
    "rebuild": "30 transactions of each of a million cards, 90 days, from frames to a store, and its checksum",
    "memory": "what that store takes",
    "observe": "one transaction more, in that store",
    "hot_terminal": "the same for a terminal of a million transactions in 30 days, beside all others",
    "replay": "the Handbook's 1.75 million transactions and their labels, one by one",
}
DAY = 86_400_000_000
DAYS = 90
A_CARD = 30
TERMINALS_A_CARD = 10
CARDS, HOT_CARDS = 1_000_000, 100_000
HOT = 1_000_000
SLICE = 1_000_000
OBSERVED = 20_000
EVERY = catalogue.default(list(TRANSACTIONS), label_delay=7 * 86_400)

Figures = dict[str, dict[str, float]]


def slices(cards: int, *, hot: int = 0) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """A world's transactions in order, each slice with what was recorded of it: one in 200 is a fraud, told after 7 days.

    Each card goes to a few terminals of its own; the hot terminal takes so many more rows in the last 30 days.
    """
    chance = np.random.default_rng(2018)
    rows, parts = cards * A_CARD, max(cards * A_CARD // SLICE, 1)
    for part in range(parts):
        first, end = part * DAYS * DAY // parts, (part + 1) * DAYS * DAY // parts
        more = hot * (end - first) // (30 * DAY) if first >= (DAYS - 30) * DAY else 0
        yield _slice(chance, cards, (first, end), rows // parts, more, part * SLICE * 10)


def _slice(
    chance: np.random.Generator, cards: int, time_: tuple[int, int], rows: int, hot: int, place: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    ts = np.sort(chance.integers(*time_, rows + hot))
    card, own = chance.integers(0, cards, rows + hot), chance.integers(0, TERMINALS_A_CARD, rows + hot)
    terminal = (card * 7_919 + own * 104_729) % (cards // 20) + 1
    terminal[chance.permutation(rows + hot)[:hot]] = 0
    numbers = pl.DataFrame({"ts": ts, "card": card, "terminal": terminal, "place": np.arange(place, place + len(ts))})
    frame = numbers.select(
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
        **{name: pl.col(role).hash(seed) % 18_000 / 100 - 90 for seed, (name, role) in enumerate(_PLACES)},
    )
    return frame, labels.ledger_of(frame, timedelta(days=7))


_PLACES = [(f"{role}_{part}", role) for role in ("card", "terminal") for part in ("lat", "long")]


def built(cards: int, *, hot: int = 0) -> tuple[FeatureStore, float]:
    """A store of a world, and the seconds it took, those of making the world left out."""
    store, seconds = FeatureStore(EVERY), 0.0
    for transactions, ledger in slices(cards, hot=hot):
        start = time.perf_counter()
        store.absorb(transactions, ledger)
        seconds += time.perf_counter() - start
        print(f"{len(store):,} rows, {seconds:.1f} s", file=sys.stderr, flush=True)
    return store, seconds


def rebuild(store: FeatureStore, seconds: float) -> dict[str, float]:
    """How fast it was built."""
    start = time.perf_counter()
    store.checksum()
    checked = time.perf_counter() - start
    return {"rows": len(store), "seconds": round(seconds, 1), "checksum_seconds": round(checked, 1)}


def memory(store: FeatureStore) -> dict[str, float]:
    """What it takes, by part, in GB."""
    parts = {name.replace(" ", "_"): round(size / 1e9, 3) for name, size in store.memory().items()}
    told = {"gb": round(sum(store.memory().values()) / 1e9, 2), "peak_gb": round(_peak(), 2)}
    return {**told, "bytes_a_card": round(sum(store.memory().values()) / CARDS), **parts}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def observe(store: FeatureStore) -> dict[str, float]:
    """Microseconds for a transaction of any card."""
    seconds = [_timed(store, row) for row in _more(CARDS, "m%d")]
    return {"features": len(EVERY.features), **_quantiles(seconds)}


def hot_terminal() -> dict[str, float]:
    """Microseconds at a terminal of a million transactions, and at others, by turns."""
    store, _ = built(HOT_CARDS, hot=HOT)
    others = [row for row in _more(HOT_CARDS, "m%d")]
    hot = [row for row in _more(HOT_CARDS, "m0")]
    told = [(_timed(store, one), _timed(store, two)) for one, two in zip(others, hot, strict=True)]
    usual, busy = (_quantiles(list(seconds)) for seconds in zip(*told, strict=True))
    ratio = round(busy["median_us"] / usual["median_us"], 2)
    return {"ratio": ratio, **{f"{name}_hot": value for name, value in busy.items()}, **usual}


def _more(cards: int, terminal: str) -> Iterator[dict[str, Any]]:
    chance = np.random.default_rng(2019)
    for place in range(OBSERVED):
        card = int(chance.integers(cards))
        own = (card * 7_919 + int(chance.integers(TERMINALS_A_CARD)) * 104_729) % (cards // 20) + 1
        yield {
            "transaction_id": f"more {terminal}{place}",
            "ts": DAYS * DAY + place * 1_000,
            "card_id": f"c{card}",
            "terminal_id": terminal % own if "%" in terminal else terminal,
            "amount": 1_234,
            **{name: 1.5 for name, _ in _PLACES},
        }


def _timed(store: FeatureStore, row: dict[str, Any]) -> float:
    start = time.perf_counter()
    store.observe(row)
    return time.perf_counter() - start


def _quantiles(seconds: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(seconds, n=100)
    return {"median_us": round(cut[49] * 1e6, 1), "p99_us": round(cut[98] * 1e6, 1)}


def replay() -> dict[str, float]:
    """Rows a second through `observe`, each record before the first transaction that may know it."""
    path = Path(os.environ["FRAUD3000_DATASETS"]) / "handbook_transactions.parquet"
    prepared = PrepareModelParams(input=str(path))
    cleaned = clean.clean(sources.read(path, prepared), prepared)
    return {}


def measure(wanted: str | None) -> Figures:
    """The figures of one row, or of all that can be measured here."""
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
