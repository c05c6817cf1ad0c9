"""Simulate other policies on scored rows: money, alerts, precision and friction at each operating point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from fraud3000.metrics.cost import Costs, savings, share
from fraud3000.metrics.scored_arrays import counted
from fraud3000.models.policy import Policy, choose_threshold
from fraud3000.params import PolicyParams
from fraud3000.schema import APPROVE, DECLINE, REVIEW

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Multiples of the present alert budget that are simulated by default."""


def budgets(params: PolicyParams, cards_per_day: Sequence[int] = ()) -> list[int]:
    """Return the alert budgets to simulate, ascending, with the present one among them.

    Examples
    --------
    >>> budgets(PolicyParams(cards_per_day=10)), budgets(PolicyParams(cards_per_day=10), [50])
    ([2, 5, 10, 20, 40], [10, 50])
    """
    around = cards_per_day or [max(1, round(params.cards_per_day * factor)) for factor in FACTORS]
    return sorted({params.cards_per_day, *around})


def operating_points(scored: pl.DataFrame, params: PolicyParams, cards_per_day: Sequence[int]) -> pl.DataFrame:
    """Set a capacity and a cost policy for each budget and measure each of them on the same rows.

    Policies are set on all rows, without their labels; only rows with a known label are measured.
    Data without time has no days: there only the cost policy is measured, over all rows.

    Parameters
    ----------
    scored
        score (calibrated), amount Int64 in minor units, is_fraud Int8 nullable, and ts, card_id, status
        if the data has them.

    Returns
    -------
    polars.DataFrame
        A row for each point: threshold String (capacity or cost), cards_per_day Int64, price Float64 (of a review,
        minor units), score Float64 (the review threshold), then per day, or over all rows without time: reviewed, reviewed_sd,
        declined, alerts (rows), precision, recall, money_caught, money_lost, review_cost, honest (rows reviewed or
        declined), friction, cost, saved (against approving all); and savings. Money in minor units. Values that the rows do not
        determine are null.

    Raises
    ------
    EmptyDataError
        No row.
    """
    points = [("cost", params.cards_per_day)] if "ts" not in scored.columns else []
    points = points or [(kind, budget) for kind in ("capacity", "cost") for budget in cards_per_day]
    rows = [_point(scored, params.model_copy(update={"threshold": k, "cards_per_day": n})) for k, n in points]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.selectors.float().fill_nan(None))


def _point(scored: pl.DataFrame, params: PolicyParams) -> dict[str, str | float | None]:
    chosen = choose_threshold(scored, params)
    measured = scored.filter(counted(scored))
    days = measured["ts"].dt.date().n_unique() if "ts" in scored.columns else 1
    return {
        "threshold": params.threshold,
        "cards_per_day": params.cards_per_day,
        "price": chosen.policy.price,
        "score": chosen.value,
        "reviewed": chosen.expected_per_day,
        "reviewed_sd": chosen.daily_spread,
        **_outcome(measured, chosen.policy, params, max(days, 1)),
    }


def _outcome(rows: pl.DataFrame, policy: Policy, params: PolicyParams, days: int) -> dict[str, float]:
    amount, fraud = rows["amount"].cast(pl.Float64).to_numpy(), rows["is_fraud"].cast(pl.Float64).to_numpy()
    decision = policy.decisions(rows["score"].to_numpy(), rows["amount"].to_numpy())
    alert, decline = (decision != APPROVE).to_numpy(), (decision == DECLINE).to_numpy()
    review = (decision == REVIEW).to_numpy()
    costs = Costs.from_rows(fraud, amount, params)
    money, honest = fraud * np.maximum(amount, 0.0), 1 - fraud
    paid, nothing = float(costs.paid(alert, decline).sum()), float(costs.approved.sum())
    friction = np.where(decline, costs.declined, review * params.friction) * (alert * honest)
    totals = {
        "declined": decline.sum(),
        "alerts": alert.sum(),
        "money_caught": (money * alert).sum(),
        "money_lost": (money * ~alert).sum(),
        "review_cost": review.sum() * params.review_cost,
        "honest": (honest * alert).sum(),
        "friction": np.nansum(friction),
        "cost": paid,
        "saved": nothing - paid,
    }
    return {
        **{name: float(total) / days for name, total in totals.items()},
        "precision": share(float((fraud * alert).sum()), float(alert.sum())),
        "recall": share(float((fraud * alert).sum()), float(fraud.sum())),
        "savings": savings(paid, float(costs.reviewed.sum()), nothing),
    }
