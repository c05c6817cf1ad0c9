"""From a probability to a decision: approve, review or decline, by capacity or by cost.

Every threshold is fixed before the day it is used on, from validation rows. Capacity: one threshold at which as many
cards a day are reviewed on average as reviewers can handle, and no more. Cost: of the three decisions
the one that is expected to cost least, so thresholds fall with the amount; where more cards would be
reviewed than there is capacity for, a review bears a price on top of its cost, the same for
every row, that brings them down to it.
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
"""A threshold that no probability reaches; finite, so that JSON can hold it."""


@dataclass(frozen=True)
class Policy:
    """How to decide: decline from one score on, review from a lower one, approve below.

    Attributes
    ----------
    kind
        ``capacity``: ``value`` is the threshold from which rows are reviewed. ``cost``: it follows from the costs.
    value
        The threshold of a capacity policy; None for a cost policy.
    review_cost, fee, friction, lost_sale
        In minor units; without `lost_sale` nothing is declined.
    review_stops
        Share of fraud that a review stops.
    lost_margin
        Share of the amount that is lost with an honest transaction that is declined.
    price
        What a review costs on top, by cost, since reviewers are few; minor units.

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
        """Give the score from which each row is alerted: reviewed or declined.

        By cost, a review is worth it iff ``p·L > c + λ + p·(1 − r)·L + (1 − p)·f`` with the loss ``L = max(amount, 0)
        + fee`` and the price ``λ``, so iff p is above ``(c + λ + f) / (r·L + f)``; to decline iff ``p·L > (1 − p)·s``.
        Ties approve: the threshold is the next number above that. Where no probability suffices it is ``NEVER``.

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
        review = _above(np.full(len(loss), self._work), self.review_stops * loss + self.friction)
        return np.minimum(review, self._decline_over_approve(loss, amounts))

    def decline_thresholds(self, amounts: NDArray[Any]) -> FloatArray:
        """Give the score from which each row is declined, at or above that of an alert; ``NEVER`` without `lost_sale`.

        To decline costs less than to review iff ``(1 − p)·s < c + λ + p·(1 − r)·L + (1 − p)·f``. Ties review.
        """
        loss = self._loss(amounts)
        if self.lost_sale is None:
            return np.full(len(loss), NEVER)
        sale = self._sale(amounts)
        gain = sale - self._work
        over_review = np.where(gain < 0, 0.0, _above(gain, (1 - self.review_stops) * loss + sale - self.friction))
        decline = np.maximum(over_review, self._decline_over_approve(loss, amounts))
        return np.maximum(decline, 0.0 if self.value is None else self.value)

    @property
    def _work(self) -> float:
        """What reviewing an honest transaction costs."""
        return self.review_cost + self.price + self.friction

    def _loss(self, amounts: NDArray[Any]) -> FloatArray:
        return np.maximum(np.asarray(amounts, dtype=np.float64), 0.0) + self.fee

    def _sale(self, amounts: NDArray[Any]) -> FloatArray:
        """What declining an honest transaction costs."""
        return (self.lost_sale or 0) + self.lost_margin * np.maximum(np.asarray(amounts, dtype=np.float64), 0.0)

    def _decline_over_approve(self, loss: FloatArray, amounts: NDArray[Any]) -> FloatArray:
        if self.lost_sale is None:
            return np.full(len(loss), NEVER)
        sale = self._sale(amounts)
        return _above(sale, loss + sale)

    def alerts(self, scores: FloatArray, amounts: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which rows are alerted: reviewed or declined; arrays of shape (n,), amounts in minor units."""
        return np.asarray(scores >= self.thresholds(amounts))

    def declines(self, scores: FloatArray, amounts: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which rows are declined; arrays of shape (n,), amounts in minor units."""
        return np.asarray(scores >= self.decline_thresholds(amounts))

    def decisions(self, scores: FloatArray, amounts: NDArray[Any]) -> pl.Series:
        """Decide each row: approve, review or decline; arrays of shape (n,), amounts in minor units."""
        return pl.Series("decision", self.named(scores, amounts), dtype=pl.String)

    def named(self, scores: FloatArray, amounts: NDArray[Any]) -> NDArray[np.object_]:
        """As `decisions`, as an array of shape (n,)."""
        names = np.full(len(scores), APPROVE, dtype=object)
        names[self.alerts(scores, amounts)] = REVIEW
        names[self.declines(scores, amounts)] = DECLINE
        return names

    def expected_losses(self, scores: FloatArray, amounts: NDArray[Any]) -> FloatArray:
        """What each row is expected to lose if it is approved; minor units, arrays of shape (n,)."""
        return scores * self._loss(amounts)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Policy:
        return cls(**content)


@dataclass(frozen=True)
class Threshold:
    """A policy and what it did on the validation rows that set it.

    Attributes
    ----------
    value
        The threshold of a capacity policy; None where it depends on the amount.
    unit
        What is counted a day: ``cards``, or ``rows`` in data without cards.
    expected_per_day, daily_spread
        Mean and standard deviation over days of the number reviewed a day; None without time (the
        spread also with a single day).
    declined_per_day
        Mean number of rows declined a day; None without time.
    binding
        False where the capacity leaves out nothing: all, or by cost all that is worth it, can be reviewed.
    rows, days
        Size of the validation part; refunds are not in it.
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
        """Give the facts as JSON-ready values, the policy under its own key."""
        content = asdict(self)
        return {**content, **{key: content[key] and content[key].isoformat() for key in ("first", "last")}}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Threshold:
        times = {key: content[key] and datetime.fromisoformat(content[key]) for key in ("first", "last")}
        return cls(**{**content, **times, "policy": Policy.from_dict(content["policy"])})


def choose_threshold(scored: pl.DataFrame, params: PolicyParams) -> Threshold:
    """Set the policy on validation rows, whose labels play no part in it.

    Capacity counts distinct reviewed cards (rows where there are no cards) on each UTC day that has
    rows. Cards that tie at the edge are left out together when all of them would be too many. Data without time has
    no days: a cost policy reviews there whatever is worth it.

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
        No row to set it on.
    DataError
        A score that is no probability.
    ParamsError
        A capacity is wanted of data without time, where there are no days.

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
    policy = _by_capacity(rows, params) if params.threshold == "capacity" else _by_cost(rows, params)
    alert, decline = policy.alerts(scores, amounts), policy.declines(scores, amounts)
    binding = policy.price > 0 if policy.kind == "cost" else not alert.all()
    return _threshold(rows, alert & ~decline, decline, policy, binding=binding)


def _by_capacity(rows: pl.DataFrame, params: PolicyParams) -> Policy:
    """The threshold on the score from which as many cards are reviewed as there is capacity for."""
    costs = _costs(params)
    declined = Policy("capacity", 0.0, **costs).declines(rows["score"].to_numpy(), rows["amount"].to_numpy())
    best = _daily_best(rows.filter(~pl.Series(declined)))
    edge = 0.0 if best.is_empty() else _edge(best, _allowed(rows, params), beyond=1.0)
    return Policy("capacity", edge, **costs)


def _by_cost(rows: pl.DataFrame, params: PolicyParams) -> Policy:
    """Least cost, with the price of a review at which no more cards are reviewed than there is capacity for."""
    costs = _costs(params)
    if "ts" not in rows.columns:
        return Policy("cost", None, **costs)
    expected = Costs.of(rows["score"].to_numpy(), rows["amount"].to_numpy().astype(np.float64), params)
    worth = np.minimum(expected.approved, expected.declined) - expected.reviewed
    best = _daily_best(rows.with_columns(score=pl.Series(worth)))
    price = _edge(best, _allowed(rows, params), beyond=float(worth.max()) + 1.0)
    return Policy("cost", None, **costs, price=max(price, 0.0))


def require_rows(rows: pl.DataFrame, params: PolicyParams) -> None:
    """Refuse validation rows that no policy of this kind can be set on, before a model is fitted for it.

    Raises
    ------
    EmptyDataError
        There are none.
    ParamsError
        A capacity is wanted of data without time, where there are no days.
    """
    if rows.is_empty():
        raise EmptyDataError(
            "the threshold: no validation row to set it on", hint="Give featurize.split.valid a part that has rows."
        )
    require_columns(rows.columns, params)


def require_columns(columns: Collection[str], params: PolicyParams) -> None:
    """Refuse a policy that data with these columns cannot have, as soon as the columns are known.

    Raises
    ------
    ParamsError
        A capacity is wanted of data without time, where there are no days.
    """
    if params.threshold == "capacity" and "ts" not in columns:
        raise ParamsError(
            "policy.threshold: 'capacity' counts cards a day, and this data has no time",
            hint="Set policy.threshold to 'cost', which needs no days.",
        )


def _costs(params: PolicyParams) -> dict[str, Any]:
    named = ("review_cost", "fee", "review_stops", "friction", "lost_sale", "lost_margin")
    return {name: getattr(params, name) for name in named}


def _above(part: FloatArray, whole: FloatArray) -> FloatArray:
    """The least probability above part / whole; `NEVER` where there is none."""
    found = np.full(len(whole), np.inf)
    np.divide(part, whole, out=found, where=whole > 0)
    least: FloatArray = np.minimum(np.nextafter(found, np.inf), NEVER)
    return least


def _allowed(rows: pl.DataFrame, params: PolicyParams) -> int:
    """How many cards may be reviewed on all days together."""
    return params.cards_per_day * rows["ts"].dt.date().n_unique()


def _daily_best(rows: pl.DataFrame) -> pl.DataFrame:
    """Best score of each card on each day; of each row where there are no cards."""
    if "ts" not in rows.columns:
        return rows.select("score")
    day = pl.col("ts").dt.date().alias("day")
    if "card_id" not in rows.columns:
        return rows.select(day, "score")
    return rows.group_by(day, "card_id").agg(pl.col("score").max()).select("day", "score")


def _edge(best: pl.DataFrame, allowed: int, *, beyond: float) -> float:
    """Halfway between the last score that fits and the first that does not: safe against rounding of scores.

    Parameters
    ----------
    beyond
        A score above all, for the last that fits where none does.
    """
    scores = best["score"].sort(descending=True).to_numpy()
    if len(scores) <= allowed:
        return 0.0
    above = scores[scores > scores[allowed]]
    lowest_in = float(above[-1]) if len(above) else beyond
    highest_out = float(scores[allowed])
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
    daily = by_day["reviewed"].sort().to_numpy()  # sums of an order of their own would differ in the last bit
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
