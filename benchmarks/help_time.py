"""Time of `fraud3000 --help`, compared with importing typer and rich."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROWS = {"help": "fraud3000 --help beside python -c 'import typer, rich.console'"}
_HELP = [str(Path(sys.executable).with_name("fraud3000")), "--help"]
_IMPORTS = [sys.executable, "-c", "import typer, rich.console"]


def measure(pairs: int = 15) -> dict[str, float]:
    """Run both alternately, after one run each in which Python writes its byte code."""
    seconds = [(_seconds(_HELP), _seconds(_IMPORTS)) for _ in range(pairs + 1)][1:]
    return {
        "help_seconds": round(statistics.median(ours for ours, _ in seconds), 4),
        "imports_seconds": round(statistics.median(theirs for _, theirs in seconds), 4),
        "ratio": round(statistics.median(ours / theirs for ours, theirs in seconds), 2),
        "at_most": 3.0,
    }


def _seconds(command: list[str]) -> float:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, env=kept, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS, default="help")
    parser.parse_args()
    print(json.dumps({"help": measure()}))
