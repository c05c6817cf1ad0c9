"""The last step from what was gathered to a feature's value."""

from __future__ import annotations

import math

import numpy as np

from fraud3000.features import formulas, int124
from fraud3000.features.formulas import MISSING
from fraud3000.features.jit import kernel
from fraud3000.features.online.memory_pool import Floats, State
from fraud3000.features.online.plan import (
    DISTANCE,
    EXTREME,
    HOME,
    MEAN,
    NUMBER,
    OVER,
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
    Row,
)


@kernel
def make(plan: Plan, state: State, facts: Ints) -> None:
    """Every feature of the current transaction; NaN where it is undefined, or the key is not told of it."""
    operations, live, sums, out, undefined = plan.operations, state.live, state.sums, state.out, state.undefined
    places, floats = state.pool.view(np.float64), facts.view(np.float64)
    undefined[0] = 0
    for place in range(len(operations)):
        operation = operations[place]
        step = operation["step"]
        if step >= 0 and live[step] < 0:
            out[place] = math.nan
        elif operation["how"] == OVER:
            out[place] = formulas.ratio(out[operation["first"]], out[operation["second"]])
        elif operation["how"] >= UNSEEN:
            out[place] = _of_last(state.pool, places, sums, operation, facts, floats)
        else:
            out[place] = _of_sums(sums, operation, facts)
        if math.isnan(out[place]):
            undefined[0] += 1
            undefined[undefined[0]] = place


@kernel
def _of_sums(sums: Ints, operation: Row, facts: Ints) -> float:
    how, at, second = operation["how"], operation["first"], operation["second"]
    if how == NUMBER:
        found = float(sums[at])
    elif how == SHARE:
        found = formulas.share(sums[at], sums[second])
    elif how == SMOOTHED:
        found = formulas.smoothed(sums[at], sums[second], operation["prior"], operation["strength"])
    elif how == EXTREME:
        high, low = int124.add(0, 0, sums[at] if sums[at] != MISSING else 0)
        found = formulas.total(high, low, operation["unit"]) if sums[at] != MISSING else math.nan
    elif how == TOTAL:
        found = formulas.total(sums[at + 1], sums[at + 2], operation["unit"])
    elif how == MEAN:
        found = formulas.mean(sums[at], sums[at + 1], sums[at + 2], operation["unit"])
    else:
        found = _of_spread(sums, operation, facts[operation["fact"]])
    return found


@kernel
def _of_spread(sums: Ints, operation: Row, value: int) -> float:
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
def _of_last(pool: Ints, places: Floats, sums: Ints, operation: Row, facts: Ints, floats: Floats) -> float:
    how, first, second = operation["how"], operation["first"], operation["second"]
    if how == HOME:
        return formulas.metres(floats[first], floats[first + 1], floats[second], floats[second + 1]) / 1000.0
    node = sums[first]
    if how == UNSEEN:
        return 1.0 if node == 0 else 0.0
    if node == 0:
        return math.nan
    since = formulas.seconds(facts[TS] - pool[node])
    if how == SINCE:
        return since
    was, now = node + second, operation["fact"]
    metres = formulas.metres(places[was], places[was + 1], floats[now], floats[now + 1])
    if how == DISTANCE:
        return metres / 1000.0
    assert how == SPEED
    return formulas.speed(metres, since)
