"""MLflow's database, made by an older MLflow: copied, upgraded, and taken back, with the registered model in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.infra.programs import ROOT, Postgres, postgres, postgres_program, told

pytestmark = pytest.mark.slow

OLDER = "mlflow-skinny==3.1.4"
WITH = ("psycopg2-binary", "sqlalchemy<2.1", "alembic", "pandas<3")
EMPTIED = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
REGISTER = """
import sys, mlflow
client = mlflow.MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
client.create_registered_model("fraud3000")
client.create_model_version("fraud3000", source="file:///nowhere", run_id=None)
client.set_registered_model_alias("fraud3000", "champion", "1")
"""
ASK = """
import sys, mlflow
client = mlflow.MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
print("champion", client.get_model_version_by_alias("fraud3000", "champion").version)
"""


def older(*words: str) -> subprocess.CompletedProcess[str]:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    if not Path(uv).exists():
        pytest.skip("uv is not there to fetch an older MLflow")
    more = [part for package in WITH for part in ("--with", package)]
    command = [uv, "run", "--quiet", "--isolated", "--no-project", "--with", OLDER, *more, *words]
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)


def ours(script: str, uri: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, uri], capture_output=True, text=True, timeout=300, check=False)


def upgrade(uri: str) -> None:
    told(Path(sys.executable).with_name("mlflow"), "db", "upgrade", uri)


def revision(database: Postgres) -> str:
    """Of the schema."""
    with psycopg.connect(database.uri) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone())


@pytest.fixture
def database() -> Postgres:
    with postgres() as server:
        yield server


def test_a_database_of_an_older_mlflow_is_upgraded_and_can_be_taken_back(database: Postgres, tmp_path: Path) -> None:
    made = older("python", "-c", REGISTER, database.uri)
    if made.returncode and "Failed to fetch" in made.stderr:
        pytest.skip("an older MLflow cannot be fetched")
    assert made.returncode == 0, made.stderr[-2_000:]
    version = revision(database)
    copy = tmp_path / "mlflow.dump"
    told(postgres_program("pg_dump"), "--format", "custom", "--file", copy, database.uri)
    upgrade(database.uri)
    assert revision(database) != version
    assert ours(ASK, database.uri).stdout == "champion 1\n"

    told(postgres_program("psql"), database.uri, "--quiet", "--command", EMPTIED)
    told(postgres_program("pg_restore"), "--no-owner", "--dbname", database.uri, copy)
    assert revision(database) == version
    assert older("python", "-c", ASK, database.uri).stdout == "champion 1\n"
    upgrade(database.uri)
    assert ours(ASK, database.uri).stdout == "champion 1\n"
