"""Time and memory of `fraud3000 simulate`, at constant traffic for each card: linear in rows."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = {"1m": "a million rows", "2m": "two", "5m": "five", "10m": "ten"}
_SIZES = {"1m": 1_000_000, "2m": 2_000_000, "5m": 5_000_000, "10m": 10_000_000}
_COMMAND = str(Path(sys.executable).with_name("fraud3000"))


def measure(rows: int) -> dict[str, float]:
    """Simulate into a temporary Parquet file, in its own process."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "raw.parquet"
        sizes = ["--rows", str(rows), "--days", "240", "--cards", str(rows // 100), "--terminals", str(rows // 250)]
        start = time.perf_counter()
        process = subprocess.Popen([_COMMAND, "simulate", *sizes, "--out", str(out)], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, _COMMAND)
        return {
            "seconds": round(seconds, 1),
            "seconds_for_each_million": round(seconds * 1e6 / rows, 2),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_gb": round(used.ru_maxrss / 1e6, 2),
            "file_mb": round(out.stat().st_size / 1e6),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    wanted = parser.parse_args().row
    print(json.dumps({f"simulate_{size}": measure(rows) for size, rows in _SIZES.items() if wanted in (None, size)}))
