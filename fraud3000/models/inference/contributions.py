"""Exact feature contributions: a base and one value per column that sum to the raw score (log-odds) of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from fraud3000.errors import ScorerError
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.inference.linear import Linear
from fraud3000.models.inference.logistic import expit, logit
from fraud3000.models.inference.predictors import Predictor
from fraud3000.models.inference.trees import SQUEEZE, Trees

ADD_UP = 1e-6
"""Largest allowed difference between a raw score and the sum of its base and contributions."""

_NO_CHANGE = 1e-12
"""Relative to the contributions' sizes: a sum no larger than this is rounding error."""


@dataclass(frozen=True)
class Contributions:
    """Contributions of columns to a sum.

    Attributes
    ----------
    base
        The sum expected for a transaction of which nothing is known.
    values
        Contribution of each column, ndarray of shape (n_rows, n_columns).
    """

    base: float
    values: Floats

    @property
    def totals(self) -> Floats:
        """Sum of base and contributions of each row, shape (n_rows,)."""
        return cast(Floats, self.base + self.values.sum(axis=1))

    def shift(self, shift: float) -> Contributions:
        """Return the contributions to the sums plus a constant."""
        return Contributions(self.base + shift, self.values)

    def rescale(self, base: float, totals: Floats, slope: float) -> Contributions:
        """Return the contributions to a function of the sum, in each row proportional to those to the sum.

        Parameters
        ----------
        base, totals
            Values of the function at the base and at the sums.
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
        unchanged = np.abs(change) <= _NO_CHANGE * np.abs(self.values).sum(axis=1)
        factor = np.where(unchanged, slope, (totals - base) / np.where(unchanged, 1.0, change))
        return Contributions(base, self.values * factor[:, None])


def from_predictor(predictor: Predictor, matrix: Floats) -> Contributions:
    """Compute the contributions of columns to a predictor's log-odds of encoded rows.

    For trees these are Shapley values (see `treeshap`), for a logistic regression coefficients times values.

    Parameters
    ----------
    matrix
        ndarray of shape (n_rows, n_columns), NaN where missing.

    Raises
    ------
    ScorerError
        They do not add up to the predictor's own sums within `ADD_UP`.
    """
    if isinstance(predictor, Linear):
        return _require_sums(
            Contributions(predictor.intercept, predictor.contributions(matrix)), predictor.log_odds(matrix)
        )
    assert isinstance(predictor, Trees)
    sums = predictor.sums(matrix)
    explained = _require_sums(Contributions(*predictor.explain_sums(matrix)), sums)
    if not predictor.forest:
        return explained
    return explained.rescale(*_forest_log_odds(predictor, explained.base, sums))


def average(parts: Sequence[Contributions], log_odds: Sequence[Floats], weights: Sequence[float]) -> Contributions:
    """Compute the contributions to the mean of several members' probabilities.

    Parameters
    ----------
    parts, log_odds
        For each member, the contributions to its log-odds, and its log-odds.

    Returns
    -------
    Contributions
        Contributions to the mean probability.

    Examples
    --------
    >>> first = Contributions(0.0, np.array([[0.0, np.log(4.0)]]))
    >>> second = Contributions(0.0, np.array([[np.log(1.5), 0.0]]))
    >>> average([first, second], [first.totals, second.totals], [1.0, 1.0]).values.round(3)
    array([[0.05, 0.15]])
    """
    probabilities = []
    for part, whole in zip(parts, log_odds, strict=True):
        base = float(expit(np.array([part.base]))[0])
        probabilities.append(part.rescale(base, expit(whole), base * (1 - base)))
    shares = np.array(weights) / sum(weights)
    base = sum(share * part.base for share, part in zip(shares, probabilities, strict=True))
    values = sum(share * part.values for share, part in zip(shares, probabilities, strict=True))
    return Contributions(float(base), cast(Floats, values))


def as_log_odds(probability: Contributions, log_odds: Floats) -> Contributions:
    """Convert contributions to probabilities into contributions to their log-odds."""
    base = probability.base
    return probability.rescale(float(logit(np.array([base]))[0]), log_odds, 1 / (base * (1 - base)))


def _forest_log_odds(forest: Trees, base: float, shares: Floats) -> tuple[float, Floats, float]:
    """Return the log-odds of a forest's base and shares, and the slope at the base."""
    before = SQUEEZE + (1 - 2 * SQUEEZE) * base
    slope = (1 - 2 * SQUEEZE) / (before * (1 - before))
    return float(forest.log_odds_from_sums(np.array([base]))[0]), forest.log_odds_from_sums(shares), slope


def _require_sums(explained: Contributions, totals: Floats) -> Contributions:
    difference = float(np.abs(explained.totals - totals).max(initial=0.0))
    if not difference <= ADD_UP:
        raise ScorerError(
            f"explanation: the features' contributions miss the raw score by up to {difference:.2g}",
            hint="No explanation was written. Please report it, with the versions of scikit-learn and LightGBM.",
        )
    return explained
