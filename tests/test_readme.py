"""The commands of the README, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = """
simulate: {rows: 100000, days: 240, cards: 1000, terminals: 400}
policy: {cards_per_day: 12}
evaluate: {replicates: 20}
promote: {least_frauds: 40}
serve: {port: 18797}
"""
NEWEST = """
import polars as pl
raw = pl.read_parquet("data/raw/transactions.parquet")
raw.filter(pl.col("ts") > pl.col("ts").max() - pl.duration(days=14)).write_csv("newest.csv")
"""


ASK = """curl --silent --retry 60 --retry-delay 1 --retry-connrefused http://127.0.0.1:18797/ready
curl --silent --fail http://127.0.0.1:18797/score --json \\
  '{"transaction_id": "web-1", "ts": "2025-12-31T09:30:00Z", "card_id": "C1", "terminal_id": "T1", "amount": 100}'
for _ in $(seq 60); do fraud3000 shadow-report >/dev/null 2>&1 && break; sleep 1; done
kill %1
wait
"""


@pytest.mark.slow
def test_its_commands_lead_from_raw_to_scored_transactions(tmp_path: Path) -> None:
    block = re.search(r"## Use it\n\n```\n(.*?)```", README, re.DOTALL)
    assert block is not None
    lines = block[1].strip().replace("FILE", "newest.csv").replace("ID ", "web-1 ").splitlines()
    (serve,) = [place for place, line in enumerate(lines) if line.startswith("fraud3000 serve")]
    lines[serve : serve + 1] = [
        "fraud3000 train --params other.yaml",
        "fraud3000 serve --shadow challenger >/dev/null &",
        ASK,
    ]
    lines.insert(1, f"{sys.executable} -c '{NEWEST}'")
    (tmp_path / "params.yaml").write_text(SMALL)
    (tmp_path / "other.yaml").write_text(f"{SMALL}train: {{estimator_params: {{max_leaf_nodes: 7}}}}\n")
    place = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)], cwd=tmp_path, env=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "newest.scored.parquet").exists()
    assert '"status":"ready"' in done.stdout
