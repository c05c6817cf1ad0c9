"""Section `train`: the estimator, class imbalance, calibration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from fraud3000.params.section import Section
from fraud3000.params.values import Several, Sign

Estimator = Literal[
    "hist_gradient_boosting", "random_forest", "extra_trees", "logistic_regression", "lightgbm", "average"
]


class LearnerParams(Section):
    """An estimator, and what is done about frauds being few."""

    estimator: Estimator = "hist_gradient_boosting"  # lightgbm needs its extra; average is of the members
    estimator_params: dict[str, Any] = {}  # as its library takes them
    imbalance: Literal["none", "balanced", "weighted", "undersample"] = "none"  # undersample: leave out legitimate rows
    fraud_weight: float = Field(10.0, gt=0)  # weighted: how many legitimate rows a fraud weighs
    undersample_to: float = Field(0.1, gt=0, lt=1)  # share of fraud after under-sampling
    bags: int = Field(1, ge=1)  # models averaged, each by a seed and an under-sample of its own


class MemberParams(LearnerParams):
    """One of several learners whose probabilities are averaged."""

    weight: float = Field(1.0, gt=0)  # in the average

    @field_validator("estimator")
    @classmethod
    def _no_average_of_averages(cls, value: str) -> str:
        if value == "average":
            raise ValueError("a member is a learner, not an average itself")
        return value


class TrainModelParams(LearnerParams):
    """FEATURED to a calibrated scorer."""

    members: Several[MemberParams] = ()  # learners to average, at least two
    monotone: dict[str, Sign] = {}  # by feature: 1, the score never falls as it grows; -1, never rises
    calibration: Literal["platt", "beta", "isotonic"] = "beta"  # from scores to probabilities
    seed: int = Field(2018, ge=0)

    @model_validator(mode="after")
    def _members_where_averaged(self) -> TrainModelParams:
        if self.estimator == "average" and len(self.members) < 2:
            raise ValueError("estimator 'average' needs at least two members")
        if self.estimator != "average" and self.members:
            raise ValueError("members are averaged by estimator 'average' only")
        own = {"estimator_params", "imbalance", "fraud_weight", "undersample_to", "bags"} & self.model_fields_set
        if self.estimator == "average" and own:
            raise ValueError(f"estimator 'average' takes {', '.join(sorted(own))} in each member, not beside them")
        return self

    @property
    def learners(self) -> tuple[MemberParams, ...]:
        """The learners to average; one, where there is nothing to average."""
        if self.estimator == "average":
            return self.members
        return (MemberParams.model_validate({name: getattr(self, name) for name in LearnerParams.model_fields}),)
