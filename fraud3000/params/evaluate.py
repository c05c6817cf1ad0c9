"""Section `evaluate`: which metrics are computed, and on which rows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fraud3000.params.section import Section
from fraud3000.params.values import Moment, Rate, Several


class EvaluateModelParams(Section):
    """How metrics are computed from the scored test rows."""

    label_date: Moment | None = None  # labels as known on this date; default: after the newest transaction and record
    compromised_cards: Literal["keep", "remove"] = "keep"  # remove: leave out cards whose fraud is known before the day
    compromised_since: Moment | None = None  # frauds before this day do not count; default: the first day of train
    top_k: Several[Annotated[int, Field(ge=1)]] | None = (
        None  # alerted cards per day at which card precision is measured; default: policy.cards_per_day
    )
    fpr: Several[Rate] = (0.01,)  # false-positive rates at which recall is measured
    alert_rate: Several[Rate] = (0.01,)  # shares of alerted rows at which recall is measured
    replicates: int = Field(200, ge=20)  # bootstrap replicates for the confidence intervals
    seed: int = Field(2018, ge=0)  # of the bootstrap

    def for_budget(self, cards_per_day: int) -> EvaluateModelParams:
        """Return these params with the alert budget as `top_k`, if they state none."""
        return self if self.top_k is not None else self.model_copy(update={"top_k": (cards_per_day,)})
