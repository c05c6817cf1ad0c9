"""Label records by the command line, for a service that does not run."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.errors import DataError, UnavailableError
from fraud3000.params import LabelsFile, Params
from fraud3000.service.data_dir import DataDir
from fraud3000.service.entries import LabelEntry
from fraud3000.stages import labels
from fraud3000.stages.label_status import status

RAW = "data/raw/transactions.parquet"


@pytest.fixture
def given(in_trained: Path, tmp_path: Path) -> Params:
    params = params_files.load()
    return params.model_copy(update={"serve": params.serve.model_copy(update={"store": str(tmp_path / "service")})})


def kept(given: Params) -> list[LabelEntry]:
    with closing(DataDir(labels.service_folder(given))) as folder, closing(folder.journal()) as journal:
        return [entry for entry in journal.after(0) if isinstance(entry, LabelEntry)]


def test_the_labels_of_a_file_are_known_from_when_a_files_are(given: Params, tmp_path: Path) -> None:
    raw = pl.read_parquet(RAW).sort("ts").tail(5000)
    raw.write_parquet(tmp_path / "month.parquet")
    done = labels.import_labels(given, str(tmp_path / "month.parquet"))
    prepared = pl.read_parquet("data/interim/labels.parquet").filter(
        pl.col("transaction_id").is_in(raw["transaction_id"].implode())
    )
    times = pl.col("reported_at", "recorded_at").dt.epoch("us")
    expected = prepared.select("transaction_id", "is_fraud", "source", times).rows()
    found = [(one.transaction_id, one.is_fraud, one.source, one.reported_at, one.recorded_at) for one in kept(given)]
    assert sorted(found) == sorted(expected)
    assert len(found) > 5
    facts = dict(done.facts)
    assert (facts["records read"], facts["recorded"], facts["already recorded"]) == (len(found), len(found), 0)
    again = labels.import_labels(given, str(tmp_path / "month.parquet")).facts
    assert (again["recorded"], again["already recorded"]) == (0, len(found))


def test_one_record_after_the_other(given: Params) -> None:
    before = datetime.now(UTC)
    labels.add(given, "a", is_fraud=True, source="chargeback", reported_at=datetime(2025, 1, 2))
    labels.add(given, "a", is_fraud=False, source="analyst")
    labels.add(given, "b", is_fraud=True, source="chargeback")
    (first, second, third) = kept(given)
    assert first.reported_at == int(datetime(2025, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=second.recorded_at)
    assert before <= moment <= datetime.now(UTC)
    assert [one.number for one in (first, second, third)] == [1, 2, 3]
    told = status(given)
    rows = {row[0]: row[1:4] for row in told.tables[0].rows}
    assert (rows["analyst"], rows["chargeback"]) == (("1", "0", "1"), ("2", "2", "0"))
    assert "file" in rows, "the workspace's, with which a service will begin"
    assert told.facts["ledger"] == f"data/interim/labels.parquet and {labels.service_folder(given)}"
    alone = given.model_copy(update={"workspace": "elsewhere"})
    assert status(alone).facts["transactions"] == 2
    assert "proposed label delay" not in status(alone).facts, "none of these transactions has come"


RECORDS = """Transaction ID,is_fraud,source,reported_at,recorded_at
a,1,chargeback,2025-01-02T10:00:00Z,2025-08-03
a,0,chargeback,2025-02-02T10:00:00Z,2025-08-05
b,1,analyst,,
c,perhaps,analyst,,
,1,analyst,,
d,1,analyst,soon,
e,,analyst,,
"""


def test_a_file_of_label_records_alone(given: Params, tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text(RECORDS)
    before = datetime.now(UTC)
    done = labels.import_labels(given, str(tmp_path / "records.csv"))
    (fraud, reversal, now) = kept(given)
    assert (fraud.transaction_id, fraud.is_fraud, fraud.source) == ("a", 1, "chargeback")
    assert fraud.reported_at == int(datetime(2025, 1, 2, 10, tzinfo=UTC).timestamp()) * 1_000_000
    assert fraud.recorded_at == int(datetime(2025, 8, 3, tzinfo=UTC).timestamp()) * 1_000_000
    assert (reversal.is_fraud, reversal.source, now.source, now.reported_at) == (0, "chargeback", "analyst", None)
    assert now.recorded_at >= before.timestamp() * 1_000_000
    assert (done.facts["records read"], done.facts["recorded"], done.facts["rows quarantined"]) == (3, 3, 4)
    refused = pl.read_parquet(done.outputs["quarantine"])
    assert refused.select("source_row", "reason").rows() == [
        (4, "label_unknown_value"),
        (5, "transaction_id_missing"),
        (6, "reported_at_unreadable"),
        (7, "label_missing"),
    ]
    assert [row[0] for row in done.tables[0].rows] == sorted(refused["reason"])


def test_a_file_that_comes_again_changes_nothing_though_it_reverses(given: Params, tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text(RECORDS)
    labels.import_labels(given, str(tmp_path / "records.csv"))
    again = labels.import_labels(given, str(tmp_path / "records.csv")).facts
    assert (again["recorded"], again["already recorded"]) == (0, 3)
    assert len(kept(given)) == 3


def test_records_as_the_params_name_their_columns(given: Params, tmp_path: Path) -> None:
    (tmp_path / "cb.csv").write_text("Ref,Outcome\nx,CB\ny,CB reversed\n")
    form = LabelsFile(
        input="unused", transaction_id="Ref", is_fraud="outcome", label={"fraud": ["CB"], "legitimate": ["CB reversed"]}
    )
    named = given.model_copy(update={"prepare": given.prepare.model_copy(update={"labels": form})})
    labels.import_labels(named, str(tmp_path / "cb.csv"))
    assert [(one.transaction_id, one.is_fraud, one.source) for one in kept(given)] == [
        ("x", 1, "labels"),
        ("y", 0, "labels"),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("transaction_id,is_fraud\na,1\n", "column 'source' is missing"),
        ("transaction_id,source,label\na,bank,1\n", "column 'is_fraud' is missing"),
        (
            "id,fraud\na,1\n",
            "column 'transaction_id' is missing.*column 'is_fraud' is missing.*column 'source' is missing",
        ),
        ("transaction_id,is_fraud,source\n", "no label records"),
    ],
)
def test_a_file_without_the_columns_records_nothing(given: Params, tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "records.csv").write_text(content)
    with pytest.raises(DataError, match=told):
        labels.import_labels(given, str(tmp_path / "records.csv"))
    assert not labels.service_folder(given).exists()


def test_nothing_is_recorded_where_one_file_of_several_is_bad(given: Params, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(RECORDS)
    (tmp_path / "in" / "b.csv").write_text("transaction_id,is_fraud\na,1\n")
    with pytest.raises(DataError, match="source"):
        labels.import_labels(given, str(tmp_path / "in"))
    assert not labels.service_folder(given).exists()


def test_a_ledger_of_nothing(given: Params) -> None:
    with pytest.raises(DataError, match="contains no service data"):
        labels.export(given, "ledger.parquet")
    assert status(given).facts["ledger"] == "data/interim/labels.parquet"
    assert not labels.service_folder(given).exists(), "asking makes nothing"


def test_what_keeps_it_from_recording_is_told(given: Params) -> None:
    with pytest.raises(DataError, match="no such file"):
        labels.import_labels(given, "nowhere.parquet")
    with closing(DataDir(labels.service_folder(given))), pytest.raises(UnavailableError, match="another service"):
        labels.add(given, "a", is_fraud=True, source="chargeback")
