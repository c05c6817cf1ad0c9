"""The commands of the README, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = "simulate: {rows: 20000, days: 150, cards: 300, terminals: 100}\nevaluate: {replicates: 20}\n"
NEWEST = """
import polars as pl
raw = pl.read_parquet("data/raw/transactions.parquet")
raw.filter(pl.col("ts") > pl.col("ts").max() - pl.duration(days=14)).write_csv("newest.csv")
"""


@pytest.mark.slow
def test_its_commands_lead_from_raw_to_scored_transactions(tmp_path: Path) -> None:
    block = re.search(r"## Use it\n\n```\n(.*?)```", README, re.DOTALL)
    assert block is not None
    lines = block[1].strip().replace("FILE", "newest.csv").splitlines()
    lines.insert(1, f"{sys.executable} -c '{NEWEST}'")
    (tmp_path / "params.yaml").write_text(SMALL)
    place = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)], cwd=tmp_path, env=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "newest.scored.parquet").exists()
