"""Time and peak memory of `prepare`, `featurize` and `score-file` as a history of constant daily traffic grows to 80 million rows."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = {
    "featurize": "4, 40 and 80 million rows of 100,000 a day, 50,000 cards, windows of up to 30 days",
    "prepare": "the raw files of these",
    "score_file": "the raw file of 40 million rows",
}
_SIZES = {"4m": 4_000_000, "40m": 40_000_000, "80m": 80_000_000}
_A_DAY, _CARDS, _TERMINALS = 100_000, 50_000, 20_000
_COMMAND = str(Path(sys.executable).with_name("fraud3000"))
_PARAMS = """
workspace: {size}
prepare: {{input: {size}.parquet}}
featurize:
  burn_in: 7d
  without: [{without}]
train: {{estimator_params: {{max_iter: 50}}}}
"""
_LONGER = (
    *(f"card_amount_{what}_90d" for what in ("mean", "max", "std", "ratio", "zscore")),
    "card_terminal_not_seen_90d",
)

Figures = dict[str, dict[str, float]]


def measure(wanted: str | None, place: Path) -> Figures:
    """Run the commands on each size, each in its own process; files are deleted after use."""
    found: Figures = {name: {} for name in ROWS}
    sizes = [size for size in _SIZES if wanted != "score_file" or size != "80m"]
    for size in sizes:
        params = _world(place, size)
        stages = ("prepare", "featurize") if wanted != "score_file" or size == "4m" else ()
        for stage in stages:
            _note(found[stage], size, _run(place, stage, "--params", params))
        if size == "4m" and wanted in (None, "score_file"):
            _run(place, "train", "--params", params)
        if size == "40m" and wanted in (None, "score_file"):
            how = ("--params", "4m.yaml", "--model", "challenger", "--reasons", "none", "--cold-start")
            (place / "4m" / "interim" / "transactions.parquet").unlink()  # the file is its own history
            _note(found["score_file"], size, _run(place, "score-file", "40m.parquet", "--out", "out.parquet", *how))
        for made in (*place.glob(f"{size}*.parquet"), *place.glob(f"{size}/*/*.parquet")):
            if size != "4m":
                made.unlink()
    for stage in ("prepare", "featurize"):
        if "seconds_80m" in found[stage]:
            found[stage] |= _growth(found[stage])
    return {f"growth_{name}": figures for name, figures in found.items() if figures and wanted in (None, name)}


def _world(place: Path, size: str) -> str:
    rows = _SIZES[size]
    sizes = ["--rows", str(rows), "--days", str(rows // _A_DAY), "--cards", str(_CARDS), "--terminals", str(_TERMINALS)]
    _run(place, "simulate", *sizes, "--seed", "2018", "--out", f"{size}.parquet")
    (place / f"{size}.yaml").write_text(_PARAMS.format(size=size, without=", ".join(_LONGER)), encoding="utf-8")
    return f"{size}.yaml"


def _note(figures: dict[str, float], size: str, measured: tuple[float, float]) -> None:
    seconds, peak = measured
    figures |= {f"seconds_{size}": round(seconds, 1), f"peak_gb_{size}": round(peak, 2)}


def _growth(figures: dict[str, float]) -> dict[str, float]:
    return {
        "times_40m_over_4m": round(figures["seconds_40m"] / figures["seconds_4m"], 2),
        "at_most": 11,
        "peak_80m_over_40m": round(figures["peak_gb_80m"] / figures["peak_gb_40m"], 2),
        "peak_at_most": 1.25,
    }


def _run(place: Path, *arguments: str) -> tuple[float, float]:
    """Return seconds and peak resident memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen([_COMMAND, *arguments], cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.stderr.buffer.write(said)
        raise subprocess.CalledProcessError(process.returncode, arguments)
    seconds, peak = time.perf_counter() - start, used.ru_maxrss * 1024 / 1e9
    print(f"{' '.join(arguments[:3])}: {seconds:.1f} s, {peak:.2f} GB", file=sys.stderr, flush=True)
    return seconds, peak


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(parser.parse_args().row, Path(folder))))
