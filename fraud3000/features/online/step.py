"""One transaction after the other: find its keys, read, keep."""

from __future__ import annotations

from fraud3000.features.kernel import kernel
from fraud3000.features.online import buckets, changes, events, values
from fraud3000.features.online.arena import LATE, NEWEST, REFUSED, SEEN, STAMP, Floats, State, has_room, record
from fraud3000.features.online.plan import TS, Ints, Plan

NULL, UNKNOWN = -1, -2
"""Codes of a text that is missing, and of one that the store has never seen."""


@kernel
def observe(plan: Plan, state: State, facts: Ints, floats: Floats, keep: bool) -> bool:
    """Make the features of a transaction and, if wanted, keep it; False, with nothing done, where memory is short."""
    if keep and not has_room(state, plan.most, len(plan.steps)):
        return False
    _locate(plan, state, facts, keep)
    _read(plan, state, facts[TS])
    values.make(plan, state, facts, floats)
    if keep:
        _insert(plan, state, facts)
    return True


@kernel
def absorb(plan: Plan, state: State, facts: Ints, first: int, live: Ints) -> int:
    """Keep transactions from a row on without making features; the row where memory was short, or all there are."""
    for row in range(first, len(facts)):
        if not has_room(state, plan.most, len(plan.steps)):
            return row
        _locate(plan, state, facts[row], True)  # noqa: FBT003  compiled functions take no names
        _insert(plan, state, facts[row])
        for step in range(len(plan.steps)):
            live[row, step] = state.live[step]
    return len(facts)


@kernel
def _locate(plan: Plan, state: State, facts: Ints, learn: bool) -> None:
    for place in range(len(plan.steps)):
        step = plan.steps[place]
        code, parent = facts[step["fact"]], 0
        if step["parent"] >= 0:
            parent = state.keys[step["parent"]]
        if code == NULL or parent < 0:
            at = -1
        elif code == UNKNOWN or (step["parent"] >= 0 and parent == 0):
            at = 0
        else:
            at = record(state, place, step["size"], code, parent, facts[TS], learn)
        state.keys[place] = at
        late = at > 0 and step["kept"] and state.pool[at + NEWEST] - facts[TS] > plan.horizon
        state.live[place] = -1 if late else at


@kernel
def _read(plan: Plan, state: State, t: int) -> None:
    state.marks[STAMP] += 1
    state.sums[:] = plan.empty
    for place in range(len(plan.sections)):
        section = plan.sections[place]
        key = state.live[section["step"]]
        if key > 0:
            if section["bucket"]:
                buckets.read(plan, state, section, key, t)
            else:
                events.read(plan, state, section, key, t)
            if section["changes"]:
                changes.read(plan, state, section, key, t)


@kernel
def _insert(plan: Plan, state: State, facts: Ints) -> None:
    for place in range(len(plan.steps)):
        if plan.steps[place]["kept"] and state.keys[place] > 0:
            _count(state, place, facts[TS])
    for place in range(len(plan.sections)):
        section = plan.sections[place]
        key = state.live[section["step"]]
        if key > 0:
            if section["bucket"]:
                buckets.insert(plan, state, section, key, facts)
            else:
                events.insert(plan, state, section, key, facts)
            if section["changes"]:
                changes.settle(plan, state, section, key)


@kernel
def _count(state: State, step: int, ts: int) -> None:
    """Tell a row of a key in the tallies, and its ts if it is the newest."""
    key = state.live[step]
    if key < 0:
        state.tallies[step, REFUSED] += 1
        return
    state.tallies[step, SEEN] += 1
    if ts < state.pool[key + NEWEST]:
        state.tallies[step, LATE] += 1
    state.pool[key + NEWEST] = max(state.pool[key + NEWEST], ts)
