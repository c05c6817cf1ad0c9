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
    """One fitted learner as it is deployed, and the correction after it.

    Attributes
    ----------
    shift
        Added to the predictor's log-odds so that they speak of the prevalence in the data, whatever
        was done about imbalance.
    weight
        In the average of several members.
    converged
        Whether an iterative solver came to its end; true for learners that have none.
    """

    predictor: Predictor
    shift: float
    weight: float = 1.0
    converged: bool = True

    def log_odds(self, matrix: Floats) -> Floats:
        """Log-odds of fraud for encoded rows, shape (n_rows,)."""
        return self.predictor.log_odds(matrix) + self.shift

    def contributions(self, matrix: Floats) -> Contributions:
        """What each column adds to the log-odds of encoded rows."""
        return contributions.of(self.predictor, matrix).shifted(self.shift)


@dataclass(frozen=True)
class Model:
    """An encoder and one fitted member, or several whose probabilities are averaged."""

    encoder: Encoder
    members: tuple[Member, ...]

    def log_odds(self, featured: pl.DataFrame) -> Floats:
        """Log-odds of fraud, one for each row of FEATURED, not yet calibrated."""
        return self.log_odds_of(self.encoder.matrix(featured))

    def log_odds_of(self, matrix: Floats) -> Floats:
        """Log-odds of fraud for rows already encoded."""
        if len(self.members) == 1:
            return self.members[0].log_odds(matrix)
        mean = np.zeros(len(matrix))
        for member in self.members:
            mean += member.weight * expit(member.log_odds(matrix))
        mean /= sum(member.weight for member in self.members)
        return logit(np.clip(mean, np.finfo(np.float64).tiny, _NEAREST_TO_ONE))

    def contributions_of(self, matrix: Floats) -> Contributions:
        """What each column adds to the log-odds of rows already encoded.

        Of an average each member's contributions count as far as it moves the mean probability, and the mean as far as
        it moves its log-odds (see `Contributions.carried`).
        """
        parts = [member.contributions(matrix) for member in self.members]
        if len(parts) == 1:
            return parts[0]
        each = [member.log_odds(matrix) for member in self.members]
        chance = contributions.averaged(parts, each, [member.weight for member in self.members])
        return contributions.as_log_odds(chance, self.log_odds_of(matrix))

    @property
    def converged(self) -> bool:
        """Whether every iterative solver came to its end."""
        return all(member.converged for member in self.members)
