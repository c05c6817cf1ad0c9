"""From a probability to an alert: thresholds by capacity or by cost.

Both are fixed before the day they are used on, from validation rows. Capacity: the threshold at
which as many cards a day are alerted on average as reviewers can handle, and no more. Cost: an
alert is worth its review when the expected loss that it prevents is larger, so the threshold
falls with the amount.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000.errors import DataError, EmptyDataError, ParamsError
from fraud3000.params import PolicyParams
from fraud3000.schema import REFUND

FloatArray = NDArray[np.float64]

NEVER = float(np.nextafter(1.0, 2.0))
"""A threshold that no probability reaches; finite, so that JSON can hold it."""


@dataclass(frozen=True)
class Policy:
    """When to alert: ``score >= threshold``, the threshold being one number or one for each amount.

    Attributes
    ----------
    kind
        ``capacity``: ``value`` is the threshold. ``cost``: the threshold follows from the costs.
    value
        The threshold of a capacity policy; None for a cost policy.
    review_cost, fee, friction
        In minor units.
    review_stops
        Share of fraud that a review stops.

    Examples
    --------
    >>> policy = Policy("cost", None, review_cost=500, fee=0, review_stops=1.0, friction=0)
    >>> policy.thresholds(np.array([1_000, 10_000, 100])).round(3).tolist()
    [0.5, 0.05, 1.0]
    >>> policy.alerts(np.array([0.5, 0.06, 1.0]), np.array([1_000, 10_000, 100])).tolist()
    [False, True, False]
    """

    kind: Literal["capacity", "cost"]
    value: float | None
    review_cost: int = 0
    fee: int = 0
    review_stops: float = 1.0
    friction: int = 0

    def thresholds(self, amounts: NDArray[Any]) -> FloatArray:
        """Give the threshold of each row.

        By cost, a review is worth it iff ``p·L > c + p·(1 − r)·L + (1 − p)·f`` with the loss
        ``L = max(amount, 0) + fee``, so iff p is above ``(c + f) / (r·L + f)``. Ties approve: the
        threshold is the next number above that. Where no probability suffices it is ``NEVER``.

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
        loss = np.maximum(np.asarray(amounts, dtype=np.float64), 0.0) + self.fee
        prevented = self.review_stops * loss + self.friction
        break_even = np.full(len(loss), np.inf)
        np.divide(self.review_cost + self.friction, prevented, out=break_even, where=prevented > 0)
        thresholds: FloatArray = np.minimum(np.nextafter(break_even, np.inf), NEVER)
        return thresholds

    def alerts(self, scores: FloatArray, amounts: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which rows are alerted; both arrays of shape (n,), amounts in minor units."""
        return np.asarray(scores >= self.thresholds(amounts))

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
        Mean and standard deviation over days of the number alerted a day; None without time (the
        spread also with a single day).
    binding
        False where everything could be alerted within the capacity.
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

    Capacity counts distinct alerted cards (rows where there are no cards) on each UTC day that has
    rows. Cards that tie at the edge are left out together when all of them would be too many.

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
    best = _daily_best(rows)
    if params.threshold == "capacity":
        policy = Policy("capacity", _capacity_threshold(best, params.cards_per_day), **_costs(params))
    else:
        policy = Policy("cost", None, **_costs(params))
    alert = policy.alerts(rows["score"].to_numpy(), rows["amount"].to_numpy())
    return _threshold(rows, alert, policy, binding=policy.kind == "cost" or not alert.all())


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
    if params.threshold == "capacity" and "ts" not in rows.columns:
        raise ParamsError(
            "policy.threshold: 'capacity' counts cards a day, and this data has no time",
            hint="Set policy.threshold to 'cost', which needs no days.",
        )


def _costs(params: PolicyParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in ("review_cost", "fee", "review_stops", "friction")}


def _daily_best(rows: pl.DataFrame) -> pl.DataFrame:
    """Best score of each card on each day; of each row where there are no cards."""
    if "ts" not in rows.columns:
        return rows.select("score")
    day = pl.col("ts").dt.date().alias("day")
    if "card_id" not in rows.columns:
        return rows.select(day, "score")
    return rows.group_by(day, "card_id").agg(pl.col("score").max()).select("day", "score")


def _capacity_threshold(best: pl.DataFrame, per_day: int) -> float:
    """Halfway between the last score that fits and the first that does not: safe against rounding of scores."""
    allowed = per_day * best["day"].n_unique()
    scores = best["score"].sort(descending=True).to_numpy()
    if len(scores) <= allowed:
        return 0.0
    above = scores[scores > scores[allowed]]
    lowest_in = float(above[-1]) if len(above) else 1.0
    highest_out = float(scores[allowed])
    middle = (lowest_in + highest_out) / 2
    return middle if highest_out < middle else float(np.nextafter(highest_out, 2.0))


def _threshold(rows: pl.DataFrame, alert: NDArray[np.bool_], policy: Policy, *, binding: bool) -> Threshold:
    unit: Literal["cards", "rows"] = "cards" if "card_id" in rows.columns else "rows"
    if "ts" not in rows.columns:
        return Threshold(policy, unit, None, None, binding, rows.height, None)
    counted = pl.col("card_id").filter("alert").n_unique() if unit == "cards" else pl.col("alert").sum()
    by_day = rows.with_columns(alert=pl.Series(alert)).group_by(pl.col("ts").dt.date()).agg(counted.alias("alerted"))
    daily = by_day["alerted"].sort().to_numpy()  # sums of an order of their own would differ in the last bit
    first, last = (rows.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"))).row(0)
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else None
    return Threshold(policy, unit, float(daily.mean()), spread, binding, rows.height, len(daily), first, last)
