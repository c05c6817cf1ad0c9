"""What each column adds to the log-odds of a row, exactly: a base and contributions that sum to the raw score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.special import expit, logit

from fraud3000.errors import ScorerError
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.predictors import Linear, Predictor
from fraud3000.models.inference.trees import SQUEEZE, Trees
from fraud3000.models.training import estimators

ADD_UP = 1e-6
"""By how much a base and its contributions may miss what they explain."""

_NO_CHANGE = 1e-12
"""Of the contributions' sizes: a sum no larger than this says nothing but how numbers are rounded."""


@dataclass(frozen=True)
class Contributions:
    """A sum taken apart by column.

    Attributes
    ----------
    base
        What is expected of a transaction of which nothing is known.
    values
        What each column adds, ndarray of shape (n_rows, n_columns).
    """

    base: float
    values: Floats

    @property
    def totals(self) -> Floats:
        """What they add up to, shape (n_rows,)."""
        return cast(Floats, self.base + self.values.sum(axis=1))

    def shift(self, shift: float) -> Contributions:
        """The same where something is added to every row's sum."""
        return Contributions(self.base + shift, self.values)

    def rescale(self, base: float, totals: Floats, slope: float) -> Contributions:
        """The same after a function of the sum, each row's change shared out as the sum's was.

        Parameters
        ----------
        base, totals
            The function of the base and of the sums.
        slope
            Its derivative at the base, for rows whose sum is the base.

        References
        ----------
        Shrikumar, Greenside, Kundaje (2017): Learning Important Features Through Propagating Activation Differences. The
        rescale rule.

        Examples
        --------
        >>> halves = Contributions(1.0, np.array([[1.0, 1.0], [2.0, -2.0]]))
        >>> halves.rescale(1.0, np.array([9.0, 1.0]), slope=2.0)  # squares
        Contributions(base=1.0, values=array([[ 4.,  4.], [ 4., -4.]]))
        """
        change = self.values.sum(axis=1)
        still = np.abs(change) <= _NO_CHANGE * np.abs(self.values).sum(axis=1)
        factor = np.where(still, slope, (totals - base) / np.where(still, 1.0, change))
        return Contributions(base, self.values * factor[:, None])


def from_predictor(predictor: Predictor, matrix: Floats) -> Contributions:
    """Take the log-odds that a predictor gives to encoded rows apart.

    Of trees these are Shapley values (see `treeshap`), of a logistic regression coefficients times values.

    Parameters
    ----------
    matrix
        ndarray of shape (n_rows, n_columns), NaN where missing.

    Raises
    ------
    ScorerError
        They miss the predictor's own sums by more than `ADD_UP`, so that they would explain something else.
    """
    if isinstance(predictor, Linear):
        return _checked(_of_linear(predictor, matrix), predictor.log_odds(matrix))
    assert isinstance(predictor, Trees)
    sums = predictor.sums(matrix)
    told = _checked(Contributions(*predictor.explain_sums(matrix)), sums)
    if not predictor.forest:
        return told
    return told.rescale(*_squeezed(predictor, told.base, sums))


def average(parts: Sequence[Contributions], log_odds: Sequence[Floats], weights: Sequence[float]) -> Contributions:
    """Take the mean of several members' probabilities apart.

    Parameters
    ----------
    parts, log_odds
        Of each member, its log-odds taken apart and whole.

    Returns
    -------
    Contributions
        To the mean probability.

    Examples
    --------
    >>> one = Contributions(0.0, np.array([[0.0, logit(0.8)]]))
    >>> other = Contributions(0.0, np.array([[logit(0.6), 0.0]]))
    >>> average([one, other], [one.totals, other.totals], [1.0, 1.0]).values.round(3)
    array([[0.05, 0.15]])
    """
    chances = []
    for part, whole in zip(parts, log_odds, strict=True):
        base = float(expit(part.base))
        chances.append(part.rescale(base, expit(whole), base * (1 - base)))
    shares = np.array(weights) / sum(weights)
    base = sum(share * one.base for share, one in zip(shares, chances, strict=True))
    values = sum(share * one.values for share, one in zip(shares, chances, strict=True))
    return Contributions(float(base), cast(Floats, values))


def as_log_odds(chance: Contributions, log_odds: Floats) -> Contributions:
    """Carry what adds up to probabilities over to their log-odds."""
    base = chance.base
    return chance.rescale(float(logit(base)), log_odds, 1 / (base * (1 - base)))


def _squeezed(forest: Trees, base: float, shares: Floats) -> tuple[float, Floats, float]:
    """Log-odds of a forest's base and shares, and the slope at the base."""
    before = SQUEEZE + (1 - 2 * SQUEEZE) * base
    slope = (1 - 2 * SQUEEZE) / (before * (1 - before))
    return float(forest.log_odds_from_sums(np.array([base]))[0]), forest.log_odds_from_sums(shares), slope


def _of_linear(predictor: Linear, matrix: Floats) -> Contributions:
    estimator, values = predictor.pipeline[-1], np.zeros(matrix.shape)
    if len(matrix):
        parts = predictor.pipeline[:-1].transform(matrix) * estimator.coef_[0]
        for place, source in enumerate(estimators.source_columns(predictor.pipeline)):
            values[:, source] += parts[:, place]
    return Contributions(float(estimator.intercept_[0]), values)


def _checked(told: Contributions, totals: Floats) -> Contributions:
    off = float(np.abs(told.totals - totals).max(initial=0.0))
    if not off <= ADD_UP:
        raise ScorerError(
            f"explanation: the features' contributions miss the raw score by up to {off:.2g}",
            hint="Nothing was explained by them. Please report it, with the versions of scikit-learn and LightGBM.",
        )
    return told
