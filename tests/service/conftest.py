"""A service on the small simulated world, its history a file and its journal in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from loguru import logger
from starlette.testclient import TestClient

from fraud3000 import params as params_files
from fraud3000.params import Params
from fraud3000.stages.serve import Service
from tests.conftest import Once, copy_of
from tests.service.world import NEWEST

_RAW = "data/raw/transactions.parquet"

Open = Callable[[], Service]


@pytest.fixture(scope="session")
def history(trained: Path, once: Once) -> Path:
    """All but the newest rows, as a file."""

    def build(folder: Path) -> None:
        rows = pl.read_parquet(trained / _RAW).sort("ts", "transaction_id")
        rows.head(-NEWEST).write_parquet(folder / "history.parquet")

    return once("history", build) / "history.parquet"


@pytest.fixture(scope="session")
def newest(trained: Path) -> pl.DataFrame:
    """The rows that come after the history."""
    return pl.read_parquet(trained / _RAW).sort("ts", "transaction_id").tail(NEWEST)


@pytest.fixture
def given(in_trained: Path, tmp_path: Path) -> Params:
    """Params of a service that keeps its journal apart from all others."""
    return with_store(params_files.load(), tmp_path / "service")


def with_store(params: Params, store: Path) -> Params:
    """Params of a service with another data folder."""
    return params.model_copy(update={"serve": params.serve.model_copy(update={"store": str(store)})})


@pytest.fixture(scope="session")
def seeded(trained: Path, history: Path, once: Once) -> Path:
    """The data folder of a service that has read its history and decided nothing; without an audit key."""

    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(trained)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            patch.delenv("FRAUD3000_AUDIT_KEY", raising=False)
            params = with_store(params_files.load(), folder / "service")
            Service.open(params, port=0, history=str(history), model="challenger").close()

    return once("seeded", build)


@pytest.fixture
def reopen(given: Params, history: Path) -> Open:
    """Opens the service on its data folder; the first time, it reads its history."""
    return lambda: Service.open(given, port=0, history=str(history), model="challenger")


@pytest.fixture
def reopen_seeded(reopen: Open, seeded: Path, tmp_path: Path) -> Open:
    """As `reopen`, but its history was read before: that takes most of the time of a first start."""
    if not (tmp_path / "service").exists() and "FRAUD3000_AUDIT_KEY" not in os.environ:
        copy_of(seeded, tmp_path)
    return reopen


@pytest.fixture
def opened(reopen_seeded: Open) -> Iterator[Service]:
    """A service that has decided nothing."""
    with closing(reopen_seeded()) as service:
        yield service


@pytest.fixture
def client(opened: Service) -> TestClient:
    return TestClient(opened.app, raise_server_exceptions=False)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What is logged, before card numbers are masked in it."""
    lines: list[str] = []
    place = logger.add(lambda message: lines.append(str(message)), level="TRACE", diagnose=False)
    yield lines
    logger.remove(place)
