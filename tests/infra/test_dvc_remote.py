"""Data and models go to a bucket and come back in another clone, to the same hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.programs import ROOT, Account, told

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
PIPELINE = ("dvc.yaml", ".dvcignore", ".gitignore", "params.yaml", "Makefile")
SMALLER = (
    ("rows: 1000000", "rows: 60000"),
    ("cards: 10000", "cards: 600"),
    ("terminals: 4000", "terminals: 240"),
    ("days: 240", "days: 200"),
    ("replicates: 200", "replicates: 20"),
)


def committed(place: Path, message: str, environ: dict[str, str]) -> None:
    for words in (["add", "."], ["commit", "--quiet", "--message", message]):
        told(
            "env", *(f"{name}={value}" for name, value in environ.items() if "GIT" in name), "git", *words, place=place
        )


def make(target: str, place: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["make", "--old-file", "environment", f"RUN={BIN}", "UV=true", target]
    environ = {name: value for name, value in environ.items() if name not in {"MAKEFLAGS", "MAKEOVERRIDES", "ARGS"}}
    return subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, timeout=300, check=False)


def files(place: Path) -> dict[str, str]:
    """Each file of a clone's data with its hash."""
    found = sorted(path for path in (place / "data").rglob("*") if path.is_file() and path.name != ".gitignore")
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture
def environ(account: Account) -> dict[str, str]:
    names = {f"GIT_{who}_{what}": "me@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{BIN}:{os.environ['PATH']}"
    return {**account.environ, **names, "PATH": path, "DVC_NO_ANALYTICS": "1", "FRAUD3000_DVC_REMOTE": "s3://kept/f"}


@pytest.fixture
def origin(tmp_path: Path, environ: dict[str, str]) -> Path:
    """A clone whose pipeline ran, with a champion."""
    place = tmp_path / "origin"
    place.mkdir()
    for name in PIPELINE:
        shutil.copy(ROOT / name, place)
    (place / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", place / ".dvc")
    shutil.copy(ROOT / ".dvc" / ".gitignore", place / ".dvc")
    params = (place / "params.yaml").read_text(encoding="utf-8")
    for before, after in SMALLER:
        params = params.replace(before, after)
    (place / "params.yaml").write_text(params, encoding="utf-8")
    told("git", "init", "--quiet", place)
    for command in ([BIN / "dvc", "repro"], [BIN / "dvc", "add", "data/models"]):
        ran = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, timeout=600, check=False)
        assert ran.returncode == 0, ran.stderr[-2_000:]
    committed(place, "The pipeline, run", environ)
    return place


def test_another_clone_has_the_same_data_and_models(
    origin: Path, tmp_path: Path, environ: dict[str, str], account: Account
) -> None:
    told(sys.executable, "-c", _bucket(account))
    pushed = make("push", origin, environ)
    assert pushed.returncode == 0, pushed.stderr
    told("git", "clone", "--quiet", origin, tmp_path / "other")
    other = tmp_path / "other"
    assert not (other / "data" / "models").exists()
    pulled = make("pull", other, environ)
    assert pulled.returncode == 0, pulled.stderr
    kept = {path: hashed for path, hashed in files(origin).items() if path in files(other)}
    assert files(other) == kept
    assert {path for path in files(origin) if path not in kept} == set()
    assert "s3://" not in told("git", "status", "--porcelain", place=other) + (other / ".dvc" / "config").read_text()
    status = subprocess.run(
        [BIN / "dvc", "status"], cwd=other, env=environ, capture_output=True, text=True, check=False
    )
    assert "up to date" in status.stdout


def test_without_a_bucket_or_its_name_it_says_so(origin: Path, environ: dict[str, str]) -> None:
    unnamed = make("push", origin, {name: value for name, value in environ.items() if name != "FRAUD3000_DVC_REMOTE"})
    assert unnamed.returncode != 0
    assert "FRAUD3000_DVC_REMOTE is not set" in unnamed.stderr
    missing = make("push", origin, environ)
    assert missing.returncode != 0
    assert "bucket does not exist" in missing.stderr


def _bucket(account: Account) -> str:
    keys = "aws_access_key_id='testing', aws_secret_access_key='testing', region_name='us-east-1'"
    return f"import boto3; boto3.client('s3', endpoint_url={account.url!r}, {keys}).create_bucket(Bucket='kept')"
