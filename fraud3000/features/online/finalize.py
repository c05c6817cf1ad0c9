"""Computes feature values from the accumulators of their windows."""

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
def compute_features(plan: Plan, state: State, event: Ints) -> None:
    """Compute every feature of the current transaction into `state.out`; NaN if undefined, or too late for its key."""
    operations, live, sums, out, undefined = plan.operations, state.live, state.sums, state.out, state.undefined
    pool_floats, event_floats = state.pool.view(np.float64), event.view(np.float64)
    undefined[0] = 0
    for index in range(len(operations)):
        operation = operations[index]
        step = operation["step"]
        if step >= 0 and live[step] < 0:
            out[index] = math.nan
        elif operation["op"] == OVER:
            out[index] = formulas.ratio(out[operation["first"]], out[operation["second"]])
        elif operation["op"] >= UNSEEN:
            out[index] = _from_last_event(state.pool, pool_floats, sums, operation, event, event_floats)
        else:
            out[index] = _from_sums(sums, operation, event)
        if math.isnan(out[index]):
            undefined[0] += 1
            undefined[undefined[0]] = index


@kernel
def _from_sums(sums: Ints, operation: Row, event: Ints) -> float:
    op, at, second = operation["op"], operation["first"], operation["second"]
    if op == NUMBER:
        result = float(sums[at])
    elif op == SHARE:
        result = formulas.share(sums[at], sums[second])
    elif op == SMOOTHED:
        result = formulas.smoothed(sums[at], sums[second], operation["prior"], operation["strength"])
    elif op == EXTREME:
        high, low = int124.add(0, 0, sums[at] if sums[at] != MISSING else 0)
        result = formulas.total(high, low, operation["unit"]) if sums[at] != MISSING else math.nan
    elif op == TOTAL:
        result = formulas.total(sums[at + 1], sums[at + 2], operation["unit"])
    elif op == MEAN:
        result = formulas.mean(sums[at], sums[at + 1], sums[at + 2], operation["unit"])
    else:
        result = _from_values(sums, operation, event[operation["field"]])
    return result


@kernel
def _from_values(sums: Ints, operation: Row, value: int) -> float:
    op, at, squares = operation["op"], operation["first"], operation["second"]
    count, high, low = sums[at], sums[at + 1], sums[at + 2]
    if op == STD:
        return formulas.deviation(count, high, low, sums[squares], sums[squares + 1], operation["unit"])
    if value == MISSING:
        return math.nan
    middle = formulas.mean(count, high, low, 1.0)
    if op == RATIO:
        return formulas.ratio(float(value), middle)
    assert op == ZSCORE
    return formulas.zscore(
        float(value), middle, formulas.deviation(count, high, low, sums[squares], sums[squares + 1], 1.0)
    )


@kernel
def _from_last_event(
    pool: Ints, pool_floats: Floats, sums: Ints, operation: Row, event: Ints, event_floats: Floats
) -> float:
    op, first, second = operation["op"], operation["first"], operation["second"]
    if op == HOME:
        return (
            formulas.metres(
                event_floats[first], event_floats[first + 1], event_floats[second], event_floats[second + 1]
            )
            / 1000.0
        )
    last_row = sums[first]
    if op == UNSEEN:
        return 1.0 if last_row == 0 else 0.0
    if last_row == 0:
        return math.nan
    elapsed = formulas.seconds(event[TS] - pool[last_row])
    if op == SINCE:
        return elapsed
    then, now = last_row + second, operation["field"]
    metres = formulas.metres(pool_floats[then], pool_floats[then + 1], event_floats[now], event_floats[now + 1])
    if op == DISTANCE:
        return metres / 1000.0
    assert op == SPEED
    return formulas.speed(metres, elapsed)
