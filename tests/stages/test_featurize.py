"""The featurize stage: what it writes, and what it says of the data."""

import json

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.cli import output
from fraud3000.errors import CheckFailed, DataError
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.verification import leaks
from fraud3000.labels.splits import Boundaries
from fraud3000.stages import featurize as stage
from fraud3000.stages.featurize import featurize
from fraud3000.stages.shared import partitioned_features


def test_every_row_is_there_once_with_its_split(in_trained):
    featured = pl.read_parquet("data/processed/features.parquet")
    transactions = pl.read_parquet("data/interim/transactions.parquet")
    assert featured["transaction_id"].equals(transactions["transaction_id"])
    for part in ("train", "valid", "test"):
        cut = pl.read_parquet(f"data/processed/{part}.parquet")
        assert cut.equals(featured.filter(pl.col("split") == part))


def test_slices_give_what_all_rows_at_once_give(in_trained, tmp_path, monkeypatch):
    transactions, ledger = (pl.read_parquet(f"data/interim/{name}.parquet") for name in ("transactions", "labels"))
    shuffled = transactions.sample(fraction=1, shuffle=True, seed=1)
    (tmp_path / "interim").mkdir()
    shuffled.write_parquet(tmp_path / "interim/transactions.parquet")
    ledger.write_parquet(tmp_path / "interim/labels.parquet")
    for module, name, rows in (
        (partitioned_features, "PART", 5_000),
        (partitioned_features, "SLICE", 3_000),
        (stage, "SLICE", 4_000),
    ):
        monkeypatch.setattr(module, name, rows)
    featurize(params_files.load().model_copy(update={"workspace": str(tmp_path)}))
    found = pl.read_parquet(tmp_path / "processed/features.parquet")
    catalogue = Catalogue.from_dict(json.loads((tmp_path / "processed/catalogue.json").read_text()))
    assert found.drop("split").equals(batch_engine.assemble(shuffled, ledger, catalogue))
    before = pl.read_parquet("data/processed/features.parquet")
    assert found.sort("transaction_id").equals(before.sort("transaction_id"))
    for part in ("train", "valid", "test"):
        assert pl.read_parquet(tmp_path / f"processed/{part}.parquet").equals(found.filter(pl.col("split") == part))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interim", "processed"]


def test_the_split_keeps_the_label_delay_between_its_parts(in_trained):
    bounds = Boundaries.from_dict(json.loads((in_trained / "data/processed/split.json").read_text()))
    assert (bounds.valid[0] - bounds.train[1]).days == 7
    assert (bounds.test[0] - bounds.valid[1]).days == 7
    assert bounds.as_of == bounds.test[0]
    assert bounds.burn_in.days == 40


def test_the_catalogue_is_written_beside_its_features(in_trained):
    catalogue = Catalogue.from_dict(json.loads((in_trained / "data/processed/catalogue.json").read_text()))
    featured = pl.read_parquet_schema("data/processed/features.parquet")
    assert set(catalogue.names) <= set(featured)
    assert {"home_distance", "card_speed_30d", "category"} <= set(catalogue.names)


def test_data_without_keys_says_which_features_are_left_out(in_trained, tmp_path):
    loaded = params_files.load()
    frame = pl.read_parquet("data/interim/transactions.parquet").drop("card_id", "terminal_id")
    (tmp_path / "interim").mkdir()
    frame.write_parquet(tmp_path / "interim/transactions.parquet")
    pl.read_parquet("data/interim/labels.parquet").write_parquet(tmp_path / "interim/labels.parquet")
    summary = featurize(loaded.model_copy(update={"workspace": str(tmp_path)}))
    assert [warning.split(":")[0] for warning in summary.warnings] == [
        "the data has no card_id",
        "the data has no terminal_id",
    ]


def test_labels_that_break_in_their_middle_are_told_before_anything_is_written(in_trained, tmp_path):
    (tmp_path / "interim").mkdir()
    (tmp_path / "interim/transactions.parquet").symlink_to(in_trained / "data/interim/transactions.parquet")
    labels = bytearray((in_trained / "data/interim/labels.parquet").read_bytes())
    labels[20:2_000] = bytes(1_980)
    (tmp_path / "interim/labels.parquet").write_bytes(labels)
    with pytest.raises(DataError, match=r"interim/labels\.parquet: cannot be read"):
        featurize(params_files.load().model_copy(update={"workspace": str(tmp_path)}))
    assert not (tmp_path / "processed").exists()


def test_featurize_checks_before_it_writes(in_trained, tmp_path):
    loaded = params_files.load()
    params = loaded.model_copy(update={"workspace": str(tmp_path)})
    (tmp_path / "interim").mkdir()
    for name in ("transactions", "labels"):
        (tmp_path / f"interim/{name}.parquet").symlink_to(in_trained / f"data/interim/{name}.parquet")
    told = featurize(params, check_leaks=True)
    assert told.facts["no leak"] == "50 rows, 150 futures"
    assert pl.read_parquet(tmp_path / "processed/features.parquet").height == told.facts["rows"]
    assert "no leak" in "\n".join(line for line, _ in output.lines(told))


def test_a_leak_exits_with_6_and_nothing_is_written(in_trained, tmp_path, monkeypatch):
    loaded = params_files.load()
    (tmp_path / "interim").mkdir()
    for name in ("transactions", "labels"):
        (tmp_path / f"interim/{name}.parquet").symlink_to(in_trained / f"data/interim/{name}.parquet")
    right = leaks.check

    def peeking(transactions, ledger, catalogue, *, output_mask=None):
        made = leaks.batch_engine.featurize(transactions, ledger, catalogue, output_mask=output_mask)
        ahead = transactions.select(pl.len().over("card_id").cast(pl.Float64)).to_series()
        return made.with_columns((ahead if output_mask is None else ahead.filter(output_mask)).alias("card_count_7d"))

    monkeypatch.setattr(leaks, "check", lambda *given, **how: right(*given, **how, featurize=peeking))
    with pytest.raises(
        CheckFailed, match=r"depend on the future: card_count_7d\. card_count_7d of transaction S\d+ at"
    ):
        featurize(loaded.model_copy(update={"workspace": str(tmp_path)}), check_leaks=True)
    assert not (tmp_path / "processed").exists()
