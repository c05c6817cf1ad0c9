"""Section `tune`: the hyperparameter search."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
    model_validator,
)

from fraud3000.params.section import Section
from fraud3000.params.values import Duration, Flag, Moment, Several


class RangeParams(Section):
    """What a search tries for one key: a range of numbers, or choices."""

    low: int | float | None = None  # whole numbers where both ends are written as such
    high: int | float | None = None
    log: Flag = False  # small numbers as often as large ones
    choices: Several[str | float | int | bool | None] = ()  # instead of a range

    @model_validator(mode="after")
    def _a_range_or_choices(self) -> RangeParams:
        ends = (self.low, self.high)
        if (self.choices == ()) == (None in ends) or (self.choices and ends != (None, None)):
            raise ValueError("needs low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low:g} and {self.high:g}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("log needs a low above 0")
        return self


class TuneParams(Section):
    """A search for the learner's params on weeks before the test (`fraud3000 train --tune`).

    Its folds have the window, delay, test span, validation and compromised cards of `backtest`.
    """

    objective: Literal["average_precision", "savings"] = "average_precision"  # mean over the folds
    trials: int = Field(30, ge=1)  # in all, those of an interrupted search included
    time_budget: Duration | None = None  # no trial begins after this long
    first: Moment | None = None  # first day of the first fold; default: the folds end where their labels are known
    folds: int = Field(4, ge=1)
    space: dict[str, RangeParams] = {}  # by key below train: docs/tuning.md; default: the learner's own
    seed: int = Field(2018, ge=0)  # same seed, same search
