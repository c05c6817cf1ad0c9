"""Section `policy`: the decision policy and its costs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fraud3000.params.section import Section


class PolicyParams(Section):
    """How score and amount determine the decision, and what errors cost, in minor units.

    [What a decision costs](decisions.md#decision-policy-and-costs) has the formulas.
    """

    threshold: Literal["capacity", "cost"] = "capacity"  # capacity: alert the highest scores; cost: minimise the cost
    cards_per_day: int = Field(
        100, ge=1
    )  # the alert budget: cards reviewed per day (transactions if there are no cards)
    review_cost: int = Field(500, ge=0)  # cost of reviewing one alert
    fee: int = Field(0, ge=0)  # cost of every missed fraud, in addition to its amount
    review_stops: float = Field(1.0, ge=0, le=1)  # share of the reviewed fraud that a review stops
    friction: int = Field(0, ge=0)  # cost of reviewing a legitimate transaction, in addition to review_cost
    lost_sale: int | None = Field(None, ge=0)  # cost of declining a legitimate transaction; null: never decline
    lost_margin: float = Field(0.0, ge=0, le=1)  # share of its amount that is lost in addition to lost_sale
