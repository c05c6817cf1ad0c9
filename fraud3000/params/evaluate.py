"""Section `evaluate`: which metrics are computed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from fraud3000.params.section import Section
from fraud3000.params.values import Moment, Rate, Several


class EvaluateModelParams(Section):
    """SCORED to metrics."""

    label_date: Moment | None = None  # default: just after the newest transaction and label record
    compromised_cards: Literal["keep", "remove"] = "keep"  # remove: cards whose fraud is known before the day
    compromised_since: Moment | None = None  # first day whose frauds make a card known; default: that of train
    top_k: Several[Annotated[int, Field(ge=1)]] = (100,)  # cards alerted a day at which card precision is measured
    fpr: Several[Rate] = (0.01,)  # false-positive rates at which recall is measured
    alert_rate: Several[Rate] = (0.01,)  # shares of rows alerted at which recall is measured
    replicates: int = Field(200, ge=20)  # of the bootstrap behind every interval
    seed: int = Field(2018, ge=0)
