"""The delay curve of a ledger: what it proposes, what it warns of, and what it leaves open."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.errors import DataError
from fraud3000.params import Params
from fraud3000.schema import LEDGER
from fraud3000.stages.label_status import status
from fraud3000.stages.shared.summary import Summary, Table

RAW = "data/raw/transactions.parquet"


@pytest.fixture
def given(in_trained: Path, tmp_path: Path) -> Params:
    """Params whose reports go to a folder of their own; the workspace's ledger is copied there."""
    params = params_files.load().model_copy(update={"workspace": str(tmp_path / "data")})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "interim").symlink_to(in_trained / "data" / "interim")
    return params


def table(told: Summary, title: str) -> Table:
    return next(one for one in told.tables if one.title.startswith(title))


def days_proposed(told: Summary) -> int:
    found = re.match(r"(\d+)d ", told.facts["proposed label delay"])
    assert found is not None
    return int(found[1])


def test_it_proposes_what_all_reports_would_say(given: Params) -> None:
    raw = pl.read_parquet(RAW).filter(pl.col("is_fraud") == 1)
    took = (raw["reported_at"] - raw["ts"]).dt.total_microseconds() / 86_400e6
    told = status(given)
    found = re.match(r"(\d+)d \((\d+)d to (\d+)d\): 95 %", told.facts["proposed label delay"])
    assert found is not None
    proposed, low, high = map(int, found.groups())
    assert low <= took.sort()[int(0.95 * len(took))] + 1 <= high
    assert low <= proposed <= high
    assert told.facts["configured label delay"] == "7d"
    assert any("prepare.label_delay is 7d, and" in one for one in told.warnings)
    (week,) = [row for row in table(told, "Share of frauds known").rows if row[0] == "7"]
    assert abs(int(week[1].split()[0]) - 100 * (took <= 7).mean()) <= 5  # type: ignore[operator]


def test_on_a_day_of_the_past_it_knows_what_was_known_then(given: Params) -> None:
    at = datetime(2025, 5, 1, tzinfo=UTC)
    told = status(given, as_of=datetime(2025, 5, 1), share=0.8)
    raw = pl.read_parquet(RAW).filter((pl.col("is_fraud") == 1) & (pl.col("reported_at") < at))
    assert told.facts["frauds known"] == raw.height
    trusted = at - timedelta(days=days_proposed(told))
    assert told.facts["metrics can be trusted"] == f"up to {trusted:%Y-%m-%d %H:%M} UTC"
    weeks = table(told, "The last weeks").rows
    assert weeks[-1][0] == "2025-04-24"
    assert sum(int(row[2]) for row in weeks) == raw.filter(pl.col("ts") >= at - timedelta(days=56)).height


def test_a_label_delay_that_is_long_enough_is_not_warned_of(given: Params) -> None:
    patient = given.model_copy(update={"prepare": given.prepare.model_copy(update={"label_delay": timedelta(days=7)})})
    assert not any("label_delay" in one for one in status(patient, share=0.01).warnings)


def test_the_page_holds_the_picture_and_the_tables(given: Params) -> None:
    told = status(given)
    page = Path(told.outputs["page"]).read_text(encoding="utf-8")
    assert "frauds are known" in page
    assert all(row[0] in page for row in table(told, "The last weeks").rows)
    curve = pl.read_csv(told.outputs["curve"])
    assert curve["share"].is_sorted()
    assert curve["share"][-1] == 1
    assert Path(told.outputs["page"]).with_suffix(".svg").read_text(encoding="utf-8").startswith("<svg")
    again = status(given)
    assert Path(again.outputs["page"]).read_text(encoding="utf-8") == page


def test_a_file_tells_its_own_sources_apart(given: Params, tmp_path: Path) -> None:
    ledger = pl.read_parquet(tmp_path / "data" / "interim" / "labels.parquet")
    quick = pl.int_range(pl.len()) % 3 == 0
    rows = pl.read_parquet(tmp_path / "data" / "interim" / "transactions.parquet").select("transaction_id", "ts")
    told = ledger.join(rows, on="transaction_id").with_columns(
        source=pl.when(quick).then(pl.lit("analyst")).otherwise(pl.lit("chargeback")),
        recorded_at=pl.when(quick).then(pl.col("ts") + timedelta(days=1)).otherwise("reported_at"),
    )
    told.select(*LEDGER).write_parquet(tmp_path / "ledger.parquet")
    found = status(given, str(tmp_path / "ledger.parquet"))
    curve = table(found, "Share of frauds known")
    assert curve.columns == ("days", "known", "95 %", "chargeback", "analyst")
    (day,) = [row for row in curve.rows if row[0] == "3"]
    assert day[4] == "100 %"
    assert day[3] != day[4]
    assert found.facts["ledger"] == str(tmp_path / "ledger.parquet")


def test_a_raw_file_is_read_in_the_layout_of_the_params(given: Params, in_trained: Path) -> None:
    found, own = status(given, str(in_trained / RAW)), status(given)
    assert table(found, "Share of frauds known") == table(own, "Share of frauds known")


def test_reports_without_times_give_no_curve(given: Params, tmp_path: Path, in_trained: Path) -> None:
    raw = pl.read_parquet(in_trained / RAW).with_columns(reported_at=pl.lit(None, pl.Datetime("us", "UTC")))
    raw.write_parquet(tmp_path / "raw.parquet")
    told = status(given, str(tmp_path / "raw.parquet"))
    assert told.facts["of them without a time"] == told.facts["frauds known"] > 0
    assert "proposed label delay" not in told.facts
    assert told.warnings == ("no fraud has a time at which it became known: delays cannot be estimated",)
    assert told.outputs == {}


def test_a_workspace_without_labels_is_told(given: Params, tmp_path: Path) -> None:
    empty = given.model_copy(update={"workspace": str(tmp_path / "empty")})
    with pytest.raises(DataError, match="not found"):
        status(empty)
