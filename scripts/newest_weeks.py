"""Write the newest two weeks of a raw file to another file: `newest_weeks.py IN OUT`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl


def newest(transactions: pl.LazyFrame, span: timedelta = timedelta(days=14)) -> pl.DataFrame:
    """Return the rows of the last two weeks."""
    return transactions.filter(pl.col("ts") > pl.col("ts").max() - span).collect()


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    newest(pl.scan_parquet(source)).write_parquet(out)
