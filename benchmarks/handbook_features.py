"""Compare our features with other implementations on the Fraud Detection Handbook's 1.75 million transactions: values, speed.

Their windows are (t - w, t] and include the current row; ours are [t - w, t) and do not. So ours plus the current row
must equal theirs, except if another event of the key is at the same second (a tie) or exactly on an edge.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa

from fraud3000.data.cleaning import clean, sources
from fraud3000.features.batch import batch_engine
from fraud3000.features.default_features import default_catalogue
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import LabelWindow, Window
from fraud3000.labels import visibility
from fraud3000.params import PrepareModelParams

ROWS = {
    "equality": "the 12 published windows derived from ours, row by row",
    "speed": "the 12 windows by us, by the Handbook's pandas, by DuckDB's window SQL and by plain polars expressions",
    "catalogue": "read, the default catalogue and write beside read, sort and write of as many columns",
}
DAYS = (1, 7, 30)
DELAY = 7
NEEDED = (
    "transaction_id",
    "ts",
    "card_id",
    "terminal_id",
    "amount",
    "status",
    "labelled",
    "seq",
    "is_fraud",
    "reported_at",
)

CATALOGUE = Catalogue(
    features=(
        *(Window("card_id", f"{days}d", agg) for days in DAYS for agg in ("count", "sum", "mean")),
        *(
            LabelWindow("terminal_id", f"{days}d", agg, delay=f"{DELAY}d")
            for days in DAYS
            for agg in ("labelled", "rate")
        ),
    ),
    label_delay=DELAY * 86_400,
)
TWELVE = CATALOGUE.without(f"card_amount_sum_{days}d" for days in DAYS)


def published(transactions: pl.DataFrame) -> pl.DataFrame:
    """Compute the Handbook's 12 windows in its own way: pandas, customer by customer, then terminal by terminal.

    Each group is sorted by time and gets its columns; then all groups are concatenated and sorted again.

    References
    ----------
    Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection" (2022), chapter 3.3.
    """
    ids = pl.col("transaction_id", "card_id", "terminal_id").cast(pl.Int64)  # integers, as in the published file
    frame = transactions.select(ids, "ts", "amount", "is_fraud", "seq").to_pandas()
    for key, windows in (("card_id", _of_card), ("terminal_id", _of_terminal)):
        frame = frame.groupby(key)[list(frame.columns)].apply(windows)
        frame = frame.reset_index(drop=True).sort_values(["ts", "seq"]).reset_index(drop=True)
    names = [name for name in frame.columns if name not in transactions.columns]
    return pl.DataFrame({name: frame[name].to_numpy() for name in names})


def _of_card(rows: pd.DataFrame) -> pd.DataFrame:
    """Add count and mean amount of one card's rows in (t - days, t]."""
    rows = rows.sort_values(["ts", "seq"])
    spent = rows.set_index("ts")["amount"]
    for days in DAYS:
        total, count = spent.rolling(f"{days}D").sum(), spent.rolling(f"{days}D").count()
        rows[f"card_count_{days}d"] = list(count)
        rows[f"card_amount_mean_{days}d"] = list(total / count)
    return rows


def _of_terminal(rows: pd.DataFrame) -> pd.DataFrame:
    """Add count and fraud rate of one terminal's rows in (t - delay - days, t - delay]."""
    rows = rows.sort_values(["ts", "seq"])
    fraud = rows.set_index("ts")["is_fraud"]
    seen, frauds = fraud.rolling(f"{DELAY}D").count(), fraud.rolling(f"{DELAY}D").sum()
    for days in DAYS:
        count = fraud.rolling(f"{DELAY + days}D").count() - seen
        found = fraud.rolling(f"{DELAY + days}D").sum() - frauds
        rows[f"terminal_count_{days}d"] = list(count)
        rows[f"terminal_rate_{days}d"] = list((found / count).fillna(0))
    return rows


