from pathlib import Path

import polars as pl
import pytest

from fraud3000.data.simulation.simulate import SIMULATED
from fraud3000.errors import ParamsError, UnavailableError
from fraud3000.params import Params, parse
from fraud3000.stages.simulate import simulate

SMALL = {"rows": 2_000, "days": 30, "cards": 60, "terminals": 30, "seed": 4}


@pytest.fixture
def params(tmp_path: Path) -> Params:
    return parse({"workspace": str(tmp_path / "data"), "simulate": SMALL})


def test_writes_the_raw_file_of_the_workspace(params: Params, tmp_path: Path) -> None:
    summary = simulate(params)
    path = tmp_path / "data" / "raw" / "transactions.parquet"
    written = pl.read_parquet(path)
    assert summary.outputs == {"transactions": str(path)}
    assert dict(written.schema) == SIMULATED
    assert summary.facts["rows"] == written.height == 2_000
    assert summary.facts["frauds"] == written["is_fraud"].sum()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_summary_counts_frauds_by_scenario(params: Params) -> None:
    summary = simulate(params)
    assert summary.tables[0].columns == ("scenario", "transactions", "amount")
    assert sum(int(rows) for _, rows, _ in summary.tables[0].rows) == summary.facts["frauds"]
    assert not [name for name in summary.facts if "seconds" in name]


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.ndjson"])
def test_the_same_seed_gives_the_same_bytes(params: Params, tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "first" / name, tmp_path / "second" / name
    simulate(params, first)
    simulate(params, second)
    assert first.read_bytes() == second.read_bytes()


def test_text_holds_what_parquet_holds(params: Params, tmp_path: Path) -> None:
    simulate(params)
    simulate(params, tmp_path / "a.csv.gz")
    simulate(params, tmp_path / "a.jsonl")
    ids = ["transaction_id", "card_id", "amount", "is_fraud", "fraud_scenario"]
    wanted = pl.read_parquet(tmp_path / "data" / "raw" / "transactions.parquet").select(ids)
    assert pl.read_csv(tmp_path / "a.csv.gz").select(ids).cast(wanted.schema).equals(wanted)  # type: ignore[arg-type]
    assert pl.read_ndjson(tmp_path / "a.jsonl").select(ids).cast(wanted.schema).equals(wanted)  # type: ignore[arg-type]


def test_an_unknown_kind_of_file_is_refused_before_any_work(params: Params, tmp_path: Path) -> None:
    with pytest.raises(
        ParamsError, match=r"a\.xlsx: this file type cannot be written\nHint: Use one of the endings \.parquet"
    ):
        simulate(params, tmp_path / "a.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place(params: Params, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError):
        simulate(params, tmp_path / "file" / "a.parquet")
