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

    def paid(self, alert: FloatArray) -> FloatArray:
        """Give what each row costs under these alerts."""
        return alert * self.alerted + (1 - alert) * self.silent


def savings(cost: float, alert_all: float, alert_none: float) -> float:
    """Give 1 − cost / min(cost of alerting all, cost of alerting none); NaN where that is 0.

    1 is all that could be lost, saved at no cost; 0 is no better than the better of the two; below
    0 the alerts cost more than they save.

    Examples
    --------
    >>> savings(cost=600, alert_all=5_000, alert_none=1_000)
    0.4
    """
    least = min(alert_all, alert_none)
    return 1 - cost / least if least > 0 else np.nan


def share(part: float, whole: float) -> float:
    """Give the share of a whole that a part is; NaN where the whole is 0.

    With frauds as the whole and alerted frauds as the part this is recall; with fraud money, the
    value detection rate; with alerts as the whole, precision.
    """
    return part / whole if whole > 0 else np.nan


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
