"""Training reads the transactions and labels of the service, as the service recorded them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from fraud3000.errors import ParamsError
from fraud3000.labels import visibility as known_labels
from fraud3000.params import LabelsFile, Params
from fraud3000.schema import LEDGER
from fraud3000.service.entries import TransactionEntry
from fraud3000.service.journal import history_frames
from fraud3000.service.journal.sqlite import SqliteJournal
from fraud3000.stages import labels
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.serve import Service
from fraud3000.stages.shared.workspace import Workspace
from tests.service.conftest import Open
from tests.service.world import items, post

AT = datetime(2026, 3, 1, tzinfo=UTC)


def say(client: TestClient, transaction_id: str, *, is_fraud: bool, at: datetime) -> None:
    said = {
        "transaction_id": transaction_id,
        "is_fraud": is_fraud,
        "source": "chargeback",
        "reported_at": at.isoformat(),
    }
    assert client.post("/labels", json={**said, "recorded_at": at.isoformat()}).status_code == 200


def exported(given: Params, place: Path) -> tuple[Params, Path, Path]:
    """Params that read the files that the service exports."""
    ledger, rows = place / "ledger.parquet", place / "rows.parquet"
    labels.export(given, str(ledger), str(rows))
    section = given.prepare.model_copy(update={"input": str(rows), "labels": LabelsFile(input=str(ledger))})
    return given.model_copy(update={"workspace": str(place / "again"), "prepare": section}), ledger, rows


def test_training_reads_the_services_transactions_and_its_late_chargebacks(
    given: Params, opened: Service, client: TestClient, newest: pl.DataFrame, tmp_path: Path
) -> None:
    assert post(client, {"transactions": items(newest)}).status_code == 200
    honest = pl.read_parquet("data/interim/transactions.parquet").filter(pl.col("is_fraud") == 0)["transaction_id"]
    new = newest.filter(pl.col("is_fraud") == 0)["transaction_id"][5]
    old = honest[700]
    for id_ in (new, old):
        say(client, id_, is_fraud=True, at=AT)
    say(client, old, is_fraud=False, at=AT + timedelta(days=9))
    again, *_ = exported(given, tmp_path)  # beside the running service
    told = prepare(again)
    workspace = Workspace.from_params(again)
    whole = pl.read_parquet("data/interim/transactions.parquet")
    rows = pl.read_parquet(workspace.transactions)
    content = [name for name in whole.columns if name not in {"is_fraud", "reported_at", "labelled", "seq"}]
    assert rows.select(content).sort("transaction_id").equals(whole.select(content).sort("transaction_id"))
    assert rows["seq"].is_unique().all()
    assert told.facts["quarantined"] == told.facts["label rows quarantined"] == 0
    ledger = pl.read_parquet(workspace.labels)
    assert ledger.columns == list(LEDGER)
    for at, expected in ((AT, [0, 0]), (AT + timedelta(days=1), [1, 1]), (AT + timedelta(days=20), [1, 0])):
        two = pl.concat([rows.filter(pl.col("transaction_id") == id_) for id_ in (new, old)])
        found = known_labels.known_at(two, ledger, at, label_delay=given.prepare.label_delay)
        assert found.to_list() == expected, "a record counts from when it was recorded, not before"
    featurize(again)
    assert pl.read_parquet(workspace.split("train")).height > 1000


def test_the_export_of_an_unused_service_equals_prepare(given: Params, opened: Service, tmp_path: Path) -> None:
    section = given.prepare.model_copy(update={"labels": LabelsFile(input=str(tmp_path / "ledger.parquet"))})
    labels.export(given, str(tmp_path / "ledger.parquet"))
    twice = given.model_copy(update={"workspace": str(tmp_path / "twice"), "prepare": section})
    twice = twice.model_copy(
        update={"prepare": section.model_copy(update={"input": str(Path("data/raw/transactions.parquet").resolve())})}
    )
    prepare(twice)
    before = pl.read_parquet("data/interim/labels.parquet")
    assert (
        pl.read_parquet(Workspace.from_params(twice).labels)
        .sort("transaction_id")
        .equals(before.sort("transaction_id"))
    )


def test_declined_transactions_are_not_labelled(
    given: Params, reopen: Open, newest: pl.DataFrame, tmp_path: Path
) -> None:
    with closing(reopen()) as service:
        sent = items(newest.head(50))
        client = TestClient(service.app, raise_server_exceptions=False)
        assert post(client, {"transactions": sent}).status_code == 200
        entries = [one for one in service.contents.journal.after(0) if isinstance(one, TransactionEntry)]
    (tmp_path / "other").mkdir()
    with closing(SqliteJournal(tmp_path / "other" / "journal.db")) as journal:
        assert entries[7].answer is not None
        declined = entries[7].answered(replace(entries[7].answer, decision="decline"))
        journal.append([*entries[:7], declined, *entries[8:]])
    known = history_frames.read_history(tmp_path / "other")
    assert known is not None
    rows = known.transactions.collect()
    assert rows.filter(~pl.col("labelled"))["transaction_id"].to_list() == [declined.transaction_id]
    assert rows["seq"].to_list() == list(range(1, 51))


def test_a_journal_without_a_history(given: Params, tmp_path: Path) -> None:
    labels.add(given, "a", is_fraud=True, source="bank")
    known = history_frames.read_history(labels.service_folder(given))
    assert known is not None
    assert (known.transactions.collect().height, known.ledger.height, known.rows) == (0, 1, 0)
    assert history_frames.read_history(tmp_path / "nowhere") is None


def test_files_that_prepare_cannot_read_are_not_written(given: Params) -> None:
    labels.add(given, "a", is_fraud=True, source="bank")
    with pytest.raises(ParamsError, match="csv"):
        labels.export(given, "ledger.csv")
