"""One message for one mistake: headers below a title, names of time formats, labels reported too early."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud3000.data import quality
from fraud3000.data.cleaning import label_files
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.errors import ParamsError, SchemaError
from fraud3000.params import ColumnMapping, LabelsFile, validate

BODY = "id,time,card,shop,amount\nA,2024-01-01 10:00,c1,s1,1\nB,2024-01-01 11:00,c1,s1,2\n"
ROLES = {"amount": "amount", "transaction_id": "id", "ts": "time", "card_id": "card", "terminal_id": "shop"}


@pytest.mark.parametrize(
    ("above", "line"),
    [
        ("Transactions of January 2024\n", 2),
        ("Transactions of January 2024,,,,\n", 2),
        ("Report\n\nmade 2024-02-01\n\n", 5),
        ('"a title\nof two lines"\n', 3),
        ("\ufeffTransactions\r\n", 2),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_header_below_a_title_is_found(
    ingest_files: Callable[..., Ingested], tmp_path: Path, above: str, line: int, *, compressed: bool
) -> None:
    content = (above + BODY).encode()
    path = tmp_path / ("raw.csv.gz" if compressed else "raw.csv")
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(SchemaError) as caught:
        ingest_files([path], columns=ROLES)
    assert str(caught.value) == (
        f"{path}: the header seems to be in line {line}, not in line 1\n"
        f"Hint: Set prepare.csv.skip to {line - 1}, the number of lines above the header."
    )


@pytest.mark.parametrize("note", ["sep=,", "sep=;", "SEP=|", "sep=\t", '"sep=,"', "\ufeffsep=,"])
def test_a_note_of_the_delimiter_is_named(ingest_files: Callable[..., Ingested], tmp_path: Path, note: str) -> None:
    path = tmp_path / "raw.csv"
    path.write_text(f"{note}\n{BODY}", encoding="utf-8")
    with pytest.raises(SchemaError, match=r"(?i)line 1 is 'sep=.', .*the header seems to be in line 2") as caught:
        ingest_files([path], columns=ROLES)
    assert "missing" not in str(caught.value)


def test_a_column_that_is_missing_everywhere_is_still_named(
    ingest_files: Callable[..., Ingested], tmp_path: Path
) -> None:
    path = tmp_path / "raw.csv"
    path.write_text(BODY)
    with pytest.raises(SchemaError, match=r"column 'kard' is missing; nearest: 'card'"):
        ingest_files([path], columns=ROLES | {"card_id": "kard"})


def test_a_labels_file_below_a_title(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("Chargebacks of January\ntransaction_id,is_fraud\nA,1\n")
    span = {"earliest": datetime(1970, 1, 1), "latest": datetime(2100, 1, 1)}
    with pytest.raises(SchemaError, match=r"labels\.csv: the header seems to be in line 2"):
        label_files.read([DataFile(path, "labels.csv")], LabelsFile(input="unused"), None, timedelta(days=1), **span)


@pytest.mark.parametrize("name", ["epoch", "Epoch", "epoch_seconds", "unix", "ISO", "iso8601", "timestamp", ""])
def test_a_time_format_is_a_name_or_a_pattern(name: str) -> None:
    with pytest.raises(ParamsError, match=r"time\.format: '.*' is neither one of iso, epoch_s, epoch_ms") as caught:
        validate(ColumnMapping, {"time": {"format": name}}, thing="prepare.mapping")
    assert ("state its unit" in str(caught.value)) == ("epoch" in name.lower())


def records(*reported: datetime | None) -> pl.DataFrame:
    ids = [f"A{number}" for number in range(len(reported))]
    rows = {"transaction_id": ids, "is_fraud": [1] * len(ids), "reported_at": reported}
    return pl.DataFrame(rows, schema_overrides={"reported_at": pl.Datetime("us", "UTC"), "is_fraud": pl.Int8()})


def early(ledger: pl.DataFrame) -> list[str]:
    at = [datetime(2024, 1, 10, tzinfo=UTC)] * ledger.height
    rows = {"transaction_id": ledger["transaction_id"], "ts": at, "amount": 1, "labelled": True}
    transactions = pl.DataFrame(rows).with_columns(is_fraud=ledger["is_fraud"])
    return [found.text for found in quality.examine(transactions, ledger) if found.code == "reported_early"]


def test_labels_reported_before_their_transaction_are_counted() -> None:
    before, same = datetime(2024, 1, 9, tzinfo=UTC), datetime(2024, 1, 10, tzinfo=UTC)
    assert early(records(None, same)) == []
    [text] = early(records(None, same, before))
    assert text.startswith("1 label record was reported before the transaction took place, for example A2")
    [text] = early(records(before, before))
    assert text.startswith("2 label records were reported before")
