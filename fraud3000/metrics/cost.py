"""Costs of decisions in money: fraud money caught, and savings.

Costs are those of the policy, per transaction. An approved fraud loses ``L = max(amount, 0) + fee``. A
review has a fixed cost; for a fraud, the share that a review does not stop is still lost, and for a legitimate row the
customer is inconvenienced (friction). A declined fraud costs nothing, a declined legitimate row the sale.

References
----------
Bahnsen, Stojanovic, Aouada, Ottersten. Improving credit card fraud detection with calibrated
probabilities. SIAM International Conference on Data Mining, 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fraud3000.metrics.scored_arrays import BoolArray, FloatArray, ScoredArrays


class Prices(Protocol):
    """Cost parameters in minor units; see `PolicyParams`."""

    @property
    def review_cost(self) -> int: ...
    @property
    def fee(self) -> int: ...
    @property
    def review_stops(self) -> float: ...
    @property
    def friction(self) -> int: ...
    @property
    def lost_sale(self) -> int | None: ...
    @property
    def lost_margin(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Costs:
    """Cost of each row under each decision; minor units, shape (n,).

    Computed from labels these are actual costs, from probabilities expected costs.

    Attributes
    ----------
    reviewed, approved, declined
        Declining costs infinity if the policy declines nothing.
    """

    reviewed: FloatArray
    approved: FloatArray
    declined: FloatArray

    @classmethod
    def from_rows(cls, fraud: FloatArray, amount: FloatArray, prices: Prices) -> Costs:
        """Compute the costs of rows.

        Parameters
        ----------
        fraud
            Labels, or probabilities of fraud, shape (n,).
        amount
            Minor units, shape (n,).
        """
        paid, legitimate = np.maximum(amount, 0.0), 1 - fraud
        loss = fraud * (paid + prices.fee)
        if prices.lost_sale is None:
            declined = np.full(len(paid), np.inf)
        else:
            declined = legitimate * (prices.lost_sale + prices.lost_margin * paid)
        reviewed = prices.review_cost + (1 - prices.review_stops) * loss + legitimate * prices.friction
        return cls(reviewed=reviewed, approved=loss, declined=declined)

    def paid(self, alert: BoolArray, decline: BoolArray) -> FloatArray:
        """Return the cost of each row under these decisions; a row alerted and not declined is reviewed.

        A declined row costs NaN if lost sales have no price.
        """
        declined = np.where(np.isinf(self.declined), np.nan, self.declined)
        return np.where(decline, declined, np.where(alert, self.reviewed, self.approved))


def savings(cost: float, alert_all: float, alert_none: float) -> float:
    """Return 1 − cost / min(cost of alerting all, cost of alerting none); NaN if the minimum is 0 or the cost is NaN.

    1 means that every loss is avoided at no cost; 0 means no better than alerting all or none; below
    0 the alerts cost more than they save.

    Examples
    --------
    >>> savings(cost=600, alert_all=5_000, alert_none=1_000)
    0.4
    """
    least = min(alert_all, alert_none)
    return 1 - cost / least if least > 0 and np.isfinite(cost) else np.nan


def share(part: float, whole: float) -> float:
    """Return part / whole; NaN if the whole is 0.

    Alerted frauds of frauds is recall, alerted fraud money of fraud money the value detection rate, alerted
    frauds of alerts precision.
    """
    return part / whole if whole > 0 else np.nan


def from_first_caught(sample: ScoredArrays) -> BoolArray:
    """Return which rows are at or after the first alerted fraud of their card, shape (n,).

    For value detection by card: a confirmed alert blocks the card, so its later losses are
    avoided. A false alert blocks nothing.
    """
    card = sample.keys["card"]
    caught = sample.alert & (sample.fraud > 0)
    first = np.full(int(card.max(initial=-1)) + 1, sample.rows)
    np.minimum.at(first, card[caught], sample.time_rank[caught])
    return np.asarray(sample.time_rank >= first[card])
