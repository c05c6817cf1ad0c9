"""Scoring a file and serving need none of the libraries that train, report and register."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from fraud3000.stages.shared import model_pointer

TRAINING = (
    "sklearn", "scipy", "skops", "joblib", "threadpoolctl", "pandas", "matplotlib", "mlflow", "lightgbm", "optuna", "dvc", "boto3",
)  # fmt: skip
WITHOUT = f"""
import sys
for name in {TRAINING!r}:
    sys.modules[name] = None  # importing it raises ImportError
"""
SCORE = """
sys.argv = ["fraud3000", "score-file", "transactions.parquet", "--cold-start", "--reasons", "all"]
from fraud3000 import __main__
sys.exit(__main__.main())
"""
SERVE = """
from fraud3000 import params
from fraud3000.stages.serve import Service
service = Service.open(params.load(), port=0, history="transactions.parquet", cold_start=True, model="champion")
service.close()
"""


@pytest.fixture
def promoted(trained: Path, tmp_path: Path) -> Path:
    """A folder with a promoted model's files, and transactions to score."""
    shutil.copytree(trained / "data" / "models" / "1", tmp_path / "data" / "models" / "1")
    champion = model_pointer.pointer_text("champion", "1", tmp_path / "data" / "models" / "1")
    (tmp_path / "data" / "models" / "champion.json").write_text(champion, encoding="utf-8")
    rows = pl.read_parquet(trained / "data" / "raw" / "transactions.parquet").sort("ts").head(2_000)
    rows.drop("is_fraud", "reported_at", "fraud_scenario").write_parquet(tmp_path / "transactions.parquet")
    return tmp_path


@pytest.mark.parametrize("program", [SCORE, SERVE], ids=["score-file", "serve"])
def test_nothing_that_trains_is_imported(promoted: Path, program: str) -> None:
    command = [sys.executable, "-c", WITHOUT + program]
    done = subprocess.run(command, cwd=promoted, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
