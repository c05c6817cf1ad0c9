"""The services of compose.yaml as processes: train against MLflow on PostgreSQL and a bucket, promote, serve, score; and break.

Prometheus and Grafana are not started: their published images cannot be had everywhere.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from tests.infra.programs import (
    AWS,
    COMMAND,
    Account,
    Postgres,
    fraud3000,
    free_port,
    mlflow_on,
    postgres,
    running,
    trained,
)

pytestmark = pytest.mark.slow

BUCKET, KEY = "artifacts", "a key that only this test knows"


@dataclass
class World:
    """Everything that runs, and a workspace whose champion was made with it."""

    database: Postgres
    registry: str
    place: Path
    account: Account
    stack: ExitStack
    mlflow: subprocess.Popen[bytes]

    @property
    def environ(self) -> dict[str, str]:
        return {**self.account.environ, "MLFLOW_TRACKING_URI": self.registry, "FRAUD3000_LOG_FORMAT": "json"}


def bucket(account: Account) -> Any:
    keys = {"aws_access_key_id": AWS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": AWS["AWS_SECRET_ACCESS_KEY"]}
    return boto3.client("s3", endpoint_url=account.url, region_name="us-east-1", **keys)


@pytest.fixture(scope="module")
def world(moto: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    moto.emptied()
    bucket(moto).create_bucket(Bucket=BUCKET)
    place = tmp_path_factory.mktemp("services")
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        registry, program = stack.enter_context(mlflow_on(database, BUCKET, moto, place / "mlflow.log"))
        made = World(database, registry, place, moto, stack, program)
        trained(place, made.environ)
        yield made


@contextmanager
def serving(world: World, place: Path, *options: str, environ: dict[str, str] | None = None) -> Iterator[str]:
    """The service, until it has ended; what it told goes to `serve.log`."""
    key, port = place / "key", free_port()
    key.write_text(KEY, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    given = {**(environ or world.environ), "FRAUD3000_API_KEY_FILE": str(key)}
    command = [COMMAND, "serve", "--port", str(port), "--params", str(_params(place)), *options]
    with running(command, answers=f"{url}/ready", log=place / "serve.log", environ=given, place=place):
        yield url


def _params(place: Path) -> Path:
    path = place / "serve.yaml"
    path.write_text("serve: {reload: 1s}\n", encoding="utf-8")
    return path


def ask(url: str, body: object = None, *, key: str = KEY) -> dict[str, Any]:
    sent = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, sent, {"X-API-Key": key, "Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return dict(json.load(answer))


def transaction(number: int) -> dict[str, object]:
    return {
        "transaction_id": f"services-{number}",
        "ts": "2026-01-02T03:04:05Z",
        "card_id": "C00001",
        "terminal_id": "T0000001",
        "amount": 1_250,
        "category": "food",
    }


def test_runs_are_in_the_database_and_artifacts_in_the_bucket(world: World) -> None:
    with psycopg.connect(world.database.uri) as connection, connection.cursor() as asked:
        asked.execute("SELECT count(*) FROM runs")
        assert asked.fetchone()[0] >= 1
        asked.execute("SELECT alias, version FROM registered_model_aliases ORDER BY alias")
        assert asked.fetchall() == [("challenger", 1), ("champion", 1)]
    names = [found["Key"] for found in bucket(world.account).list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert any(name.endswith("manifest.json") for name in names)
    assert not (world.place / "mlflow.db").exists()
    assert not (world.place / "mlartifacts").exists()


def test_the_champion_of_the_registry_serves_and_scores(world: World) -> None:
    with serving(world, world.place) as url:
        assert ask(f"{url}/model")["model_version"] == "1"
        result = ask(f"{url}/score", transaction(1))["results"][0]
        assert result["decision"] in {"approve", "review", "decline"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"{url}/model", key="another key")


def test_a_machine_without_the_bundle_fetches_it_from_the_registry(world: World, tmp_path: Path) -> None:
    with serving(world, tmp_path, "--cold-start") as url:
        assert ask(f"{url}/model")["model_version"] == "1"
    here, there = (place / "data" / "models" / "1" / "manifest.json" for place in (tmp_path, world.place))
    assert here.read_bytes() == there.read_bytes()
    assert (tmp_path / "data" / "models" / "champion.json").exists()


def test_a_model_that_another_machine_made_is_followed(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(world.place / "data", other / "data", ignore=shutil.ignore_patterns("service"))
    with serving(world, tmp_path, "--cold-start", "--model", "challenger") as url:
        assert ask(f"{url}/model")["model_version"] == "1"
        fraud3000("train", place=other, environ=world.environ)
        end = time.monotonic() + 60
        while ask(f"{url}/model")["model_version"] != "2" and time.monotonic() < end:
            time.sleep(0.5)
        assert ask(f"{url}/model")["model_version"] == "2"


def test_without_the_registry_the_last_good_bundle_serves_and_that_is_said(world: World) -> None:
    gone = {**world.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    with serving(world, world.place, environ=gone) as url:
        assert ask(f"{url}/model")["model_version"] == "1"
        assert ask(f"{url}/score", transaction(2))["results"][0]["decision"]
    said = " ".join((world.place / "serve.log").read_text(encoding="utf-8").split())
    assert "serving version 1, the last one that was exported" in said
    assert "cannot be used" in said


def test_without_the_registry_and_without_a_bundle_nothing_serves(world: World, tmp_path: Path) -> None:
    gone = {**world.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    ended = subprocess.run(
        [COMMAND, "serve", "--port", "0", "--cold-start"],
        cwd=tmp_path,
        env=gone,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 7
    assert "the model registry at http://127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_database_training_ends_before_it_begins(world: World) -> None:
    """Its server answers, but with errors: nothing is registered, and the files are as they were."""
    models = world.place / "data" / "models"
    before = {path.name for path in models.iterdir()}
    world.database.stop()
    try:
        ended = subprocess.run(
            [COMMAND, "train"],
            cwd=world.place,
            env=world.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        world.database.start()
    assert ended.returncode == 7, ended.stderr[-2_000:]
    assert "cannot be used" in ended.stderr
    assert {path.name for path in models.iterdir()} == before
