"""Section `policy`: how scores become decisions."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from fraud3000.params.section import Section


class PolicyParams(Section):
    """How transactions are decided by score and amount, and what things cost, in minor units.

    [What a decision costs](policy.md) has the formulas.
    """

    threshold: Literal["capacity", "cost"] = "capacity"  # capacity: the highest scores; cost: what costs least
    cards_per_day: int = Field(100, ge=1)  # the alert budget: cards (rows where there are no cards) reviewed a day
    review_cost: int = Field(500, ge=0)  # of one alert
    fee: int = Field(0, ge=0)  # lost with every missed fraud, on top of its amount
    review_stops: float = Field(1.0, ge=0, le=1)  # share of fraud that a review stops
    friction: int = Field(0, ge=0)  # cost of reviewing an honest transaction, on top of the review
    lost_sale: int | None = Field(None, ge=0)  # cost of declining an honest transaction; default: nothing is declined
    lost_margin: float = Field(0.0, ge=0, le=1)  # share of the amount that is lost with it, on top
