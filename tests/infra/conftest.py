"""What tests of the infrastructure share: AWS made of moto, and a workspace with a champion."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.programs import AWS, Account, free_port, running, trained


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """AWS for the whole run; `account` is the same, emptied."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true", **AWS}
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("moto") / "log"
    with running(command, answers=f"{url}/moto-api/", log=log, environ=environ):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        yield Account(url, {**kept, **AWS, "AWS_ENDPOINT_URL": url})


@pytest.fixture
def account(moto: Account) -> Account:
    """An AWS account in which nothing was made yet."""
    moto.emptied()
    return moto


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a champion, which no test changes."""
    return trained(tmp_path_factory.mktemp("champion"))
