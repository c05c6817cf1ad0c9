"""What commands report about categories and about values that became null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from fraud3000 import params as params_files
from fraud3000.models.inference.scorer import Scorer
from fraud3000.stages.prepare import prepare
from fraud3000.stages.score_file import score_file
from fraud3000.stages.shared import category_tables
from fraud3000.stages.shared.summary import Summary
from tests.models.test_category_counts import trained as truncated

RAW = "data/raw/transactions.parquet"


def scored(folder: Path, **columns: Any) -> Summary:
    pl.read_parquet(RAW).tail(200).with_columns(**columns).write_parquet(folder / "new.parquet")
    return score_file(str(folder / "new.parquet"), out=folder / "out.parquet", model="challenger")


def test_score_file_reports_the_share_of_unknown_categories(in_trained: Path, tmp_path: Path) -> None:
    done = scored(tmp_path)
    table = next(table for table in done.tables if table.title == "Categories unknown to the model")
    assert table.rows[0][:4] == ("category", "200", "0", "0.0%")
    assert not [warning for warning in done.warnings if "category" in warning]


def test_score_file_warns_if_categories_are_unknown_or_missing(in_trained: Path, tmp_path: Path) -> None:
    unknown = scored(tmp_path, category=pl.col("category") + "s")
    assert [
        warning for warning in unknown.warnings if warning.startswith("column category: 200 of 200 values (100.0%)")
    ]
    missing = scored(tmp_path, category=pl.lit(None, pl.String))
    assert [warning for warning in missing.warnings if "are missing, 0.0% in training" in warning]


def test_score_file_and_prepare_report_the_same_values_that_became_null(in_trained: Path, tmp_path: Path) -> None:
    unreadable = {"card_lat": pl.lit("1,5"), "terminal_long": pl.lit(200.0)}
    warnings = scored(tmp_path, **unreadable).warnings
    lost = [f"Column {name}: all 200 values could not be read and became null." for name in unreadable]
    assert set(lost) <= set(warnings)
    params = params_files.load()
    section = params.prepare.model_copy(update={"input": str(tmp_path / "new.parquet")})
    again = prepare(params.model_copy(update={"prepare": section, "workspace": str(tmp_path / "data")}))
    assert set(lost) <= set(again.warnings)


def test_score_file_reports_what_became_null_in_its_history(in_trained: Path, tmp_path: Path) -> None:
    raw = pl.read_parquet(RAW).sort("ts")
    raw.head(-200).with_columns(card_lat=pl.lit("1,5")).write_parquet(tmp_path / "history.parquet")
    raw.tail(200).write_parquet(tmp_path / "new.parquet")
    done = score_file(
        str(tmp_path / "new.parquet"),
        out=tmp_path / "out.parquet",
        history=str(tmp_path / "history.parquet"),
        model="challenger",
    )
    assert (
        f"history: Column card_lat: all {raw.height - 200:,} values could not be read and became null." in done.warnings
    )


def test_train_records_the_categories_in_the_bundle(in_trained: Path) -> None:
    column = Scorer.load(Path("data/models/1")).trained_categories["category"]
    assert (column.kept, column.train.unknown, column.valid.unknown) == (column.values, 0, 0)
    assert column.train.rows > 1_000 < column.valid.rows


def test_train_says_which_categories_are_not_kept() -> None:
    table = category_tables.truncated(truncated())[0]
    assert table.rows == (("shop", "300", "250", "550", "16.7%"), ("rare", "3,300", "0", "3,300", "100.0%"))
    said = list(category_tables.truncation_warnings(truncated()))
    assert said[0].startswith(
        "column shop: 250 of 300 values are kept; the other 50, in 550 training rows (16.7%), read as"
    )
