"""Section `tune`: the hyperparameter search."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fraud3000.params.section import Section
from fraud3000.params.values import Duration, Flag, Moment, Several


class RangeParams(Section):
    """The search space of one key: a range of numbers, or choices."""

    low: int | float | None = None  # the search tries whole numbers only if low and high are whole numbers
    high: int | float | None = None
    log: Flag = False  # sample on a logarithmic scale
    choices: Several[str | float | int | bool | None] = ()  # instead of low and high

    @model_validator(mode="after")
    def _check_range_or_choices(self) -> RangeParams:
        ends = (self.low, self.high)
        if (self.choices == ()) == (None in ends) or (self.choices and ends != (None, None)):
            raise ValueError("needs either low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low:g} and {self.high:g}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("log needs a low above 0")
        return self


class TuneParams(Section):
    """Hyperparameter search on weeks before the test (`fraud3000 train --tune`).

    Its folds use the window, delay, test span, validation and compromised cards of `backtest`.
    """

    objective: Literal["average_precision", "savings"] = "average_precision"  # maximised as the mean over the folds
    trials: int = Field(30, ge=1)  # in total, including those of an interrupted search
    time_budget: Duration | None = None  # no new trial starts after this time
    first: Moment | None = None  # first day of the first fold; default: as late as labels are known before the test
    folds: int = Field(4, ge=1)
    space: dict[str, RangeParams] = {}  # by key of train, see docs/training.md; default: the space of the estimator
    seed: int = Field(2018, ge=0)  # the same seed gives the same search
