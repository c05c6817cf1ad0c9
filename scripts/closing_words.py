"""Print two sentences on what the model catches, from an evaluated workspace: `closing_words.py WORKSPACE`."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl


def result_in_words(metrics: dict[str, Any], scored: pl.DataFrame) -> str:
    """Describe money and alerts with their interval, compared with alerts on the largest amounts."""
    evaluated = scored.filter(pl.col("evaluated") & (pl.col("is_fraud") == 1))
    lost = evaluated["amount"].sum() / 100
    caught = evaluated.filter("alert")["amount"].sum() / 100
    share, alerts = metrics["metrics"]["value_detection_rate"], metrics["alerts_a_day"]
    baseline = metrics["floors"]["largest_amount"]["value_detection_rate"]
    return (
        f"In the test weeks of the simulated data, {evaluated.height:,} frauds cost {lost:,.2f}. Alerting on "
        f"{alerts['mean']:.0f} {alerts['unit']} a day, the model would have stopped {caught:,.2f}: "
        f"{_percent(share['value'])} ({_percent(share['low'])} to {_percent(share['high'])}). As many alerts on the "
        f"largest amounts would have stopped {_percent(baseline['value'])}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


if __name__ == "__main__":
    workspace = Path(sys.argv[1])
    report = json.loads((workspace / "reports" / "metrics.json").read_text(encoding="utf-8"))
    print(textwrap.fill(result_in_words(report, pl.read_parquet(workspace / "processed" / "scored.parquet")), 100))
