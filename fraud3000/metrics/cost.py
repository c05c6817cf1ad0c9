"""What alerts are worth in money: fraud money caught and savings.

Costs are those of the policy, each transaction on its own. A fraud without an alert loses
``L = max(amount, 0) + fee``. An alert costs its review; on a fraud the share that a review does
not stop is still lost, and on a legitimate row the customer is bothered.

References
----------
Bahnsen, Stojanovic, Aouada, Ottersten. Improving credit card fraud detection with calibrated
probabilities. SIAM International Conference on Data Mining, 2014.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fraud3000.metrics.sample import BoolArray, FloatArray, Sample
from fraud3000.params import PolicyParams


@dataclass(frozen=True, eq=False)
class Costs:
    """What each row costs when it is alerted and when it is not; minor units, shape (n,)."""

    alerted: FloatArray
    silent: FloatArray

    @classmethod
    def of(cls, fraud: FloatArray, amount: FloatArray, policy: PolicyParams) -> Costs:
        loss = fraud * (amount + policy.fee)
        bother = (1 - fraud) * policy.friction
        return cls(policy.review_cost + (1 - policy.review_stops) * loss + bother, loss)

    def savings(self, alert: FloatArray, weight: FloatArray) -> float:
        """Give 1 − cost / min(cost of alerting all, cost of alerting none); NaN where that is 0.

        1 is all that could be lost, saved at no cost; 0 is no better than the better of the two; below 0 the
        alerts cost more than they save.
        """
        cost = float(weight @ (alert * self.alerted + (1 - alert) * self.silent))
        least = min(float(weight @ self.alerted), float(weight @ self.silent))
        return 1 - cost / least if least > 0 else np.nan


def share(part: FloatArray, whole: FloatArray, weight: FloatArray) -> float:
    """Give the weighted share of a whole that falls on a part, shape (n,) each; NaN where the whole is 0.

    With frauds as the whole and alerted frauds as the part this is recall; with fraud money, the
    value detection rate; with alerts as the whole, precision.

    Examples
    --------
    >>> money, alert = np.array([300.0, 100.0]), np.array([1.0, 0.0])
    >>> share(money * alert, money, np.ones(2))
    0.75
    """
    total = float(weight @ whole)
    return float(weight @ part) / total if total > 0 else np.nan


def from_first_caught(sample: Sample) -> BoolArray:
    """Say which rows come at or after the first alerted fraud of their card, shape (n,).

    The card view of value detection: a confirmed alert blocks the card, so what it would lose from
    there on is saved. A false alert blocks nothing.
    """
    card = sample.keys["card"]
    caught = sample.alert & (sample.fraud > 0)
    first = np.full(int(card.max(initial=-1)) + 1, sample.rows)
    np.minimum.at(first, card[caught], sample.place[caught])
    return np.asarray(sample.place >= first[card])


def savings(sample: Sample, policy: PolicyParams) -> float:
    """Give the savings of a sample's alerts, unweighted; see `Costs.savings`."""
    costs = Costs.of(sample.fraud, sample.amount, policy)
    return costs.savings(sample.alert.astype(np.float64), np.ones(sample.rows))
