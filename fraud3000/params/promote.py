"""Section `promote`: when a challenger replaces the champion."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from fraud3000.params.section import Section

Bounds = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], Strict(strict=False)]
"""The smallest and the largest accepted value."""


class PromoteParams(Section):
    """When a challenger becomes champion; both are evaluated on the same rows.

    [Into production, and back](promotion.md) describes the checks.
    """

    measure: Literal["average_precision", "savings"] = "average_precision"  # in which the challenger must be better
    margin: float = Field(0.01, gt=0, lt=1)  # by at least this, or twice the standard deviation between seeds if larger
    other_margin: float = Field(0.01, gt=0, lt=1)  # how far below 0 the lower bound of the other measure may be
    level: float = Field(0.975, gt=0.5, lt=1)  # confidence level of both lower bounds
    replicates: int = Field(1_000, ge=100)  # of the paired bootstrap
    least_frauds: int = Field(50, ge=1)  # known frauds that the comparison needs; with fewer, promotion is refused
    segment_margin: float = Field(0.02, gt=0, lt=1)  # refused if significantly worse by more than this in a segment
    observed_over_expected: Bounds = (
        0.5,
        2.0,
    )  # accepted ratio of observed to expected frauds in the top 1 % of scores
    calibration_slope: Bounds = (0.5, 2.0)  # accepted slope; below 1 scores are too extreme, above 1 not extreme enough
    milliseconds: float = Field(50.0, gt=0)  # limit of the 95th percentile of the time to score one row

    @model_validator(mode="after")
    def _check_bounds_and_replicates(self) -> PromoteParams:
        for name in ("observed_over_expected", "calibration_slope"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name} must be [smallest, largest], found {low:g} and {high:g}")
        if self.replicates * (1 - self.level) < 2 - 1e-9:
            raise ValueError(f"level {self.level:g} needs at least {math.ceil(2 / (1 - self.level))} replicates")
        return self
