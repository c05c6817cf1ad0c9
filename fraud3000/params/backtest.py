"""Section `backtest`: the folds of a rolling backtest."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fraud3000.params.section import Section
from fraud3000.params.values import Duration, Flag, Moment, Several


class BacktestParams(Section):
    """Rolling backtest: each test span (fold) is scored by a model trained only on what was known before it."""

    first: Moment | None = None  # first day of the first test; default: first whole day of featurize.split.test
    folds: int | None = Field(None, ge=1)  # default: all of featurize.split.test with known labels, at least one
    step: Duration = timedelta(days=7)  # from the start of one test to the next
    test: Duration = timedelta(days=7)  # length of a test
    delay: Duration | None = None  # from the end of training to the test; default: prepare.label_delay
    window: Duration | None = None  # length of training; default: all rows with enough history
    valid: Duration | None = None  # length of the validation, a label delay before training; default: no validation
    refit: Flag = True  # false: the model of the first fold scores all folds
    compromised_cards: Literal["keep", "remove"] = "keep"  # remove: leave out cards whose fraud is known before the day
    compromised_window: Duration | None = None  # frauds longer than this before the end of training do not count
    seeds: Several[Annotated[int, Field(ge=0)]] = ()  # of the estimator, one complete run each; default: train.seed

    @model_validator(mode="after")
    def _check_spans(self) -> BacktestParams:
        for name in ("step", "test", "window", "valid"):
            span = getattr(self, name)
            if span is not None and span <= timedelta(0):
                raise ValueError(f"{name} must be longer than 0 s")
        if self.step % timedelta(days=1):
            raise ValueError("step must be whole days, because a fold is named by its first day")
        if self.test > self.step:
            raise ValueError("test must not be longer than step, otherwise rows would be scored twice")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ")
        return self
