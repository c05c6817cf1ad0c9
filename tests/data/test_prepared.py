from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fraud3000.data.cleaning.clean import Ingested
from fraud3000.errors import LeakageError, SchemaError

Ingest = Callable[..., Ingested]

RAW = "id,time,amount,card,label,v,Kind\nb,2024-01-02,5,c1,1,1.5,x\na,2024-01-01,-6,c1,0,,y\na,2024-01-01,-6,c1,0,,y\n"
MAPPED = {"columns": {"is_fraud": "label"}, "numeric": ["v"], "categorical": ["Kind"]}


@pytest.fixture
def transactions(ingest: Ingest) -> pl.DataFrame:
    return ingest(RAW, **MAPPED).transactions


def again(ingest_files: Ingest, path: Path, frame: pl.DataFrame, **mapping: object) -> Ingested:
    frame.write_parquet(path / "t.parquet")
    return ingest_files([path / "t.parquet"], **(MAPPED | {"columns": {"amount": "no such column"}} | mapping))


def test_transactions_pass_through_unmapped(ingest_files: Ingest, transactions: pl.DataFrame, tmp_path: Path) -> None:
    ingested = again(ingest_files, tmp_path, transactions)
    assert ingested.transactions.equals(transactions)
    assert ingested.ledger["transaction_id"].to_list() == ["b"]


def test_rows_that_break_the_rules_are_quarantined(
    ingest_files: Ingest, transactions: pl.DataFrame, tmp_path: Path
) -> None:
    row = transactions.head(1)
    bad = [
        row.with_columns(pl.lit(None, dtype=pl.Int64).alias("amount")),
        row.with_columns(amount=pl.lit(10**13 + 1, dtype=pl.Int64)),
        row.with_columns(status=pl.lit("lost")),
        row.with_columns(is_fraud=pl.lit(2, dtype=pl.Int8)),
        row.with_columns(ts=pl.col("ts").dt.offset_by("200y")),
        row.with_columns(pl.lit(None, dtype=pl.String).alias("card_id")),
    ]
    frame = pl.concat([transactions, *bad])
    reasons = again(ingest_files, tmp_path, frame).quarantine["reason"].to_list()
    assert reasons == [
        *("amount_missing", "amount_too_large", "status_unknown_value", "label_unknown_value"),
        *("time_out_of_range", "card_id_missing"),
    ]


def test_wrong_types_missing_and_leaking_columns_are_refused(
    ingest_files: Ingest, transactions: pl.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match="column 'card_id' is Int64"):
        again(ingest_files, tmp_path, transactions.with_columns(card_id=pl.lit(5, dtype=pl.Int64)))
    with pytest.raises(SchemaError, match="column 'v' is missing"):
        again(ingest_files, tmp_path, transactions.drop("v"))
    with pytest.raises(LeakageError, match="fraud_scenario"):
        again(
            ingest_files,
            tmp_path,
            transactions.with_columns(fraud_scenario=pl.lit("x")),
            categorical=["fraud_scenario"],
        )


def test_card_numbers_are_hashed_here_too(ingest_files: Ingest, transactions: pl.DataFrame, tmp_path: Path) -> None:
    frame = transactions.with_columns(card_id=pl.Series(["4111111111111111", "5500005555555559"]))
    cards = again(ingest_files, tmp_path, frame).transactions["card_id"]
    assert cards.str.starts_with("k959e5af4.").all()
    assert (
        again(ingest_files, tmp_path, frame.with_columns(cards), card_numbers="yes")
        .transactions["card_id"]
        .equals(cards)
    )


def test_files_of_different_kinds_are_not_mixed(
    ingest_files: Ingest, transactions: pl.DataFrame, tmp_path: Path
) -> None:
    transactions.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("id,amount\nz,5\n")
    columns = {"amount": "amount", "transaction_id": "id"}
    with pytest.raises(SchemaError, match=r"b\.csv: lacks card_id, ts, which other files"):
        ingest_files([tmp_path / "a.parquet", tmp_path / "b.csv"], columns=columns)


def test_files_prepared_one_by_one_are_numbered_anew(
    ingest_files: Ingest, transactions: pl.DataFrame, tmp_path: Path
) -> None:
    paths = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    for path, name in zip(paths, ("new", "old"), strict=True):
        year = 2 if name == "new" else 1
        later = pl.col("ts").dt.offset_by(f"{year}y")
        transactions.with_columns(pl.col("transaction_id") + name, ts=later).write_parquet(path)
    ingested = ingest_files(paths, **(MAPPED | {"columns": {"amount": "v"}}))
    assert ingested.transactions.select("transaction_id", "seq").rows() == [
        ("aold", 0),
        ("bold", 1),
        ("anew", 2),
        ("bnew", 3),
    ]
