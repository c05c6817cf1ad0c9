"""The built wheel, installed by pip without the lock file, does the work on local files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv") or ROOT / ".tools" / "bin" / "uv"
CHAIN = (
    ["simulate", "--rows", "60000", "--days", "150", "--cards", "1000", "--terminals", "500"],
    ["prepare"],
    ["featurize"],
    ["train"],
    ["evaluate"],
    ["score-file", "data/raw/transactions.parquet", "--model", "challenger", "--cold-start"],
)
EXTRAS = {"boto3", "dvc", "lightgbm", "optuna", "psycopg"}


def call(*command: str | Path, cwd: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD3000", "MLFLOW"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_alone_trains_evaluates_and_scores(tmp_path: Path) -> None:
    call(UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT, cwd=tmp_path)
    call(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv" / "bin"
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    call(programs / "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)
    installed = {
        line.partition("==")[0].lower() for line in call(programs / "pip", "freeze", cwd=tmp_path).splitlines()
    }
    assert not installed & EXTRAS
    for arguments in CHAIN:
        call(programs / "fraud3000", *arguments, cwd=tmp_path)
    assert (tmp_path / "data" / "reports" / "report.html").exists()
    assert (tmp_path / "data" / "raw" / "transactions.scored.parquet").exists()
