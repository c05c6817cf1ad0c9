"""Model: an encoder and its fitted members, from FEATURED to log-odds and contributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud3000.models.inference import contributions
from fraud3000.models.inference.contributions import Contributions
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.inference.logistic import expit, logit
from fraud3000.models.inference.predictors import Predictor

_NEAREST_TO_ONE = 1 - 2**-53
"""The greatest probability whose log-odds are finite."""


@dataclass(frozen=True)
class Member:
    """A fitted learner in its deployed form, with the correction of its log-odds.

    Attributes
    ----------
    shift
        Added to the predictor's log-odds so that they refer to the prevalence in the data, whatever
        the treatment of class imbalance.
    weight
        Weight in the average of several members.
    converged
        Whether the iterative solver converged; true for learners without one.
    """

    predictor: Predictor
    shift: float
    weight: float = 1.0
    converged: bool = True

    def log_odds(self, matrix: Floats) -> Floats:
        """Return log-odds of fraud for encoded rows, shape (n_rows,)."""
        return self.predictor.log_odds(matrix) + self.shift

    def contributions(self, matrix: Floats) -> Contributions:
        """Return the contributions of columns to the log-odds of encoded rows."""
        return contributions.from_predictor(self.predictor, matrix).shift(self.shift)


@dataclass(frozen=True)
class Model:
    """Encoder with one fitted member, or several members whose probabilities are averaged."""

    encoder: Encoder
    members: tuple[Member, ...]

    def log_odds(self, featured: pl.DataFrame) -> Floats:
        """Return uncalibrated log-odds of fraud for rows of FEATURED, shape (n_rows,)."""
        return self.log_odds_of(self.encoder.matrix(featured))

    def log_odds_of(self, matrix: Floats) -> Floats:
        """Return uncalibrated log-odds of fraud for encoded rows, shape (n_rows,)."""
        if len(self.members) == 1:
            return self.members[0].log_odds(matrix)
        mean = np.zeros(len(matrix))
        for member in self.members:
            mean += member.weight * expit(member.log_odds(matrix))
        mean /= sum(member.weight for member in self.members)
        return logit(np.clip(mean, np.finfo(np.float64).tiny, _NEAREST_TO_ONE))

    def contributions_of(self, matrix: Floats) -> Contributions:
        """Return the contributions of columns to the log-odds of encoded rows.

        For an average, each member's contributions are rescaled to the mean probability, and these to its log-odds
        (see `Contributions.rescale`).
        """
        parts = [member.contributions(matrix) for member in self.members]
        if len(parts) == 1:
            return parts[0]
        each = [member.log_odds(matrix) for member in self.members]
        probability = contributions.average(parts, each, [member.weight for member in self.members])
        return contributions.as_log_odds(probability, self.log_odds_of(matrix))

    @property
    def converged(self) -> bool:
        """Whether every iterative solver converged."""
        return all(member.converged for member in self.members)
