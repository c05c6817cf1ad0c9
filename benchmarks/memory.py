"""Peak memory of `fraud3000 prepare` and `score-file` as a file of constant daily traffic grows from 2 to 10 million rows."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = {"prepare": "raw Parquet to the workspace", "score_file": "raw Parquet to scores, with a workspace as history"}
_SIZES = {"2m": 2_000_000, "10m": 10_000_000}
_A_DAY = 16_667  # rows; the longest windows look back 97 days
_COMMAND = str(Path(sys.executable).with_name("fraud3000"))
_MODEL = """
workspace: data
simulate: {rows: 300000, days: 200, cards: 1800, terminals: 720, seed: 5}
featurize: {burn_in: 60d}
policy: {cards_per_day: 20}
"""


def measure(wanted: str | None, place: Path) -> dict[str, dict[str, float]]:
    """Run both commands at both sizes, each in its own process."""
    found: dict[str, dict[str, float]] = {}
    if wanted != "prepare":
        (place / "params.yaml").write_text(_MODEL, encoding="utf-8")
        for stage in ("simulate", "prepare", "featurize", "train"):
            _run(place, stage)
    for size, rows in _SIZES.items():
        raw, params = _world(place, size, rows)
        seconds, peak = _run(place, "prepare", "--params", params)
        found.setdefault("prepare", {}).update(_figures(size, rows, seconds, peak))
        if wanted != "prepare":
            how = ("--model", "challenger", "--reasons", "none", "--cold-start", "--out", f"{size}.parquet")
            seconds, peak = _run(place, "score-file", raw, *how, "--params", params)
            found.setdefault("score_file", {}).update(_figures(size, rows, seconds, peak))
    rows_more = _SIZES["10m"] - _SIZES["2m"]
    for figures in found.values():
        figures["ratio"] = round(figures["peak_gb_10m"] / figures["peak_gb_2m"], 2)
        figures["bytes_for_each_row_more"] = round((figures["peak_gb_10m"] - figures["peak_gb_2m"]) * 1e9 / rows_more)
    return {f"memory_{name}": figures for name, figures in found.items() if wanted in (None, name)}


def _world(place: Path, size: str, rows: int) -> tuple[str, str]:
    """Simulate a world: five times the rows are five times the days of the same cards."""
    raw, params = f"{size}/raw.parquet", f"{size}.yaml"
    sizes = ["--rows", str(rows), "--days", str(rows // _A_DAY), "--cards", "20000", "--terminals", "8000"]
    _run(place, "simulate", *sizes, "--seed", "2018", "--out", raw)
    (place / params).write_text(f"workspace: {size}\nprepare: {{input: {raw}}}\n", encoding="utf-8")
    return raw, params


def _figures(size: str, rows: int, seconds: float, peak: float) -> dict[str, float]:
    return {f"peak_gb_{size}": round(peak, 3), f"seconds_for_each_million_{size}": round(seconds * 1e6 / rows, 1)}


def _run(place: Path, *arguments: str) -> tuple[float, float]:
    """Return seconds and peak resident memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen([_COMMAND, *arguments], cwd=place, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, _COMMAND)
    return time.perf_counter() - start, used.ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(parser.parse_args().row, Path(folder))))
