"""A service on the small simulated world, its history a file and its journal in a folder of its own."""

from __future__ import annotations

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
from tests.service.world import NEWEST

_RAW = "data/raw/transactions.parquet"

Open = Callable[[], Service]


@pytest.fixture(scope="session")
def history(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All but the newest rows, as a file."""
    place = tmp_path_factory.mktemp("history") / "history.parquet"
    pl.read_parquet(trained / _RAW).sort("ts", "transaction_id").head(-NEWEST).write_parquet(place)
    return place


@pytest.fixture(scope="session")
def newest(trained: Path) -> pl.DataFrame:
    """The rows that come after the history."""
    return pl.read_parquet(trained / _RAW).sort("ts", "transaction_id").tail(NEWEST)


@pytest.fixture
def given(in_trained: Path, tmp_path: Path) -> Params:
    """Params of a service that keeps its journal apart from all others."""
    params = params_files.load()
    return params.model_copy(update={"serve": params.serve.model_copy(update={"store": str(tmp_path / "service")})})


@pytest.fixture
def reopen(given: Params, history: Path) -> Open:
    """Opens the service on what it has kept."""
    return lambda: Service.open(given, port=0, history=str(history), model="challenger")


@pytest.fixture
def opened(reopen: Open) -> Iterator[Service]:
    with closing(reopen()) as service:
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
