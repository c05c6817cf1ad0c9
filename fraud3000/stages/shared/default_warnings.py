"""Warnings about params that do not fit the data: the alert budget, and too few frauds for promotion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta

from fraud3000.metrics.evaluation import Evaluation
from fraud3000.params import Params, PolicyParams, PromoteParams, Span

LARGE_BUDGET = 0.02
"""Share of a day's transactions above which an alert budget is reported."""
_USUAL_BUDGET = 0.01


def budget_warnings(rows: int, days: int, policy: PolicyParams) -> Iterator[str]:
    """Yield a warning if the alert budget is a large share of the transactions of a day.

    Parameters
    ----------
    rows, days
        Numbers of transactions and of the days on which they happened; no days, no warning.

    Examples
    --------
    >>> list(budget_warnings(400, 2, PolicyParams(cards_per_day=100)))
    ['the alert budget of 100 a day (policy.cards_per_day) is 50 % of the 200 transactions of a day; 2 would be 1 %']
    """
    if not days or not rows:
        return
    daily = rows / days
    share = policy.cards_per_day / daily
    if share > LARGE_BUDGET and policy.cards_per_day > 1:
        fitting = max(1, round(_USUAL_BUDGET * daily))
        yield (
            f"the alert budget of {policy.cards_per_day:,} a day (policy.cards_per_day) is {100 * share:.2g} % of the "
            f"{daily:,.0f} transactions of a day; {fitting:,} would be {100 * fitting / daily:.2g} %"
        )


def evaluation_warnings(evaluation: Evaluation, params: Params) -> Iterator[str]:
    """Yield warnings about the alert budget and the number of frauds in the test rows."""
    yield from budget_warnings(evaluation.rows, evaluation.alerts_a_day.days or 0, params.policy)
    yield from fraud_warnings(evaluation.frauds, evaluation.test_span, params.promote)


def fraud_warnings(frauds: int, span: Span | None, params: PromoteParams) -> Iterator[str]:
    """Yield a warning if the test rows have fewer frauds than promotion needs.

    Parameters
    ----------
    frauds
        Known frauds in the test rows.
    span
        The test span; None for a random split.

    Examples
    --------
    >>> from datetime import datetime
    >>> span = (datetime(2024, 1, 1), datetime(2024, 1, 11))
    >>> list(fraud_warnings(20, span, PromoteParams()))
    ['the test rows have 20 known frauds and promotion needs 50 (promote.least_frauds): lengthen the test span \
(featurize.split), or wait about 15 days at 2.0 frauds a day']
    """
    if frauds >= params.least_frauds:
        return
    text = (
        f"the test rows have {frauds:,} known frauds and promotion needs {params.least_frauds:,} "
        "(promote.least_frauds): "
    )
    if span is None or not frauds:
        yield f"{text}add data, or lower it"
        return
    daily = frauds / ((span[1] - span[0]) / timedelta(days=1))
    days = math.ceil((params.least_frauds - frauds) / daily)
    yield (f"{text}lengthen the test span (featurize.split), or wait about {days:,} days at {daily:.1f} frauds a day")
