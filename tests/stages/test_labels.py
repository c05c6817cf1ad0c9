"""Label records by the command line, for a service that does not run."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.errors import DataError, UnavailableError
from fraud3000.params import Params
from fraud3000.service.entries import Label
from fraud3000.service.folder import Folder
from fraud3000.stages import labels

RAW = "data/raw/transactions.parquet"


@pytest.fixture
def given(in_trained: Path, tmp_path: Path) -> Params:
    params = params_files.load()
    return params.model_copy(update={"serve": params.serve.model_copy(update={"store": str(tmp_path / "service")})})


def kept(given: Params) -> list[Label]:
    with closing(Folder(labels.service_folder(given))) as folder, closing(folder.journal()) as journal:
        return [entry for entry in journal.after(0) if isinstance(entry, Label)]


def test_the_labels_of_a_file_are_known_from_when_a_files_are(given: Params, tmp_path: Path) -> None:
    raw = pl.read_parquet(RAW).sort("ts").tail(5000)
    raw.write_parquet(tmp_path / "month.parquet")
    done = labels.take_in(given, str(tmp_path / "month.parquet"))
    prepared = pl.read_parquet("data/interim/labels.parquet").filter(
        pl.col("transaction_id").is_in(raw["transaction_id"].implode())
    )
    times = pl.col("reported_at", "recorded_at").dt.epoch("us")
    expected = prepared.select("transaction_id", "is_fraud", "source", times).rows()
    found = [(one.transaction_id, one.is_fraud, one.source, one.reported_at, one.recorded_at) for one in kept(given)]
    assert sorted(found) == sorted(expected)
    assert len(found) > 5
    facts = dict(done.facts)
    assert (facts["records read"], facts["recorded"], facts["said before"]) == (len(found), len(found), 0)
    again = labels.take_in(given, str(tmp_path / "month.parquet")).facts
    assert (again["recorded"], again["said before"]) == (0, len(found))


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
    told = labels.status(given)
    assert [row[:4] for row in told.tables[0].rows] == [("analyst", "1", "0", "1"), ("chargeback", "2", "2", "0")]
    assert told.facts["transactions"] == 2


def test_a_ledger_of_nothing(given: Params) -> None:
    assert labels.status(given).facts["label records"] == 0
    assert not labels.service_folder(given).exists(), "asking makes nothing"


def test_what_keeps_it_from_recording_is_told(given: Params) -> None:
    with pytest.raises(DataError, match="no such file"):
        labels.take_in(given, "nowhere.parquet")
    with closing(Folder(labels.service_folder(given))), pytest.raises(UnavailableError, match="another service"):
        labels.add(given, "a", is_fraud=True, source="chargeback")
