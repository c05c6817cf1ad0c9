"""A feature that is declared in params.yaml and nowhere else is there wherever features are."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.errors import ParamsError
from fraud3000.features.online import FeatureStore
from fraud3000.features.spec.base import Condition
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import SinceLast, Window
from fraud3000.features.verification.parity import compare
from fraud3000.stages.featurize import featurize
from fraud3000.stages.score_file import score_file
from fraud3000.stages.shared.model_pointer import load
from fraud3000.stages.train import train
from tests.conftest import SMALL_WORLD

OWN = """
  features:
    - {key: category, aggregate: count, length: 1d, bucket: 1h}
    - {key: [card_id, category], aggregate: since_last, length: 30d}
    - {key: card_id, aggregate: share, length: 7d, where: {column: category, is: [travel, electronics]}}
    - {key: card_id, aggregate: mean, length: 7d, where: {column: amount, at_least: 20000}}
  without: [card_count_10m]
"""
DECLARED = [
    Window("category", "1d", "count", bucket="1h"),
    SinceLast(("card_id", "category"), "30d"),
    Window("card_id", "7d", "share", where=Condition("category", "is", ("travel", "electronics"))),
    Window("card_id", "7d", "mean", where=Condition("amount", "at_least", (20_000.0,))),
]
NAMES = [
    "category_count_1d_by_1h",
    "card_category_since_last_30d",
    "card_share_7d_where_category_is_travel_or_electronics",
    "card_amount_mean_7d_where_amount_at_least_20000",
]


@pytest.fixture(scope="module")
def own(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world of the trained challenger, featurized and trained anew with features of one's own."""
    place = tmp_path_factory.mktemp("own")
    shutil.copytree(trained, place, dirs_exist_ok=True)
    text = SMALL_WORLD.replace("featurize: {burn_in: 40d}", f"featurize:\n  burn_in: 40d{OWN.rstrip()}")
    (place / "params.yaml").write_text(text, encoding="utf-8")
    with contextlib.chdir(place), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        params = params_files.load()
        featurize(params)
        train(params)
    return place


@pytest.fixture
def in_own(own: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(own)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return own


def test_it_is_a_column_of_the_features(in_own: Path) -> None:
    features = pl.read_parquet("data/processed/features.parquet")
    assert set(NAMES) <= set(features.columns)
    assert "card_count_10m" not in features.columns
    assert features.select(pl.col(NAMES).n_unique() > 5).row(0) == (True,) * 4


def test_it_is_in_the_bundle_of_the_model_that_was_trained_with_it(in_own: Path) -> None:
    scorer = load("challenger")
    assert scorer.version == "2"
    assert list(scorer.catalogue.features[-4:]) == DECLARED
    assert set(NAMES) <= set(scorer.model.encoder.columns)


def test_a_file_is_scored_with_it_whatever_the_params_say_by_then(in_own: Path, tmp_path: Path) -> None:
    raw = pl.read_parquet("data/raw/transactions.parquet").tail(400)
    raw.write_parquet(tmp_path / "new.parquet")
    found = {}
    for said, params in (("own", None), ("default", params_files.parse({"workspace": "data"}))):
        score_file(str(tmp_path / "new.parquet"), params, out=tmp_path / f"{said}.parquet", model="challenger")
        found[said] = pl.read_parquet(tmp_path / f"{said}.parquet").drop("model_version")
    assert found["own"].equals(found["default"])
    scorer = load("challenger")
    again = scorer.decide(pl.read_parquet("data/processed/features.parquet"))
    assert (
        found["own"]
        .select("transaction_id", "score")
        .sort("transaction_id")
        .equals(
            again.filter(pl.col("transaction_id").is_in(raw["transaction_id"].implode()))
            .select("transaction_id", "score")
            .sort("transaction_id")
        )
    )


def test_the_online_engine_gives_it_as_the_features_have_it(in_own: Path) -> None:
    catalogue = load("challenger").catalogue
    transactions = pl.read_parquet("data/interim/transactions.parquet").sort("seq")
    store = FeatureStore(catalogue)
    store.absorb(transactions.head(-50), pl.read_parquet("data/interim/labels.parquet"))
    features = pl.read_parquet("data/processed/features.parquet", columns=["transaction_id", *catalogue.names])
    expected = {row.pop("transaction_id"): row for row in features.tail(50).to_dicts()}
    assert {
        row["transaction_id"]: store.observe(row) for row in transactions.tail(50).iter_rows(named=True)
    } == expected


def test_the_engines_agree_on_it(in_own: Path) -> None:
    transactions = pl.read_parquet("data/interim/transactions.parquet").tail(4_000)
    found = compare(transactions, pl.read_parquet("data/interim/labels.parquet"), load("challenger").catalogue)
    assert {found.differing[name] for name in NAMES} == {0}
    assert not found.first


def test_the_catalogue_beside_the_features_is_that_of_the_bundle(in_own: Path) -> None:
    beside = json.loads(Path("data/processed/catalogue.json").read_text(encoding="utf-8"))
    assert Catalogue.from_dict(beside) == load("challenger").catalogue


def test_one_that_the_data_has_no_column_for_stops_before_any_work(in_own: Path) -> None:
    before = Path("data/processed/features.parquet").stat().st_mtime_ns
    entry = {"key": "device_id", "aggregate": "count", "length": "1d"}
    params = params_files.parse({"workspace": "data", "featurize": {"features": [entry]}})
    with pytest.raises(ParamsError, match=r"featurize\.features\.0: key: the data has no column 'device_id'"):
        featurize(params)
    assert Path("data/processed/features.parquet").stat().st_mtime_ns == before
