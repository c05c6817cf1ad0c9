"""Section `train`: the estimator, class imbalance, calibration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fraud3000.params.section import Section
from fraud3000.params.values import Several, Sign

Estimator = Literal[
    "hist_gradient_boosting", "random_forest", "extra_trees", "logistic_regression", "lightgbm", "average"
]


class LearnerParams(Section):
    """The estimator, and how class imbalance is treated."""

    estimator: Estimator = "hist_gradient_boosting"  # lightgbm needs the extra `lightgbm`; average averages `members`
    estimator_params: dict[str, Any] = {}  # parameters of the estimator in its library
    imbalance: Literal["none", "balanced", "weighted", "undersample"] = "none"  # undersample: drop legitimate rows
    fraud_weight: float = Field(10.0, gt=0)  # with weighted: weight of a fraud relative to a legitimate row
    undersample_to: float = Field(0.1, gt=0, lt=1)  # with undersample: share of fraud afterwards
    bags: int = Field(1, ge=1)  # number of models to average, each with its own seed and undersample


class MemberParams(LearnerParams):
    """A learner whose probabilities are averaged with those of other members."""

    weight: float = Field(1.0, gt=0)  # in the average

    @field_validator("estimator")
    @classmethod
    def _no_average_of_averages(cls, value: str) -> str:
        if value == "average":
            raise ValueError("a member must not be an average itself")
        return value


class TrainModelParams(LearnerParams):
    """How the model is trained and calibrated."""

    members: Several[MemberParams] = ()  # with estimator average: the learners to average, at least two
    monotone: dict[str, Sign] = {}  # by feature: 1, the score never falls as the feature grows; -1, it never rises
    calibration: Literal["platt", "beta", "isotonic"] = "beta"  # how scores become probabilities
    seed: int = Field(2018, ge=0)

    @model_validator(mode="after")
    def _check_members(self) -> TrainModelParams:
        if self.estimator == "average" and len(self.members) < 2:
            raise ValueError("estimator 'average' needs at least two members")
        if self.estimator != "average" and self.members:
            raise ValueError("members are used by estimator 'average' only")
        own = {"estimator_params", "imbalance", "fraud_weight", "undersample_to", "bags"} & self.model_fields_set
        if self.estimator == "average" and own:
            raise ValueError(f"with estimator 'average', {', '.join(sorted(own))} must be stated in each member")
        return self

    @property
    def learners(self) -> tuple[MemberParams, ...]:
        """The learners to average; a single learner unless the estimator is `average`."""
        if self.estimator == "average":
            return self.members
        return (MemberParams.model_validate({name: getattr(self, name) for name in LearnerParams.model_fields}),)
