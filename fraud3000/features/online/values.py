"""The last step from what was gathered to a feature's value."""

from __future__ import annotations

import math

from fraud3000.features import exact, formulas
from fraud3000.features.formulas import MISSING
from fraud3000.features.kernel import kernel
from fraud3000.features.online.arena import Floats, State
from fraud3000.features.online.plan import (
    DISTANCE,
    EXTREME,
    HOME,
    MEAN,
    NUMBER,
    RATIO,
    SHARE,
    SINCE,
    SMOOTHED,
    SPEED,
    STD,
    TOTAL,
    TS,
    UNSEEN,
    ZSCORE,
    Ints,
    Plan,
    Table,
)


@kernel
def make(plan: Plan, state: State, facts: Ints, floats: Floats) -> None:
    """Every feature of the current transaction; NaN where it is undefined, or the key is not told of it."""
    for place in range(len(plan.operations)):
        operation = plan.operations[place]
        step = operation["step"]
        if step >= 0 and state.live[step] < 0:
            state.out[place] = math.nan
        elif operation["how"] >= UNSEEN:
            state.out[place] = _of_last(state, operation, facts, floats)
        else:
            state.out[place] = _of_sums(state, operation, facts)


@kernel
def _of_sums(state: State, operation: Table, facts: Ints) -> float:
    how, sums, at = operation["how"], state.sums, operation["first"]
    if how == NUMBER:
        return float(sums[at])
    if how == SHARE:
        return formulas.share(sums[at], sums[operation["second"]])
    if how == SMOOTHED:
        return formulas.smoothed(sums[at], sums[operation["second"]], operation["prior"], operation["strength"])
    if how == EXTREME:
        if sums[at] == MISSING:
            return math.nan
        high, low = exact.add(0, 0, sums[at])
        return formulas.total(high, low, operation["unit"])
    if how == TOTAL:
        return formulas.total(sums[at + 1], sums[at + 2], operation["unit"])
    if how == MEAN:
        return formulas.mean(sums[at], sums[at + 1], sums[at + 2], operation["unit"])
    return _of_spread(sums, operation, facts[operation["fact"]])


@kernel
def _of_spread(sums: Ints, operation: Table, value: int) -> float:
    how, at, squares = operation["how"], operation["first"], operation["second"]
    count, high, low = sums[at], sums[at + 1], sums[at + 2]
    if how == STD:
        return formulas.deviation(count, high, low, sums[squares], sums[squares + 1], operation["unit"])
    if value == MISSING:
        return math.nan
    middle = formulas.mean(count, high, low, 1.0)
    if how == RATIO:
        return formulas.ratio(float(value), middle)
    assert how == ZSCORE
    return formulas.zscore(
        float(value), middle, formulas.deviation(count, high, low, sums[squares], sums[squares + 1], 1.0)
    )


@kernel
def _of_last(state: State, operation: Table, facts: Ints, floats: Floats) -> float:
    how, first, second = operation["how"], operation["first"], operation["second"]
    if how == HOME:
        return formulas.metres(floats[first], floats[first + 1], floats[second], floats[second + 1]) / 1000.0
    node = state.sums[first]
    if how == UNSEEN:
        return 1.0 if node == 0 else 0.0
    if node == 0:
        return math.nan
    since = formulas.seconds(facts[TS] - state.pool[node])
    if how == SINCE:
        return since
    was, now = node + second, operation["fact"]
    metres = formulas.metres(state.floats[was], state.floats[was + 1], floats[now], floats[now + 1])
    if how == DISTANCE:
        return metres / 1000.0
    assert how == SPEED
    return formulas.speed(metres, since)
