"""What tests of several modules share."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud3000.features.spec import Catalogue, Column, LabelWindow, NotSeen, Window

Console = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def console_command() -> str:
    """Path of the installed console command."""
    return str(Path(sys.executable).with_name("fraud3000"))


@pytest.fixture
def console(console_command: str, tmp_path: Path) -> Console:
    """Run the installed console command in a folder of its own."""

    def run(*arguments: object, **how: object) -> subprocess.CompletedProcess[str]:
        command = [console_command, *map(str, arguments)]
        options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120, **how}
        return subprocess.run(command, check=False, **options)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture(scope="session")
def small_catalogue() -> Catalogue:
    """Features of every kind."""
    features = (
        Column("amount"),
        Column("category", categorical=True),
        Window("card_id", "7d", "count"),
        NotSeen(("card_id", "terminal_id"), "90d"),
        LabelWindow("terminal_id", "7d", "rate", "7d"),
        Column("nothing"),
        Column("same"),
    )
    return Catalogue(features=features, label_delay=604_800)


@pytest.fixture(scope="session")
def small_featured() -> pl.DataFrame:
    """FEATURED rows with their answer: large amounts at risky terminals are fraud, now and then."""
    source = np.random.default_rng(3)
    n = 3_000
    amount, rate = source.gamma(2, 2_000, n).astype(np.int64), source.beta(0.3, 6, n)
    fraud = source.random(n) < 1 / (1 + np.exp(-(amount / 1_500 + 6 * rate - 8)))
    place = np.arange(n)
    return pl.DataFrame(
        {
            "transaction_id": [f"{one:05}" for one in place],
            "amount": amount,
            "status": "approved",
            "labelled": True,
            "category": source.choice(["food", "fuel", "travel"], n, p=[0.5, 0.3, 0.2]),
            "card_count_7d": pl.Series(source.poisson(3, n), dtype=pl.Float64),
            "card_terminal_not_seen_90d": source.random(n) < 0.3,
            "terminal_fraud_rate_7d_delayed_7d": pl.Series(np.where(place % 7 == 0, np.nan, rate)).fill_nan(None),
            "nothing": pl.Series([None] * n, dtype=pl.Float64),
            "same": 1.0,
            "is_fraud": fraud.astype(np.int8),
        }
    )


@pytest.fixture(scope="session")
def _migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import mlflow

    place = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{place}").search_registered_models()
    return place


@pytest.fixture
def own_store(_migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a registry of its own, whose tables exist: making them takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(_migrated_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def trained(_migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small simulated data set went through every stage up to a registered challenger."""
    from fraud3000 import params as params_files
    from fraud3000.stages.featurize import featurize
    from fraud3000.stages.prepare import prepare
    from fraud3000.stages.simulate import simulate
    from fraud3000.stages.train import train

    place = tmp_path_factory.mktemp("trained")
    shutil.copy(_migrated_store, place / "mlflow.db")
    (place / "params.yaml").write_text(SMALL_WORLD, encoding="utf-8")
    with contextlib.chdir(place):
        params = params_files.load()
        simulate(params, None)
        prepare(params)
        featurize(params)
        train(params)
    return place


SMALL_WORLD = """
workspace: data
simulate: {rows: 20000, days: 160, cards: 300, terminals: 120, seed: 5}
featurize: {burn_in: 40d}
train: {estimator: random_forest, estimator_params: {n_estimators: 20, min_samples_leaf: 5}}
policy: {cards_per_day: 5}
evaluate: {replicates: 20}
"""


@pytest.fixture
def in_trained(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in the folder of the trained challenger."""
    monkeypatch.chdir(trained)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return trained
