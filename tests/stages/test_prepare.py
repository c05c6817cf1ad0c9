from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud3000.errors import DataError, EmptyDataError
from fraud3000.params import Params, parse
from fraud3000.schema import LEDGER, QUARANTINE
from fraud3000.stages.prepare import prepare

RAW = "id,time,amount,label\na,2024-01-01,5,0\na,2024-01-01,5,1\nb,2024-01-02,x,0\nc,2024-01-03,7,0\nd,2024-01-04,7,1\n"
COLUMNS = {"transaction_id": "id", "ts": "time", "amount": "amount", "is_fraud": "label"}


def params(tmp_path: Path, **section: Any) -> Params:
    settings = {"input": "{workspace}/in/*.csv", "source": "custom", "mapping": {"columns": COLUMNS}} | section
    return Params.model_validate({"workspace": str(tmp_path), "prepare": settings})


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(RAW)
    return tmp_path


def test_writes_transactions_quarantine_and_labels(raw: Path) -> None:
    summary = prepare(params(raw))
    assert summary.facts["rows read"] == 5
    assert [summary.facts[name] for name in ("rows kept", "duplicates", "quarantined")] == [3, 1, 1]
    assert summary.facts["frauds"] == 2
    assert summary.facts["cards"] is None
    assert (summary.facts["first"], summary.facts["last"]) == ("2024-01-01T00:00:00+00:00", "2024-01-04T00:00:00+00:00")
    assert summary.tables[0].rows == (("amount_unreadable", "1", "row 3: amount is 'x'"),)
    interim = raw / "interim"
    assert pl.read_parquet(interim / "transactions.parquet")["transaction_id"].to_list() == ["a", "c", "d"]
    assert dict(pl.read_parquet_schema(interim / "quarantine.parquet")) == QUARANTINE
    ledger = pl.read_parquet(interim / "labels.parquet")
    assert dict(ledger.schema) == LEDGER
    assert ledger["transaction_id"].to_list() == ["d", "a"]
    assert set(summary.outputs.values()) == {str(path) for path in interim.iterdir()}


def test_labels_of_a_file_of_their_own_follow_the_files_own(raw: Path) -> None:
    (raw / "chargebacks.csv").write_text("transaction_id,is_fraud\nc,1\nb,1\n")
    summary = prepare(params(raw, labels={"input": "{workspace}/chargebacks.csv"}))
    assert [summary.facts[name] for name in ("label rows read", "label rows quarantined")] == [2, 1]
    assert (summary.facts["quarantined"], summary.facts["frauds"]) == (1, 3)
    ledger = pl.read_parquet(raw / "interim" / "labels.parquet")
    assert ledger.select("transaction_id", "source").rows() == [("d", "file"), ("a", "file"), ("c", "labels")]
    quarantine = pl.read_parquet(raw / "interim" / "quarantine.parquet")
    assert quarantine["reason"].to_list() == ["amount_unreadable", "label_unknown_transaction"]


def test_values_that_became_null_are_told(raw: Path) -> None:
    (raw / "in" / "a.csv").write_text("id,amount,v\na,5,1\nb,5,two\n")
    mapping = {"columns": {"transaction_id": "id", "amount": "amount"}, "numeric": ["v"]}
    assert "Column v: 1 value could not be read and became null." in prepare(params(raw, mapping=mapping)).warnings


def test_what_the_doctor_finds_is_told(raw: Path) -> None:
    (raw / "in" / "a.csv").write_text("id,amount,kind\na,5,x\nb,6,x\n")
    mapping = {"columns": {"transaction_id": "id", "amount": "amount"}, "categorical": ["kind"]}
    summary = prepare(params(raw, mapping=mapping))
    assert any("a model cannot be trained" in warning for warning in summary.warnings)
    assert any("kind" in row[1] for table in summary.tables for row in table.rows)


@pytest.mark.parametrize(("content", "error"), [("", DataError), ("id,time,amount,label\n1,x,y,z\n", EmptyDataError)])
def test_bad_input_changes_nothing(raw: Path, content: str, error: type[DataError]) -> None:
    prepare(params(raw))
    before = {path: path.read_bytes() for path in (raw / "interim").iterdir()}
    (raw / "in" / "a.csv").write_text(content)
    with pytest.raises(error) as caught:
        prepare(params(raw))
    assert caught.value.hint
    assert {path: path.read_bytes() for path in (raw / "interim").iterdir()} == before


def test_the_same_input_gives_the_same_bytes(raw: Path) -> None:
    prepare(params(raw))
    before = {path: path.read_bytes() for path in (raw / "interim").iterdir()}
    prepare(params(raw))
    assert {path: path.read_bytes() for path in (raw / "interim").iterdir()} == before


def exported(raw: Path, *, damaged: int) -> Path:
    """A file with 1,000 transactions, 100 of them frauds, of which some have an amount that cannot be read."""
    rows = "".join(
        f"t{n},2024-01-{1 + n % 28:02} 10:00,{'?' if n % 10 == 0 and n < 10 * damaged else 5},{int(n % 10 == 0)}\n"
        for n in range(1_000)
    )
    raw.write_text(f"transaction_id,ts,amount,is_fraud\n{rows}")
    return raw


MAPPED = {"columns": {name: name for name in ("transaction_id", "ts", "amount", "is_fraud")}}


def test_rejections_that_depend_on_the_label_are_refused(tmp_path: Path) -> None:
    raw = exported(tmp_path / "raw.csv", damaged=30)
    given = parse(
        {"workspace": str(tmp_path / "w"), "prepare": {"input": str(raw), "source": "custom", "mapping": MAPPED}}
    )
    told = r"30 of 100 frauds were rejected \(30.0%\), but only 0 of 900 other rows \(0.0%\); reasons of all: amount_unreadable \(30\)"
    with pytest.raises(DataError, match=told):
        prepare(given)
    assert not (tmp_path / "w" / "interim").exists() or not list((tmp_path / "w" / "interim").iterdir())


def test_rejections_that_depend_on_the_label_may_be_accepted_and_are_warned_of(tmp_path: Path) -> None:
    raw = exported(tmp_path / "raw.csv", damaged=30)
    section = {"input": str(raw), "source": "custom", "mapping": MAPPED, "rejected_frauds": 0.5}
    done = prepare(parse({"workspace": str(tmp_path / "w"), "prepare": section}))
    assert "30 of 100 frauds were rejected (30.0%), but only 0 of 900 other rows (0.0%)." in done.warnings
