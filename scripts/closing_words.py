"""Say in two sentences what the model catches, from an evaluated workspace: `closing_words.py WORKSPACE`."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl


def words(metrics: dict[str, Any], scored: pl.DataFrame) -> str:
    """Tell money and alerts, with their interval, beside what alerting the largest amounts would catch."""
    judged = scored.filter(pl.col("evaluated") & (pl.col("is_fraud") == 1))
    stolen = judged["amount"].sum() / 100
    caught = judged.filter("alert")["amount"].sum() / 100
    share, alerts = metrics["metrics"]["value_detection_rate"], metrics["alerts_a_day"]
    naive = metrics["floors"]["largest_amount"]["value_detection_rate"]
    return (
        f"In the test weeks of the simulated data {judged.height:,} frauds took {stolen:,.2f}. With {alerts['mean']:.0f} {alerts['unit']} alerted "
        f"a day the model catches {caught:,.2f} of it, {_percent(share['value'])} ({_percent(share['low'])} to "
        f"{_percent(share['high'])}). As many alerts on the largest amounts would catch {_percent(naive['value'])}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


if __name__ == "__main__":
    workspace = Path(sys.argv[1])
    report = json.loads((workspace / "reports" / "metrics.json").read_text(encoding="utf-8"))
    print(textwrap.fill(words(report, pl.read_parquet(workspace / "processed" / "scored.parquet")), 100))