def derived(transactions: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """Derive the same windows from ours: add the current row to those of cards; those of terminals are the same."""
    ours = batch_engine.featurize(transactions, ledger, CATALOGUE).with_columns(transactions["amount"].alias("spent"))
    columns = []
    for days in DAYS:
        count = pl.col(f"card_count_{days}d") + 1
        columns.append(count.alias(f"card_count_{days}d"))
        columns.append(
            ((pl.col(f"card_amount_sum_{days}d") + pl.col("spent")) / count).alias(f"card_amount_mean_{days}d")
        )
    for days in DAYS:
        name = f"{days}d_delayed_{DELAY}d"
        columns.append(pl.col(f"terminal_labelled_{name}").alias(f"terminal_count_{days}d"))
        columns.append(pl.col(f"terminal_fraud_rate_{name}").fill_null(0).alias(f"terminal_rate_{days}d"))
    return ours.select(columns)


def compare(transactions: pl.DataFrame, ledger: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count for each window: rows, rows in a tie, other rows on an edge, rows that differ, and unexplained differences."""
    theirs, ours = published(transactions), derived(transactions, ledger)
    found = {}
    for name in theirs.columns:
        key, days = name.split("_")[0] + "_id", int(name.split("_")[-1][:-1])
        exact = name.endswith(f"count_{days}d")
        near = (theirs[name] - ours[name]).abs()
        differs = near > (0 if exact else 1e-9 * theirs[name].abs())
        tied = _tied(transactions) if key == "card_id" else pl.repeat(value=False, n=len(differs), eager=True)
        edges = (days,) if key == "card_id" else (DELAY, DELAY + days)
        edge = transactions.select(pl.any_horizontal(_on_edge(transactions, key, at) for at in edges)).to_series()
        found[name] = {
            "rows": len(differs),
            "tied": int(tied.sum()),
            "on_edge": int((edge & ~tied).sum()),
            "differ": int(differs.sum()),
            "unexplained": int((differs & ~tied & ~edge).sum()),
        }
    return found


def _tied(transactions: pl.DataFrame) -> pl.Series:
    """Select rows with another row of their card at the same time."""
    return transactions.select(pl.len().over("card_id", "ts") > 1).to_series()


def _on_edge(transactions: pl.DataFrame, key: str, days: int) -> pl.Series:
    """Select rows with an event of their key exactly the window's days before."""
    events = transactions.select(key, ts=pl.col("ts") + timedelta(days=days), on_edge=pl.lit(value=True)).unique()
    joined = transactions.select(key, "ts").join(events, on=[key, "ts"], how="left", maintain_order="left")
    return joined["on_edge"].fill_null(value=False)


def speed(transactions: pl.DataFrame, ledger: pl.DataFrame, runs: int = 5) -> dict[str, float]:
    """Measure median seconds of ours and of plain polars alternately, of DuckDB three times, and of pandas once.

    The others read integer keys and label columns; ours reads text keys and the ledger.
    """
    plain = transactions.select(
        pl.col("card_id", "terminal_id").cast(pl.Int64),
        "ts",
        "amount",
        pl.col("is_fraud").cast(pl.Int64),
        one=pl.lit(1, dtype=pl.Int64),
    )
    batch_engine.featurize(transactions, ledger, TWELVE)  # compiles the kernels, if no earlier run did
    ours, polars = [], []
    for _ in range(runs):
        ours.append(_seconds(lambda: batch_engine.featurize(transactions, ledger, TWELVE)))
        polars.append(_seconds(lambda: by_polars(plain)))
    duck = statistics.median(_seconds(lambda: by_duckdb(plain)) for _ in range(3))
    pandas = _seconds(lambda: published(transactions))
    own = statistics.median(ours)
    return {
        "ours_seconds": round(own, 3),
        "pandas_seconds": round(pandas, 2),
        "times_faster_than_pandas": round(pandas / own, 1),
        "pandas_at_least": 45,
        "duckdb_seconds": round(duck, 2),
        "times_faster_than_duckdb": round(duck / own, 1),
        "duckdb_at_least": 4,
        "polars_seconds": round(statistics.median(polars), 3),
        "times_faster_than_polars": round(statistics.median(p / o for p, o in zip(polars, ours, strict=True)), 2),
        "polars_at_least": 0.9,
    }


def by_polars(plain: pl.DataFrame) -> pl.DataFrame:
    """Compute the 12 windows as rolling expressions in one `with_columns`; labels count from the start of their window."""

    def rolling(column: str, days: int, key: str) -> pl.Expr:
        return pl.col(column).rolling_sum_by("ts", window_size=f"{days}d", closed="left").over(key)

    def delayed(column: str, days: int) -> pl.Expr:
        return rolling(column, DELAY + days, "terminal_id") - rolling(column, DELAY, "terminal_id")

    windows = {}
    for days in DAYS:
        windows[f"card_count_{days}d"] = rolling("one", days, "card_id")
        windows[f"card_mean_{days}d"] = rolling("amount", days, "card_id") / rolling("one", days, "card_id")
        windows[f"terminal_count_{days}d"] = delayed("one", days)
        windows[f"terminal_rate_{days}d"] = delayed("is_fraud", days) / delayed("one", days)
    return plain.lazy().with_columns(**windows).collect()


def by_duckdb(plain: pl.DataFrame) -> pa.Table:
    """Compute the 12 windows in SQL, [t - days, t) and [t - delay - days, t - delay) to the microsecond."""
    columns, windows = [], []
    for days in DAYS:
        columns += [
            f"count(*) over c{days}, avg(amount) over c{days}, count(*) over t{days}, avg(is_fraud) over t{days}"
        ]
        windows += [
            (
                f"c{days} as (partition by card_id order by ts range between interval {days} day preceding "
                "and interval 1 microsecond preceding)"
            ),
            (
                f"t{days} as (partition by terminal_id order by ts range between interval {DELAY + days} day preceding "
                f"and interval '{DELAY * 86_400_000_000 + 1}' microsecond preceding)"
            ),
        ]
    with duckdb.connect() as connection:
        connection.register("plain", plain.to_arrow())
        return connection.sql(f"select {', '.join(columns)} from plain window {', '.join(windows)}").to_arrow_table()


def catalogue(transactions: pl.DataFrame, ledger: pl.DataFrame, runs: int = 5) -> dict[str, float]:
    """Measure the median ratio of read + features + write to read + sort + write of equally many columns, run alternately."""
    declared = default_catalogue(transactions.columns, label_delay=DELAY * 86_400)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "transactions.parquet", Path(folder) / "features.parquet"
        transactions.write_parquet(source)
        features = batch_engine.featurize(transactions, ledger, declared)
        ratios, alone = [], []
        for _ in range(runs):
            file = _seconds(lambda: _read_sort_write(source, features, target))
            ratios.append(_seconds(lambda: _read_featurize_write(source, ledger, declared, target)) / file)
            alone.append(_seconds(lambda: batch_engine.featurize(transactions, ledger, declared)) / file)
    return {
        "features": len(declared.names),
        "times_read_sort_write": round(statistics.median(ratios), 2),
        "at_most": 3,
        "features_alone_times_read_sort_write": round(statistics.median(alone), 2),
    }


def _read_sort_write(source: Path, features: pl.DataFrame, target: Path) -> None:
    pl.read_parquet(source).sort("card_id", "ts")
    features.write_parquet(target)


def _read_featurize_write(source: Path, ledger: pl.DataFrame, declared: Catalogue, target: Path) -> None:
    batch_engine.featurize(pl.read_parquet(source), ledger, declared).write_parquet(target)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def load(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the Handbook's file as TRANSACTIONS and LEDGER."""
    prepare = PrepareModelParams(source="handbook")
    ingested = clean.ingest(
        [path],
        sources.resolve(prepare),
        label_delay=prepare.label_delay,
        earliest=prepare.earliest,
        latest=prepare.latest,
    )
    return ingested.transactions.select(NEEDED), visibility.ledger_from_rows(ingested.transactions, prepare.label_delay)


def main() -> int:
    """Print one JSON object: each row's figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", choices=ROWS)
    wanted = parser.parse_args().row
    folder = os.environ.get("FRAUD3000_DATASETS", "")
    if not folder:
        print("FRAUD3000_DATASETS is not set: the Handbook's file is needed", file=sys.stderr)
        return 3
    path = Path(folder) / "handbook_transactions.parquet"
    transactions, ledger = load(path)
    rows: dict[str, Any] = {}
    if wanted in (None, "speed"):
        rows["handbook_windows_speed"] = speed(transactions, ledger)
    if wanted in (None, "catalogue"):
        rows["handbook_default_catalogue"] = catalogue(transactions, ledger)
    if wanted in (None, "equality"):
        rows |= {f"handbook_{name}": figures for name, figures in compare(transactions, ledger).items()}
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
