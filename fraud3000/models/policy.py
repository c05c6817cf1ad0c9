"""Decision policy: turn a probability into approve, review or decline, by review capacity or by expected cost.

Every threshold is set on validation rows, before the day it is used on. A capacity policy has one threshold, at which the
mean number of cards reviewed a day is at most what reviewers can handle. A cost policy takes the decision with the least
expected cost, so its thresholds fall with the amount. If it would review more cards than there is capacity for, a uniform
shadow price is added to each review until demand meets capacity.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000.errors import DataError, EmptyDataError, ParamsError
from fraud3000.metrics.cost import Costs
from fraud3000.params import PolicyParams
from fraud3000.schema import APPROVE, DECLINE, REFUND, REVIEW

FloatArray = NDArray[np.float64]

NEVER = float(np.nextafter(1.0, 2.0))
"""Threshold above every probability; finite, because JSON has no infinity."""


@dataclass(frozen=True)
class Policy:
    """Decision thresholds: decline from one score on, review from a lower one, approve below.

    Attributes
    ----------
    kind
        ``capacity``: rows are reviewed from the threshold ``value`` on. ``cost``: the threshold follows from the costs.
    value
        The threshold of a capacity policy; None for a cost policy.
    review_cost, fee, friction, lost_sale
        In minor units; if `lost_sale` is None, nothing is declined.
    review_stops
        Share of fraud that a review stops.
    lost_margin
        Share of the amount that is lost if a legitimate transaction is declined.
    price
        Shadow price added to each review of a cost policy so that demand meets capacity; minor units.

    Examples
    --------
    >>> policy = Policy("cost", None, review_cost=500, fee=0, review_stops=1.0, friction=0)
    >>> policy.thresholds(np.array([1_000, 10_000, 100])).round(3).tolist()
    [0.5, 0.05, 1.0]
    >>> policy.alerts(np.array([0.5, 0.06, 1.0]), np.array([1_000, 10_000, 100])).tolist()
    [False, True, False]
    >>> Policy("capacity", 0.1, review_cost=500, lost_sale=2_000).declines(np.array([0.9, 0.5]), np.array([1_000, 1_000]))
    array([ True, False])
    """

    kind: Literal["capacity", "cost"]
    value: float | None
    review_cost: int = 0
    fee: int = 0
    review_stops: float = 1.0
    friction: int = 0
    lost_sale: int | None = None
    lost_margin: float = 0.0
    price: float = 0.0

    def thresholds(self, amounts: NDArray[Any]) -> FloatArray:
        """Return the score from which each row is alerted (reviewed or declined).

        Under a cost policy, a review pays iff ``p·L > c + λ + p·(1 − r)·L + (1 − p)·f`` with the loss ``L = max(amount, 0)
        + fee`` and the price ``λ``, so iff p is above ``(c + λ + f) / (r·L + f)``; declining pays iff ``p·L > (1 − p)·s``.
        Ties approve: the threshold is the next number above that. If no probability suffices, it is ``NEVER``.

        Parameters
        ----------
        amounts
            Minor units, shape (n,).

        Returns
        -------
        Array of shape (n,).
        """
        if self.value is not None:
            return np.full(len(amounts), self.value)
        loss = self._loss(amounts)
        review = _least_above(np.full(len(loss), self._review_work), self.review_stops * loss + self.friction)
        return np.minimum(review, self._decline_over_approve(loss, amounts))

    def decline_thresholds(self, amounts: NDArray[Any]) -> FloatArray:
        """Return the score from which each row is declined, at least its alert threshold; ``NEVER`` without `lost_sale`.

        Declining costs less than reviewing iff ``(1 − p)·s < c + λ + p·(1 − r)·L + (1 − p)·f``. Ties review.
        """
        loss = self._loss(amounts)
        if self.lost_sale is None:
            return np.full(len(loss), NEVER)
        sale = self._sale_loss(amounts)
        gain = sale - self._review_work
        over_review = np.where(gain < 0, 0.0, _least_above(gain, (1 - self.review_stops) * loss + sale - self.friction))
        decline = np.maximum(over_review, self._decline_over_approve(loss, amounts))
        return np.maximum(decline, 0.0 if self.value is None else self.value)

    @property
    def _review_work(self) -> float:
        """Cost of reviewing a legitimate transaction."""
        return self.review_cost + self.price + self.friction

    def _loss(self, amounts: NDArray[Any]) -> FloatArray:
        return np.maximum(np.asarray(amounts, dtype=np.float64), 0.0) + self.fee

    def _sale_loss(self, amounts: NDArray[Any]) -> FloatArray:
        """Cost of declining each transaction if it is legitimate."""
        return (self.lost_sale or 0) + self.lost_margin * np.maximum(np.asarray(amounts, dtype=np.float64), 0.0)

    def _decline_over_approve(self, loss: FloatArray, amounts: NDArray[Any]) -> FloatArray:
        if self.lost_sale is None:
            return np.full(len(loss), NEVER)
        sale = self._sale_loss(amounts)
        return _least_above(sale, loss + sale)

    def alerts(self, scores: FloatArray, amounts: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows are alerted (reviewed or declined); arrays of shape (n,), amounts in minor units."""
        return np.asarray(scores >= self.thresholds(amounts))

    def declines(self, scores: FloatArray, amounts: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows are declined; arrays of shape (n,), amounts in minor units."""
        return np.asarray(scores >= self.decline_thresholds(amounts))

    def decisions(self, scores: FloatArray, amounts: NDArray[Any]) -> pl.Series:
        """Decide each row: approve, review or decline; arrays of shape (n,), amounts in minor units."""
        return pl.Series("decision", self.decision_array(scores, amounts), dtype=pl.String)

    def decision_array(self, scores: FloatArray, amounts: NDArray[Any]) -> NDArray[np.object_]:
        """Return `decisions` as an array of shape (n,)."""
        names = np.full(len(scores), APPROVE, dtype=object)
        names[self.alerts(scores, amounts)] = REVIEW
        names[self.declines(scores, amounts)] = DECLINE
        return names

    def expected_losses(self, scores: FloatArray, amounts: NDArray[Any]) -> FloatArray:
        """Return the expected loss of each row if it is approved; minor units, arrays of shape (n,)."""
        return scores * self._loss(amounts)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Policy:
        return cls(**content)


@dataclass(frozen=True)
class Threshold:
    """A policy with its effect on the validation rows that it was set on.

    Attributes
    ----------
    value
        The threshold of a capacity policy; None if it depends on the amount.
    unit
        What is counted per day: ``cards``, or ``rows`` in data without cards.
    expected_per_day, daily_spread
        Mean and standard deviation over days of the number reviewed; None for data without time (the
        deviation also for a single day).
    declined_per_day
        Mean number of rows declined a day; None for data without time.
    binding
        False if the capacity suffices for all rows (cost policy: for all rows whose review pays).
    rows, days
        Size of the validation part without refunds.
    """

    policy: Policy
    unit: Literal["cards", "rows"]
    expected_per_day: float | None
    daily_spread: float | None
    binding: bool
    rows: int
    days: int | None
    first: datetime | None = None
    last: datetime | None = None
    declined_per_day: float | None = None

    @property
    def value(self) -> float | None:
        return self.policy.value

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, the policy nested under its own key."""
        content = asdict(self)
        return {**content, **{key: content[key] and content[key].isoformat() for key in ("first", "last")}}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Threshold:
        times = {key: content[key] and datetime.fromisoformat(content[key]) for key in ("first", "last")}
        return cls(**{**content, **times, "policy": Policy.from_dict(content["policy"])})


def choose_threshold(scored: pl.DataFrame, params: PolicyParams) -> Threshold:
    """Set the policy on validation rows, without their labels.

    Capacity counts distinct reviewed cards (rows if the data has no cards) on each UTC day that has
    rows. Cards that tie at the threshold are all left out if together they exceed the capacity. Data without time has
    no days: there a cost policy reviews every row whose review pays.

    Parameters
    ----------
    scored
        Validation rows: score Float64 (calibrated), amount Int64 in minor units, and ts, card_id,
        status where the data has them. Refunds are left out.
    params
        The kind of policy, the capacity and the costs.

    Raises
    ------
    EmptyDataError
        There is no row.
    DataError
        A score is not a probability.
    ParamsError
        A capacity policy for data without time, which has no days.

    Examples
    --------
    >>> scored = pl.DataFrame({
    ...     "ts": [datetime(2018, 8, 1), datetime(2018, 8, 1), datetime(2018, 8, 2)],
    ...     "card_id": ["a", "b", "a"], "amount": [100, 100, 100], "score": [0.2, 0.6, 0.4],
    ... })
    >>> chosen = choose_threshold(scored, PolicyParams(cards_per_day=1))
    >>> round(chosen.value, 3), chosen.expected_per_day
    (0.3, 1.0)
    """
    rows = scored.filter(pl.col("status").ne_missing(REFUND)) if "status" in scored.columns else scored
    require_rows(rows, params)
    if not rows["score"].is_between(0, 1).fill_null(False).all():
        raise DataError(
            "the threshold: a validation score is not between 0 and 1",
            hint="Calibrate the scores before a policy reads them.",
        )
    scores, amounts = rows["score"].to_numpy(), rows["amount"].to_numpy()
    policy = _capacity_policy(rows, params) if params.threshold == "capacity" else _cost_policy(rows, params)
    alert, decline = policy.alerts(scores, amounts), policy.declines(scores, amounts)
    binding = policy.price > 0 if policy.kind == "cost" else not alert.all()
    return _threshold(rows, alert & ~decline, decline, policy, binding=binding)


def _capacity_policy(rows: pl.DataFrame, params: PolicyParams) -> Policy:
    """Return the capacity policy: the threshold at which the number of reviewed cards fits the capacity."""
    costs = _costs(params)
    declined = Policy("capacity", 0.0, **costs).declines(rows["score"].to_numpy(), rows["amount"].to_numpy())
    best = _best_daily_scores(rows.filter(~pl.Series(declined)))
    cutoff = 0.0 if best.is_empty() else _cutoff(best, _capacity(rows, params), beyond=1.0)
    return Policy("capacity", cutoff, **costs)


def _cost_policy(rows: pl.DataFrame, params: PolicyParams) -> Policy:
    """Return the cost policy, with the shadow price at which the number of reviewed cards fits the capacity."""
    costs = _costs(params)
    if "ts" not in rows.columns:
        return Policy("cost", None, **costs)
    expected = Costs.from_rows(rows["score"].to_numpy(), rows["amount"].to_numpy().astype(np.float64), params)
    gain = np.minimum(expected.approved, expected.declined) - expected.reviewed
    best = _best_daily_scores(rows.with_columns(score=pl.Series(gain)))
    price = _cutoff(best, _capacity(rows, params), beyond=float(gain.max()) + 1.0)
    return Policy("cost", None, **costs, price=max(price, 0.0))


def require_rows(rows: pl.DataFrame, params: PolicyParams) -> None:
    """Refuse validation rows that the policy cannot be set on, before a model is fitted.

    Raises
    ------
    EmptyDataError
        There is no row.
    ParamsError
        A capacity policy for data without time, which has no days.
    """
    if rows.is_empty():
        raise EmptyDataError(
            "the threshold: no validation row to set it on", hint="Give featurize.split.valid a part that has rows."
        )
    require_columns(rows.columns, params)


def require_columns(columns: Collection[str], params: PolicyParams) -> None:
    """Refuse a policy that is impossible for data with these columns.

    Raises
    ------
    ParamsError
        A capacity policy for data without time, which has no days.
    """
    if params.threshold == "capacity" and "ts" not in columns:
        raise ParamsError(
            "policy.threshold: 'capacity' counts cards a day, and this data has no time",
            hint="Set policy.threshold to 'cost', which needs no days.",
        )


def _costs(params: PolicyParams) -> dict[str, Any]:
    fields = ("review_cost", "fee", "review_stops", "friction", "lost_sale", "lost_margin")
    return {name: getattr(params, name) for name in fields}


def _least_above(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return the least probability above part / whole; `NEVER` if there is none."""
    ratio = np.full(len(whole), np.inf)
    np.divide(part, whole, out=ratio, where=whole > 0)
    least: FloatArray = np.minimum(np.nextafter(ratio, np.inf), NEVER)
    return least


def _capacity(rows: pl.DataFrame, params: PolicyParams) -> int:
    """Return how many cards may be reviewed on all days together."""
    return params.cards_per_day * rows["ts"].dt.date().n_unique()


def _best_daily_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the best score of each card on each day, or the score of each row if there are no cards."""
    if "ts" not in rows.columns:
        return rows.select("score")
    day = pl.col("ts").dt.date().alias("day")
    if "card_id" not in rows.columns:
        return rows.select(day, "score")
    return rows.group_by(day, "card_id").agg(pl.col("score").max()).select("day", "score")


def _cutoff(best: pl.DataFrame, capacity: int, *, beyond: float) -> float:
    """Return the midpoint between the lowest score that fits and the highest that does not: robust to rounding.

    Parameters
    ----------
    beyond
        A value above all scores, used as the lowest score that fits if none does.
    """
    scores = best["score"].sort(descending=True).to_numpy()
    if len(scores) <= capacity:
        return 0.0
    above = scores[scores > scores[capacity]]
    lowest_in = float(above[-1]) if len(above) else beyond
    highest_out = float(scores[capacity])
    middle = (lowest_in + highest_out) / 2
    return middle if highest_out < middle else float(np.nextafter(highest_out, np.inf))


def _threshold(
    rows: pl.DataFrame, review: NDArray[np.bool_], decline: NDArray[np.bool_], policy: Policy, *, binding: bool
) -> Threshold:
    unit: Literal["cards", "rows"] = "cards" if "card_id" in rows.columns else "rows"
    if "ts" not in rows.columns:
        return Threshold(policy, unit, None, None, binding, rows.height, None)
    reviewed = pl.col("card_id").filter("review").n_unique() if unit == "cards" else pl.col("review").sum()
    decided = rows.with_columns(review=pl.Series(review), decline=pl.Series(decline))
    by_day = decided.group_by(pl.col("ts").dt.date()).agg(reviewed.alias("reviewed"), pl.col("decline").sum())
    daily = by_day["reviewed"].sort().to_numpy()  # another order of summation would differ in the last bit
    first, last = (rows.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"))).row(0)
    return Threshold(
        policy,
        unit,
        expected_per_day=float(daily.mean()),
        daily_spread=float(daily.std(ddof=1)) if len(daily) > 1 else None,
        binding=binding,
        rows=rows.height,
        days=len(daily),
        first=first,
        last=last,
        declined_per_day=float(decline.sum()) / len(daily),
    )
