"""The Handbook's published windows, derived from ours: equal on every row but in ties and on edges."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from benchmarks import handbook_features
from fraud3000.labels import visibility
from fraud3000.schema import TIME

WEEK = timedelta(days=7)


def stream(rows: int) -> pl.DataFrame:
    """Few cards and terminals, times on whole hours: ties and edges in plenty."""
    number = pl.int_range(rows)
    return pl.select(
        transaction_id=number.cast(pl.String).str.zfill(5),
        ts=datetime(2024, 1, 1, tzinfo=UTC) + pl.duration(hours=number * 3 // 10),
        card_id=(number * number * 7 % 13).cast(pl.String),
        terminal_id=(number * 11 % 5).cast(pl.String),
        amount=(number * 7919 % 9973).cast(pl.Int64),
        status=pl.lit("approved"),
        labelled=pl.lit(value=True),
        is_fraud=(number % 9 == 0).cast(pl.Int8),
        reported_at=pl.lit(None, dtype=TIME),
        seq=number.cast(pl.Int64),
    )


def test_small_stream_differs_only_in_ties_and_on_edges():
    transactions = stream(2_000)
    found = handbook_features.compare(transactions, visibility.ledger_from_rows(transactions, WEEK))
    assert len(found) == 12
    assert {figures["unexplained"] for figures in found.values()} == {0}
    assert found["card_count_1d"]["differ"] > 0


@pytest.mark.slow
def test_the_whole_published_file():
    folder = os.environ.get("FRAUD3000_DATASETS", "")
    path = Path(folder) / "handbook_transactions.parquet"
    if not folder or not path.exists():
        pytest.skip("FRAUD3000_DATASETS does not name a folder with handbook_transactions.parquet")
    found = handbook_features.compare(*handbook_features.load(path))
    assert {figures["unexplained"] for figures in found.values()} == {0}
    assert (found["card_count_1d"]["tied"], found["card_count_1d"]["on_edge"]) == (58, 81)
