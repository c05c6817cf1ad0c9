"""Peak memory and time of `fraud3000 prepare`, `featurize` and `score-file` as a file of constant daily traffic grows."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROWS = {
    "prepare": "raw Parquet to the workspace",
    "featurize": "the workspace to features and splits, with the default catalogue",
    "score_file": "raw Parquet to scores, with a workspace of the same rows as history",
}
MILLIONS = (10, 40)
A_DAY, CARDS, TERMINALS = 100_000, 50_000, 20_000

_COMMAND = str(Path(sys.executable).with_name("fraud3000"))
_MODEL = """
workspace: data
simulate: {rows: 300000, days: 200, cards: 1800, terminals: 720, seed: 5}
featurize: {burn_in: 60d}
policy: {cards_per_day: 20}
"""

Figures = dict[str, dict[str, float]]


def measure(wanted: Sequence[str], millions: Sequence[int], place: Path) -> Figures:
    """Run the commands at each size, each in a process of its own."""
    found: dict[str, dict[str, float]] = {name: {} for name in wanted}
    if "score_file" in wanted:
        (place / "params.yaml").write_text(_MODEL, encoding="utf-8")
        for stage in ("simulate", "prepare", "featurize", "train"):
            run(place, stage)
    for size in millions:
        params = world(place, size * 1_000_000)
        for name, (seconds, peak) in _commands(place, size, params, wanted).items():
            found[name] |= {f"peak_gb_{size}m": round(peak, 3), f"seconds_{size}m": round(seconds, 1)}
        shutil.rmtree(place / f"{size}m")
    for figures in found.values():
        figures |= _growth(figures, millions)
    return {f"memory_{name}": figures for name, figures in found.items()}


def _commands(place: Path, size: int, params: str, wanted: Sequence[str]) -> dict[str, tuple[float, float]]:
    raw, how = f"{size}m/raw.parquet", ("--model", "challenger", "--reasons", "none", "--cold-start")
    asked = {
        "prepare": ("prepare", "--params", params),
        "score_file": ("score-file", raw, *how, "--out", f"{size}m/scored.parquet", "--params", params),
        "featurize": ("featurize", "--params", params),
    }
    taken = {name: run(place, *arguments) for name, arguments in asked.items() if name in {"prepare", *wanted}}
    return {name: taken[name] for name in wanted}


def world(place: Path, rows: int, featurize: str = "burn_in: 1d") -> str:
    """Simulate so many rows, ten times the rows in ten times the days of the same cards; give the params' name."""
    size = f"{rows // 1_000_000}m"
    sizes = {"rows": rows, "days": rows // A_DAY, "cards": CARDS, "terminals": TERMINALS, "seed": 2018}
    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    run(place, "simulate", *options, "--out", f"{size}/raw.parquet")
    content = f"workspace: {size}\nprepare: {{input: {size}/raw.parquet}}\nfeaturize: {{{featurize}}}\n"
    (place / f"{size}.yaml").write_text(content, encoding="utf-8")
    return f"{size}.yaml"


def run(place: Path, *arguments: str) -> tuple[float, float]:
    """Seconds, and peak resident memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen([_COMMAND, *arguments], cwd=place, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, _COMMAND)
    return time.perf_counter() - start, used.ru_maxrss * 1024 / 1e9


def _growth(figures: dict[str, float], millions: Sequence[int]) -> dict[str, float]:
    """What the largest size takes more than the smallest."""
    least, most = min(millions), max(millions)
    if least == most:
        return {}
    more = figures[f"peak_gb_{most}m"] - figures[f"peak_gb_{least}m"]
    return {
        "times_the_memory": round(figures[f"peak_gb_{most}m"] / figures[f"peak_gb_{least}m"], 2),
        "bytes_for_each_row_more": round(more * 1e3 / (most - least)),
        "times_the_seconds": round(figures[f"seconds_{most}m"] / figures[f"seconds_{least}m"], 2),
        "at_most_gb": 5,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    parser.add_argument("--millions", type=int, nargs="+", default=MILLIONS, help="of rows")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure([asked.row] if asked.row else list(ROWS), asked.millions, Path(folder))))
