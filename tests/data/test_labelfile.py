from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud3000.data.cleaning import label_files
from fraud3000.errors import DataError, EmptyDataError, SchemaError
from fraud3000.params import LabelsFile
from fraud3000.schema import LEDGER, QUARANTINE

DAY = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
EARLIEST, LATEST = datetime(1970, 1, 1), datetime(2100, 1, 1)
TRANSACTIONS = pl.DataFrame({"transaction_id": ["a", "b"], "ts": [DAY, DAY + WEEK]}).cast(
    {"ts": pl.Datetime("us", "UTC")}
)


def read(path: Path, content: str, known: pl.DataFrame = TRANSACTIONS, **form: Any) -> label_files.LabelFileResult:
    (path / "labels.csv").write_text(content)
    settings = LabelsFile.model_validate({"input": "unused"} | form)
    return label_files.read([path / "labels.csv"], settings, known, WEEK, earliest=EARLIEST, latest=LATEST)


def test_records_in_the_order_of_the_file(tmp_path: Path) -> None:
    content = "Txn,Fraud,Seen\nb,yes,2024-02-01\na,no,\na,yes,2024-01-02\n"
    labelled = read(tmp_path, content, transaction_id="txn", is_fraud="Fraud", reported_at="seen")
    assert dict(labelled.ledger.schema) == LEDGER
    seen = datetime(2024, 2, 1, tzinfo=UTC)
    assert labelled.ledger.rows() == [
        ("b", 1, "labels", seen, seen),
        ("a", 0, "labels", None, DAY + WEEK),
        ("a", 1, "labels", datetime(2024, 1, 2, tzinfo=UTC), DAY + WEEK),
    ]
    assert labelled.read == 3


def test_a_record_keeps_its_source_and_when_it_was_recorded(tmp_path: Path) -> None:
    content = "transaction_id,is_fraud,by,at\na,1,analyst,2024-01-03\nb,1,,\n"
    ledger = read(tmp_path, content, source="by", recorded_at="at").ledger
    assert ledger.select("source", "recorded_at").rows() == [
        ("analyst", datetime(2024, 1, 3, tzinfo=UTC)),
        ("labels", DAY + 2 * WEEK),
    ]


def test_bad_records_are_quarantined(tmp_path: Path) -> None:
    content = "transaction_id,is_fraud,reported_at\nz,1,\na,perhaps,\na,,\na,1,soon\n,1,\na,1\nb,1,\n"
    labelled = read(tmp_path, content, reported_at="reported_at")
    assert dict(labelled.quarantine.schema) == QUARANTINE
    assert labelled.quarantine.select("source_row", "reason").rows() == [
        (1, "label_unknown_transaction"),
        (2, "label_unknown_value"),
        (3, "label_missing"),
        (4, "reported_at_unreadable"),
        (5, "transaction_id_missing"),
        (6, "ragged_row"),
    ]
    assert labelled.ledger["transaction_id"].to_list() == ["b"]
    assert labelled.read == labelled.ledger.height + labelled.quarantine.height


@pytest.mark.parametrize("when", ["9999-12-31", "1969-12-31 23:59:59"])
def test_a_record_from_out_of_time_is_quarantined(tmp_path: Path, when: str) -> None:
    content = f"transaction_id,is_fraud,reported_at,recorded_at\na,1,{when},\nb,1,,{when}\n"
    labelled = read(tmp_path, content, reported_at="reported_at", recorded_at="recorded_at")
    assert labelled.quarantine["reason"].to_list() == ["reported_at_out_of_range", "recorded_at_out_of_range"]


def test_data_without_time(tmp_path: Path) -> None:
    labelled = read(tmp_path, "transaction_id,is_fraud\na,1\n", known=TRANSACTIONS.drop("ts"))
    assert labelled.ledger.rows() == [("a", 1, "labels", None, None)]


def test_files_that_cannot_be_taken(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="column 'is_fraud' is missing"):
        read(tmp_path, "transaction_id,fraud\na,1\n")
    with pytest.raises(EmptyDataError, match="no label records"):
        read(tmp_path, "transaction_id,is_fraud\n")
    with pytest.raises(DataError, match="the file is empty"):
        read(tmp_path, "")
    floats = tmp_path / "floats.parquet"
    pl.DataFrame({"transaction_id": [1.0], "is_fraud": [1]}).write_parquet(floats)
    with pytest.raises(SchemaError, match=r"floats\.parquet: column 'transaction_id' is Float64"):
        label_files.read([floats], LabelsFile(input="unused"), TRANSACTIONS, WEEK, earliest=EARLIEST, latest=LATEST)
