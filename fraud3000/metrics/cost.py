"""What decisions are worth in money: fraud money caught and savings.

Costs are those of the policy, each transaction on its own. An approved fraud loses ``L = max(amount, 0) + fee``. A
review costs its work; on a fraud the share that a review does not stop is still lost, and on a legitimate row the
customer is bothered. A declined fraud costs nothing, a declined legitimate row the sale.

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
    """What things cost, in minor units; see `PolicyParams`."""

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
    """What each row costs under each decision; minor units, shape (n,).

    With labels for `fraud` these are the costs that arose, with probabilities those that are expected.

    Attributes
    ----------
    reviewed, approved, declined
        Declining costs infinitely much where the policy declines nothing.
    """

    reviewed: FloatArray
    approved: FloatArray
    declined: FloatArray

    @classmethod
    def from_rows(cls, fraud: FloatArray, amount: FloatArray, prices: Prices) -> Costs:
        """Give the costs of rows.

        Parameters
        ----------
        fraud
            Labels, or probabilities of fraud, shape (n,).
        amount
            Minor units, shape (n,).
        """
        paid, honest = np.maximum(amount, 0.0), 1 - fraud
        loss = fraud * (paid + prices.fee)
        if prices.lost_sale is None:
            declined = np.full(len(paid), np.inf)
        else:
            declined = honest * (prices.lost_sale + prices.lost_margin * paid)
        reviewed = prices.review_cost + (1 - prices.review_stops) * loss + honest * prices.friction
        return cls(reviewed=reviewed, approved=loss, declined=declined)

    def paid(self, alert: BoolArray, decline: BoolArray) -> FloatArray:
        """Give what each row costs under these decisions; what is alerted and not declined is reviewed.

        A declined row whose sale has no price costs NaN: nobody can say.
        """
        declined = np.where(np.isinf(self.declined), np.nan, self.declined)
        return np.where(decline, declined, np.where(alert, self.reviewed, self.approved))


def savings(cost: float, alert_all: float, alert_none: float) -> float:
    """Give 1 − cost / min(cost of alerting all, cost of alerting none); NaN where that is 0, or a row is declined whose sale has no price.

    1 is all that could be lost, saved at no cost; 0 is no better than the better of the two; below
    0 the alerts cost more than they save.

    Examples
    --------
    >>> savings(cost=600, alert_all=5_000, alert_none=1_000)
    0.4
    """
    least = min(alert_all, alert_none)
    return 1 - cost / least if least > 0 and np.isfinite(cost) else np.nan


def share(part: float, whole: float) -> float:
    """Give the share of a whole that a part is; NaN where the whole is 0.

    With frauds as the whole and alerted frauds as the part this is recall; with fraud money, the
    value detection rate; with alerts as the whole, precision.
    """
    return part / whole if whole > 0 else np.nan


def from_first_caught(sample: ScoredArrays) -> BoolArray:
    """Say which rows come at or after the first alerted fraud of their card, shape (n,).

    The card view of value detection: a confirmed alert blocks the card, so what it would lose from
    there on is saved. A false alert blocks nothing.
    """
    card = sample.keys["card"]
    caught = sample.alert & (sample.fraud > 0)
    first = np.full(int(card.max(initial=-1)) + 1, sample.rows)
    np.minimum.at(first, card[caught], sample.time_rank[caught])
    return np.asarray(sample.time_rank >= first[card])
