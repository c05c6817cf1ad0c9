"""Time and peak memory of `fraud3000 featurize` as a file grows: 100,000 transactions a day, no window above 30 days."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from memory import run, world

from fraud3000 import durations
from fraud3000.features import catalogue
from fraud3000.features.spec import Stateful

ROWS = {"growth": "features and splits of 4, 40 and 80 million rows of the same 50,000 cards"}
MILLIONS = (4, 40, 80)
LONGEST = durations.seconds("30d")


def measure(millions: Sequence[int], place: Path) -> dict[str, float]:
    """Featurize each size in a process of its own."""
    longer = [
        feature.name
        for feature in catalogue.declared("7d")
        if isinstance(feature, Stateful) and durations.seconds(feature.length) > LONGEST
    ]
    found: dict[str, float] = {}
    for size in sorted(millions):
        params = world(place, size * 1_000_000, f"burn_in: 1d, without: [{', '.join(longer)}]")
        run(place, "prepare", "--params", params)
        (place / f"{size}m" / "raw.parquet").unlink()
        seconds, peak = run(place, "featurize", "--params", params)
        shutil.rmtree(place / f"{size}m")
        found |= {f"seconds_{size}m": round(seconds, 1), f"peak_gb_{size}m": round(peak, 3)}
    return found | _bars(found)


def _bars(found: dict[str, float]) -> dict[str, float]:
    told: dict[str, float] = {"peak_gb_at_most": 5}
    if {"seconds_4m", "seconds_40m"} <= found.keys():
        told |= {"times_4m": round(found["seconds_40m"] / found["seconds_4m"], 2), "times_4m_at_most": 11}
    if {"peak_gb_40m", "peak_gb_80m"} <= found.keys():
        told |= {"peak_80m_to_40m": round(found["peak_gb_80m"] / found["peak_gb_40m"], 2), "peak_at_most": 1.25}
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    parser.add_argument("--millions", type=int, nargs="+", default=MILLIONS, help="of rows")
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"growth": measure(parser.parse_args().millions, Path(folder))}))
