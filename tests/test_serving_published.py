"""The service against score-file, on published data and a running process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fraud3000 import params as params_files
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.train import train

ROOT = Path(__file__).parents[1]
DATASETS = os.environ.get("FRAUD3000_DATASETS", "")


@pytest.mark.slow
@pytest.mark.skipif(not DATASETS, reason="FRAUD3000_DATASETS names no folder of published data sets")
def test_the_last_day_of_the_handbook_row_by_row_and_a_week_in_disorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(ROOT / "params" / "handbook-p1.yaml", "p1.yaml")
    given = params_files.load(Path("p1.yaml"))
    for stage in (prepare, featurize, train):
        stage(given)
    raw = Path(DATASETS) / "handbook_transactions.parquet"
    command = [sys.executable, str(ROOT / "scripts" / "compare_serving.py"), str(raw), "p1.yaml", "--days", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows=9649 " in done.stdout
    assert " differing=0 " in done.stdout
    command = [sys.executable, str(ROOT / "scripts" / "parity_serving.py"), str(raw), "p1.yaml", "--days", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("sent=")
    assert done.stdout.endswith(" differing=0\n")
