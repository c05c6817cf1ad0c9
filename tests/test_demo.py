"""Scripts that the demo runs besides the commands."""

from __future__ import annotations

import runpy
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

SCRIPTS = Path(__file__).parents[1] / "scripts"


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(SCRIPTS / name))


def test_closing_words_state_money_alerts_and_the_baseline() -> None:
    scored = pl.DataFrame(
        {
            "amount": [100_000, 50_000, 90_000, 70_000, 1_000],
            "is_fraud": [1, 1, 1, 0, None],
            "alert": [True, False, True, True, True],
            "evaluated": [True, True, False, True, False],
        }
    )
    metrics = {
        "metrics": {"value_detection_rate": {"value": 2 / 3, "low": 0.604, "high": 0.715}},
        "alerts_a_day": {"unit": "cards", "mean": 98.7},
        "floors": {"largest_amount": {"value_detection_rate": {"value": 0.25}}},
    }
    assert script("closing_words.py")["result_in_words"](metrics, scored) == (
        "In the test weeks of the simulated data, 2 frauds cost 1,500.00. Alerting on 99 cards a day, the model would have "
        "stopped 1,000.00: 67 % (60 % to 72 %). As many alerts on the largest amounts would have stopped 25 %."
    )


def test_the_newest_two_weeks() -> None:
    times = [datetime(2025, 1, 1), datetime(2025, 1, 17), datetime(2025, 1, 17, 0, 0, 1), datetime(2025, 1, 31)]
    newest = script("newest_weeks.py")["newest"](pl.LazyFrame({"ts": times}))
    assert newest["ts"].to_list() == times[2:]
