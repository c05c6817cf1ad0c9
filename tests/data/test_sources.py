from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from fraud3000.data.cleaning import cards, clean, sources
from fraud3000.data.simulation.simulate import simulate
from fraud3000.errors import ParamsError
from fraud3000.params import PrepareModelParams, SimulateParams

FILES = {
    "handbook": "handbook_transactions.parquet",
    "sparkov": "sparkov_kaggle_slice.parquet",
    "tabformer": "tabformer_user0.parquet",
    "ulb": "ulb_creditcard_head.parquet",
}


def ingest(source: str, path: Path) -> clean.Ingested:
    params = PrepareModelParams.model_validate({"source": source})
    return clean.ingest(
        [path],
        sources.resolve(params),
        label_delay=params.label_delay,
        earliest=params.earliest,
        latest=params.latest,
        card_key=lambda: cards.CardKey.from_secret(bytes(range(100, 132))),
    )


@pytest.fixture
def published() -> Path:
    folder = os.environ.get("FRAUD3000_DATASETS", "")
    if not folder:
        pytest.skip("FRAUD3000_DATASETS is not set")
    return Path(folder)


@pytest.mark.parametrize(
    ("source", "kept", "quarantined", "frauds", "n_cards", "n_terminals"),
    [
        ("handbook", 1_754_155, 0, 14_681, 4_990, 10_000),
        ("sparkov", 13_614, 0, 172, 908, 693),
        ("tabformer", 19_963, 0, 27, 5, 552),
        ("ulb", 7_972, 1, 25, None, None),
    ],
)
def test_published_files_pass(
    published: Path,
    source: str,
    kept: int,
    quarantined: int,
    frauds: int,
    n_cards: int | None,
    n_terminals: int | None,
) -> None:
    ingested = ingest(source, published / FILES[source])
    assert (ingested.kept, ingested.duplicates, ingested.quarantined) == (kept, 0, quarantined)
    assert ingested.ledger["is_fraud"].sum() == frauds
    transactions = ingested.transactions
    for column, count in (("card_id", n_cards), ("terminal_id", n_terminals)):
        assert (transactions[column].n_unique() if column in transactions.columns else None) == count
    assert not any(ingested.nulled.values())
    assert ingested.unused == ()


def test_sparkov_keeps_no_card_number_and_no_name(published: Path) -> None:
    transactions = ingest("sparkov", published / FILES["sparkov"]).transactions
    assert transactions["card_id"].str.starts_with("k959e5af4.").all()
    assert not {"first", "last", "street", "dob", "zip"} & set(transactions.columns)


def test_tabformer_reads_times_cards_and_declines(published: Path) -> None:
    transactions = ingest("tabformer", published / FILES["tabformer"]).transactions
    first = transactions.row(0, named=True)
    assert (first["ts"], first["card_id"], first["amount"]) == (datetime(2002, 9, 1, 6, 21, tzinfo=UTC), "0_0", 13409)
    assert first["terminal_id"] == "3527213246127876953"
    counts = dict(transactions["status"].value_counts().iter_rows())
    assert counts == {"approved": 18_745, "declined": 574, "refund": 644}


def test_simulated_data_passes_and_leaves_the_scenario_behind(tmp_path: Path) -> None:
    frame = simulate(SimulateParams.model_validate({"rows": 500, "days": 30, "cards": 20, "terminals": 10}))
    frame.write_parquet(tmp_path / "raw.parquet")
    ingested = ingest("simulated", tmp_path / "raw.parquet")
    assert (ingested.kept, ingested.unused) == (500, ())
    assert "fraud_scenario" not in ingested.transactions.columns
    assert set(ingested.transactions["status"].unique()) <= {"approved", "declined", "refund"}
    by_id = ingested.transactions.select("transaction_id", "amount").join(
        frame.select("transaction_id", raw="amount"), on="transaction_id"
    )
    assert (by_id["amount"] - (by_id["raw"] * 100).round().cast(pl.Int64)).abs().sum() == 0


def resolve(**params: object) -> object:
    return sources.resolve(PrepareModelParams.model_validate(params))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"colums": {}}, "prepare.mapping: colums: unknown key"),
        ({"columns": {"amont": "x"}}, "columns.amont: unknown key"),
        ({"time": {"format": "seconds_from"}}, "start is required"),
        ({"columns": {"currency": "money"}}, r"amount.currency: not stated"),
        ({"label": {"fraud": ["1"], "legitimate": ["1"]}}, r"prepare.mapping.label: '1' appears in two lists"),
        ({"status": {"approved": ["OK"], "declined": ["ok "]}}, r"prepare.mapping.status: 'ok' appears in two lists"),
    ],
)
def test_mistaken_mappings_name_their_key(changes: dict[str, object], found: str) -> None:
    with pytest.raises(ParamsError, match=found):
        resolve(source="custom", mapping=changes)
