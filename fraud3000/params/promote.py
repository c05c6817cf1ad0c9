"""Section `promote`: when a challenger replaces the champion."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import (
    Field,
    Strict,
    model_validator,
)

from fraud3000.params.section import Section

Bounds = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], Strict(strict=False)]
"""The least and the most that is let through."""


class PromoteParams(Section):
    """When a challenger becomes champion; both are measured on the same rows.

    [Into production, and back](promotion.md) tells the checks.
    """

    measure: Literal["average_precision", "savings"] = "average_precision"  # it must be better in, by the margin
    margin: float = Field(0.01, gt=0, lt=1)  # twice the deviation from seed to seed where that is more
    other_margin: float = Field(0.01, gt=0, lt=1)  # in the other one its lower bound may lie this far below 0
    level: float = Field(0.975, gt=0.5, lt=1)  # of both lower bounds
    replicates: int = Field(1_000, ge=100)  # of the paired bootstrap
    least_frauds: int = Field(50, ge=1)  # known among the rows; with fewer there is no verdict
    segment_margin: float = Field(0.02, gt=0, lt=1)  # shown worse than by this in any segment, it is refused
    observed_over_expected: Bounds = (0.5, 2.0)  # frauds in the top 1 % of scores over those expected there
    calibration_slope: Bounds = (0.5, 2.0)  # below 1: scores too extreme, above: too timid
    milliseconds: float = Field(50.0, gt=0)  # of computing to score one row; 95 of 100 rows must take less

    @model_validator(mode="after")
    def _bounds_in_order_and_replicates_enough(self) -> PromoteParams:
        for name in ("observed_over_expected", "calibration_slope"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name} must be [least, most], found {low:g} and {high:g}")
        if self.replicates * (1 - self.level) < 2 - 1e-9:
            raise ValueError(f"level {self.level:g} needs at least {math.ceil(2 / (1 - self.level))} replicates")
        return self
