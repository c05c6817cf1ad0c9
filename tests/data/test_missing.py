"""Words for no value: never an id, in raw files, prepared files and labels files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud3000.data.cleaning import ids, label_files
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.data.cleaning.missing import WORDS, are_missing, is_missing
from fraud3000.data.reading.raw_table import DataFile
from fraud3000.params import LabelsFile

WRITTEN = [
    "NULL",
    "nan",
    "NaN",
    "None",
    r"\N",
    "<NA>",
    "N/A",
    "NA",
    "null",
    "#N/A",
    "-",
    "NaT",
    " Null ",
    "<null>",
    "(NULL)",
    "nil",
]


@pytest.mark.parametrize("text", [*WRITTEN, *sorted(WORDS)])
@pytest.mark.parametrize("role", ["transaction_id", "card_id", "terminal_id"])
def test_a_word_for_no_value_is_no_id(role: str, text: str) -> None:
    for secret in (False, True):
        values, faults = ids.read([pl.Series("c", [text, "c1"])], role, secret=secret)
        assert values.to_list() == [None, "c1"]
        assert [(fault.code, fault.rows.to_list()) for fault in faults if len(fault.rows)] == [(f"{role}_missing", [0])]


def test_a_part_of_an_id_is_no_word_either() -> None:
    values, faults = ids.read([pl.Series([7, 7]), pl.Series(["NULL", "b"])], "card_id")
    assert values.to_list() == [None, "7_b"]
    assert faults[0].details.to_list() == ["card_id is '7 NULL'"]


@pytest.mark.parametrize("text", ["Nancy", "NULL-1", "0", "--x", "A/N", "nano", "NAT1"])
def test_other_texts_are_ids(text: str) -> None:
    assert not is_missing(text)
    assert ids.read([pl.Series([text])], "card_id")[0].to_list() == [text]


def test_one_rule_for_texts_and_columns() -> None:
    texts = [*WRITTEN, "", "c1", "Nancy"]
    assert are_missing(pl.Series(texts)).to_list() == [is_missing(text) for text in texts]


def test_rows_without_a_card_do_not_become_one_card(ingest: Callable[..., Ingested]) -> None:
    rows = "".join(f"A{n},2024-01-01 10:{n:02}:00,{word},s1,10\n" for n, word in enumerate(["c1", *WRITTEN, "c1"]))
    taken = ingest(f"id,time,card,shop,amount\n{rows}")
    assert taken.transactions["card_id"].to_list() == ["c1", "c1"]
    assert taken.quarantine["reason"].to_list() == ["card_id_missing"] * len(WRITTEN)
    assert taken.quarantine["detail"][0] == "card_id is 'NULL'"


def test_a_card_number_column_is_not_quoted(ingest: Callable[..., Ingested]) -> None:
    taken = ingest("id,card,amount\nA,4111 1111 1111 1111,1\nB,NULL,1\n", card_numbers="yes")
    assert taken.quarantine.select("reason", "detail").rows() == [
        ("card_id_missing", "card_id is empty or a word for a missing value")
    ]


def test_a_prepared_file_is_checked_too(tmp_path: Path, ingest_files: Callable[..., Ingested]) -> None:
    raw = tmp_path / "raw.csv"
    raw.write_text("id,time,card,amount\nA,2024-01-01,c1,1\nB,2024-01-02,c2,1\n")
    roles = {"transaction_id": "id", "ts": "time", "card_id": "card", "amount": "amount"}
    prepared = ingest_files([raw], columns=roles).transactions.with_columns(pl.col("card_id").replace("c2", "NULL"))
    prepared.write_parquet(tmp_path / "prepared.parquet")
    taken = ingest_files([tmp_path / "prepared.parquet"], columns=roles)
    assert taken.transactions["card_id"].to_list() == ["c1"]
    assert taken.quarantine.select("reason", "detail").rows() == [("card_id_missing", "card_id is 'NULL'")]


def test_a_label_of_no_transaction_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("transaction_id,is_fraud\nA,1\nNULL,1\n")
    read = label_files.read(
        [DataFile(path, "labels.csv")],
        LabelsFile(input="unused"),
        None,
        timedelta(days=1),
        earliest=datetime(1970, 1, 1),
        latest=datetime(2100, 1, 1),
    )
    assert read.ledger["transaction_id"].to_list() == ["A"]
    assert read.quarantine["reason"].to_list() == ["transaction_id_missing"]
