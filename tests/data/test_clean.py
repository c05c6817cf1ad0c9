from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from fraud3000.data.cleaning.clean import Ingested
from fraud3000.errors import DataError, EmptyDataError, SchemaError
from fraud3000.schema import LEDGER, QUARANTINE, REQUIRED, TRANSACTIONS

Ingest = Callable[..., Ingested]

RAW = """id,time,amount,card,shop,Merchant Kind,v,lat,label
2,2024-01-02 10:00:00,10.00,c1,s1,food,1.5,48.85,0
1,2024-01-01 10:00:00,$-2.50,c1,s2,,,91,1
3,2024-01-03 10:00:00,1000,c2,s1,fuel,x,,
"""
MAPPED = {"columns": {"is_fraud": "label", "card_lat": "lat"}, "numeric": ["v"], "categorical": ["Merchant Kind"]}


def test_a_raw_file_becomes_transactions(ingest: Ingest) -> None:
    ingested = ingest(RAW, **MAPPED)
    transactions = ingested.transactions
    assert list(transactions.columns) == [
        *("transaction_id", "ts", "card_id", "terminal_id", "amount", "status", "is_fraud", "reported_at", "labelled"),
        *("seq", "card_lat", "v", "merchant_kind"),
    ]
    assert all(transactions.schema[name] == kind for name, kind in TRANSACTIONS.items() if name in transactions.columns)
    assert transactions.select("transaction_id", "amount", "status", "is_fraud", "labelled", "seq").rows() == [
        ("1", -250, "refund", 1, True, 0),
        ("2", 1000, "approved", 0, True, 1),
        ("3", 100000, "approved", None, False, 2),
    ]
    assert transactions.select("card_lat", "v", "merchant_kind").rows() == [
        (None, None, None),
        (48.85, 1.5, "food"),
        (None, None, "fuel"),
    ]
    assert ingested.nulled == {"card_lat": 1, "v": 1}
    assert dict(ingested.ledger.schema) == LEDGER
    assert ingested.ledger["transaction_id"].to_list() == ["1"]


def test_csv_json_lines_and_parquet_give_the_same(ingest: Ingest) -> None:
    frame = pl.read_csv(RAW.encode(), infer_schema=False)
    expected = ingest(RAW, **MAPPED).transactions
    lines = frame.write_ndjson()
    numbers = frame.with_columns(pl.col("id", "label").cast(pl.Int64))
    assert ingest(gzip.compress(RAW.encode()), name="raw.csv.gz", **COMPLETE).transactions.equals(expected)
    assert ingest(lines, name="raw.jsonl", **COMPLETE).transactions.equals(expected)
    assert ingest(frame, **MAPPED).transactions.equals(expected)
    assert ingest(numbers, **MAPPED).transactions.equals(expected)


COMPLETE = MAPPED | {
    "columns": {
        "amount": "amount",
        "transaction_id": "id",
        "ts": "time",
        "card_id": "card",
        "terminal_id": "shop",
        "is_fraud": "label",
        "card_lat": "lat",
    }
}


def test_data_with_nothing_but_amounts(ingest: Ingest) -> None:
    ingested = ingest("amount\n5\n6\n")
    assert ingested.transactions.columns == list(REQUIRED)
    assert ingested.transactions["labelled"].all()
    assert ingested.transactions["is_fraud"].null_count() == 2
    assert ingested.transactions["seq"].to_list() == [0, 1]


