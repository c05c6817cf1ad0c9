"""Fixtures that tests of several modules share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column, LabelWindow, NotSeen, Window
from tests.between import Between

Console = Callable[..., subprocess.CompletedProcess[str]]
Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Build a folder once for all workers of a run: `once(name, build)` calls `build(folder)` if no worker has done so.

    Nothing may be changed in the folder; copy_of() makes a copy for a worker or a test.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"

    def built(name: str, build: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        shared.mkdir(exist_ok=True)
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # left by a build that failed
                folder.mkdir()
                build(folder)  # in its final place: a registry records the paths of its artifacts
                done.touch()
        return folder

    return built


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
        LabelWindow("terminal_id", "7d", "rate", delay="7d"),
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
def _migrated_store(once: Once) -> Path:
    """An MLflow database whose tables exist."""

    def build(folder: Path) -> None:
        import mlflow

        mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").search_registered_models()

    return once("store", build) / "mlflow.db"


@pytest.fixture
def own_store(_migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a registry of its own, whose tables exist: making them takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(_migrated_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def trained(once: Once, _migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small simulated data set went through every stage up to a registered challenger.

    It is built once in a run; each worker has a copy.
    """

    def build(folder: Path) -> None:
        from fraud3000 import params as params_files
        from fraud3000.stages.featurize import featurize
        from fraud3000.stages.prepare import prepare
        from fraud3000.stages.simulate import simulate
        from fraud3000.stages.train import train

        shutil.copy(_migrated_store, folder / "mlflow.db")
        (folder / "params.yaml").write_text(SMALL_WORLD, encoding="utf-8")
        with contextlib.chdir(folder):
            params = params_files.load()
            simulate(params, None)
            prepare(params)
            featurize(params)
            train(params)

    return copy_of(once("trained", build), tmp_path_factory.mktemp("trained"))


def copy_of(folder: Path, target: Path) -> Path:
    """Copy a folder's content into another folder."""
    return Path(shutil.copytree(folder, target, dirs_exist_ok=True))


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


@pytest.fixture(scope="session")
def _object_store() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(_object_store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of an object store that is there for this test alone, with an empty bucket `bank`; its environment too."""
    import boto3

    _ask(f"{_object_store}/moto-api/reset")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": _object_store,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bank")
    yield client
    client.close()


@pytest.fixture
def between(s3: Any, _object_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the object store and all who take its address from the environment."""
    host, _, port = _object_store.removeprefix("http://").partition(":")
    proxy = Between((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.listener.close()


@pytest.fixture
def denied_s3(s3: Any, _object_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same, for a user who is allowed nothing."""
    import boto3

    iam = boto3.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    _ask(f"{_object_store}/moto-api/reset-auth", b"0")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    yield s3
    _ask(f"{_object_store}/moto-api/reset-auth", b"inf")


def _ask(url: str, body: bytes = b"") -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "text/plain"}, method="POST")
    urllib.request.urlopen(request).close()