BAD_ROWS = [
    ("9,2024-01-01,,c,s,0", "amount_missing"),
    ("9,2024-01-01,abc,c,s,0", "amount_unreadable"),
    ("9,2024-01-01,NaN,c,s,0", "amount_not_finite"),
    ("9,2024-01-01,-inf,c,s,0", "amount_not_finite"),
    ("9,2024-01-01,1.005,c,s,0", "amount_decimals"),
    ("9,2024-01-01,1e15,c,s,0", "amount_too_large"),
    ("9,soon,5,c,s,0", "time_unreadable"),
    ("9,,5,c,s,0", "time_unreadable"),
    ("9,1969-12-31 23:59:59,5,c,s,0", "time_out_of_range"),
    ("9,2100-01-01,5,c,s,0", "time_out_of_range"),
    (",2024-01-01,5,c,s,0", "transaction_id_missing"),
    ("1.23E+15,2024-01-01,5,c,s,0", "transaction_id_not_exact"),
    ("9,2024-01-01,5,,s,0", "card_id_missing"),
    ("9,2024-01-01,5,c,,0", "terminal_id_missing"),
    ("9,2024-01-01,5,c,s,maybe", "label_unknown_value"),
    ("9,2024-01-01,5,c,s,0,7", "ragged_row"),
    ("9,2024-01-01,5,c,s", "ragged_row"),
    (",never,abc,,,maybe", "transaction_id_missing"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_ROWS)
def test_a_bad_row_goes_to_quarantine_with_its_first_reason(ingest: Ingest, line: str, reason: str) -> None:
    content = f"id,time,amount,card,shop,label\n1,2024-01-01,5,c,s,0\n{line}\n2,2024-01-01,5,c,s,0\n"
    ingested = ingest(content, columns={"is_fraud": "label"})
    assert dict(ingested.quarantine.schema) == QUARANTINE
    assert ingested.quarantine.select("source_row", "reason").rows() == [(2, reason)]
    assert ingested.quarantine["detail"][0]
    assert json.loads(ingested.quarantine["raw"][0])
    assert ingested.rows["outcome"].to_list() == ["kept", "quarantined", "kept"]
    assert (ingested.kept, ingested.duplicates, ingested.quarantined) == (2, 0, 1)


def test_all_rows_bad_is_an_error_that_tells_the_reasons(ingest: Ingest) -> None:
    with pytest.raises(EmptyDataError) as caught:
        ingest("id,time,amount\n1,never,5\n2,soon,6\n3,2024-01-01,x\n")
    assert "all 3 rows were rejected: time_unreadable (2), amount_unreadable (1)" in caught.value.message
    assert "time is 'never'" in caught.value.message
    with pytest.raises(EmptyDataError, match=r"unreadable_line \(2\)"):
        ingest("not json\nnor this\n", name="raw.jsonl")
    with pytest.raises(EmptyDataError, match=r"ragged_row \(1\)"):
        ingest("id,time,amount\n1\n")


def test_no_rows_at_all_is_an_error(ingest: Ingest) -> None:
    with pytest.raises(EmptyDataError, match="no rows, only a header"):
        ingest("id,time,amount\n")
    with pytest.raises(EmptyDataError, match="no rows"):
        ingest(pl.DataFrame(schema={"id": pl.String, "amount": pl.String}))


def test_errors_name_the_file(ingest: Ingest) -> None:
    with pytest.raises(SchemaError, match=r"raw\.csv: column 'amount' is missing"):
        ingest("id,price\n1,2\n", columns={"amount": "amount"})


def test_several_files_are_one_batch(ingest_files: Ingest, tmp_path: Path) -> None:
    columns = {"amount": "amount", "transaction_id": "id"}
    (tmp_path / "1.csv").write_text("id,amount\na,1\nb,x\n")
    (tmp_path / "2.csv").write_text("id,amount\n")
    (tmp_path / "3.jsonl").write_text('{"id": "a", "amount": 1}\noops\n{"id": "a", "amount": 2}\n')
    paths = sorted(tmp_path.iterdir())
    ingested = ingest_files(paths, columns=columns)
    told = ingested.rows.with_columns(pl.col("source_file").str.split("/").list.last())
    assert told.rows() == [
        ("1.csv", 1, "a", "kept"),
        ("1.csv", 2, "b", "quarantined"),
        ("3.jsonl", 1, "a", "duplicate"),
        ("3.jsonl", 2, None, "quarantined"),
        ("3.jsonl", 3, "a", "quarantined"),
    ]
    assert ingested.quarantine.select("source_row", "reason").rows() == [
        (2, "amount_unreadable"),
        (2, "unreadable_line"),
        (3, "conflicting_duplicate"),
    ]


def test_the_same_file_twice_without_ids_is_refused(ingest_files: Ingest, tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("amount\n5\n")
    with pytest.raises(DataError, match=r"2\.csv: identical to .*1\.csv"):
        ingest_files(sorted(tmp_path.iterdir()), columns={"amount": "amount"})


def test_dropped_columns_are_in_no_output(ingest: Ingest) -> None:
    ingested = ingest("id,amount,name\n1,5,Eve\n2,x,Eve\n3,5,Eve,7\n", drop=["name"])
    assert "Eve" not in str(ingested.quarantine.rows() + ingested.transactions.rows())
    assert ingested.unused == ()


def test_unused_columns_are_told(ingest: Ingest) -> None:
    assert ingest("id,amount,memo,\n1,5,x,y\n").unused == ("memo", "")


def test_card_numbers_in_details_and_raw_are_masked(ingest: Ingest) -> None:
    ingested = ingest("id,amount,memo\n1,4111 1111 1111 1111 USD,x\n2,y,4111111111111111\n3,5,x\n")
    assert "1111" not in str(ingested.quarantine.select("detail", "raw").rows())
    assert json.loads(ingested.quarantine["raw"][1]) == {"id": "2", "amount": "y", "memo": "[card number]"}


def test_missing_label_columns_are_allowed_only_where_said(ingest: Ingest) -> None:
    content = "id,amount\n1,5\n"
    with pytest.raises(SchemaError, match="'label'"):
        ingest(content, columns={"is_fraud": "label"})
    ingested = ingest(
        content, columns={"is_fraud": "label", "reported_at": "seen"}, optional=("is_fraud", "reported_at")
    )
    assert ingested.transactions["labelled"].to_list() == [True]


def test_reports(ingest: Ingest) -> None:
    content = "id,time,amount,label,seen\n1,2024-01-01,5,1,2024-01-20\n2,2024-01-01,5,0,\n3,2024-01-01,5,1,soon\n"
    ingested = ingest(content, columns={"is_fraud": "label", "reported_at": "seen"})
    moment = datetime(2024, 1, 20, tzinfo=UTC)
    assert ingested.transactions["reported_at"].to_list() == [moment, None, None]
    assert ingested.ledger.select("transaction_id", "is_fraud", "reported_at").rows() == [
        ("1", 1, moment),
        ("3", 1, None),
    ]
    assert (ingested.quarantine.height, ingested.nulled["reported_at"]) == (0, 1)


@pytest.mark.parametrize("seen", ["NULL", "", "n/a", "-"])
def test_a_word_for_no_report_time_is_not_counted_as_unreadable(ingest: Ingest, seen: str) -> None:
    content = f"id,time,amount,label,seen\n1,2024-01-01,5,1,2024-01-20\n2,2024-01-01,5,0,{seen}\n"
    assert ingest(content, columns={"is_fraud": "label", "reported_at": "seen"}).nulled["reported_at"] == 0


def test_report_times_may_have_a_format_of_their_own(ingest: Ingest) -> None:
    content = "id,time,amount,label,seen\n1,2024-01-01 10:00,5,1,20.01.2024\n"
    form = {"format": "%d.%m.%Y", "zone": "Europe/Berlin"}
    ingested = ingest(content, columns={"is_fraud": "label", "reported_at": "seen"}, report_time=form)
    assert ingested.transactions["reported_at"].to_list() == [datetime(2024, 1, 19, 23, tzinfo=UTC)]


def test_any_order_of_rows_gives_the_same_transactions(ingest: Ingest) -> None:
    header, *lines = RAW.strip().split("\n")
    expected = ingest(RAW, **MAPPED)
    for turned in (lines[::-1], lines[1:] + lines[:1]):
        assert ingest("\n".join([header, *turned]), **MAPPED).transactions.equals(expected.transactions)


def test_a_refused_row_may_hold_the_line_separators_of_unicode(ingest: Ingest) -> None:
    memos = ["a\u2028b", "c\x85d", "e\u2029f"]
    content = "id,amount,memo\n" + "".join(f"{row},none,{memo}\n" for row, memo in enumerate(memos)) + "9,1.00,kept\n"
    quarantine = ingest(content, categorical=["memo"]).quarantine
    assert [json.loads(raw)["memo"] for raw in quarantine["raw"]] == memos
