"""One transaction after the other: find its keys, read, keep."""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, buckets, events, finalize, int_map, label_deltas, single_event_keys
from fraud3000.features.online.memory_pool import (
    END,
    LATE,
    NEWEST,
    REFUSED,
    SEEN,
    STAMP,
    Floats,
    State,
    find,
    has_room,
    record,
    size_of,
    slot,
)
from fraud3000.features.online.plan import CODE_BITS, TS, Ints, Plan, Row
from fraud3000.features.online.plan_packing import unpacked

_AHEAD = 64  # rows whose memory is fetched together

NULL, UNKNOWN = -1, -2
"""Codes of a text that is missing, and of one that the store has never seen."""


@kernel
def observe(  # noqa: PLR0913, PLR0917  see below
    words: Ints,
    pool: Ints,
    table: Ints,
    single: Ints,
    tallies: Ints,
    seen: Ints,
    keys: Ints,
    live: Ints,
    sums: Ints,
    out: Floats,
    undefined: Ints,
    facts: Ints,
    keep: int,
) -> int:
    """Make the features of a transaction and, if wanted, keep it; the words to make room for, with nothing kept, or 0.

    The plan comes packed and the state field by field, for the sake of the time that passing them takes.
    """
    plan = unpacked(words)
    state = State(pool, table, single, tallies, seen, keys, live, sums, out, undefined)
    return _observe(plan, state, facts, keep != 0)


@kernel
def _observe(plan: Plan, state: State, facts: Ints, keep: bool) -> int:
    wanted = _locate(plan, state, facts, keep)
    if wanted:
        return wanted
    _read(plan, state, facts[TS])
    finalize.make(plan, state, facts)
    if keep:
        _insert(plan, state, facts)
    return 0


@kernel
def absorb(plan: Plan, state: State, facts: Ints, first: int, live: Ints) -> tuple[int, int]:
    """Keep transactions from a row on without making features; how many were kept, and the words to make room for."""
    for row in range(first, len(facts)):
        if row % _AHEAD == 0:
            _fetch(plan, state, facts, row, live)
        wanted = _locate(plan, state, facts[row], True)
        if wanted:
            return row, wanted
        _insert(plan, state, facts[row])
        for step in range(len(plan.steps)):
            live[row, step] = state.live[step]
    return len(facts), 0


@kernel
def _fetch(plan: Plan, state: State, facts: Ints, first: int, live: Ints) -> None:
    """Look at what the next rows will need: memory answers many such questions at once, but one row's only one by one."""
    pool, table, steps, end = state.pool, state.table, plan.steps, min(first + _AHEAD, len(facts))
    touched = 0
    for place in range(len(steps)):
        step = steps[place]
        parent = step["parent"]
        for row in range(first, end):
            live[row, place] = (place << CODE_BITS) | facts[row, step["fact"]]
            touched ^= table[slot(table, live[row, place], live[row, parent] if parent >= 0 else 0)]
            if step["own"]:
                name = single_event_keys.name_of(
                    step, live[row, parent] if parent >= 0 else 0, facts[row, step["fact"]]
                )
                touched ^= state.singles[int_map.home(state.singles, name)]
        for row in range(first, end):
            live[row, place] = table[find(pool, table, live[row, place], live[row, parent] if parent >= 0 else 0)]
    for place in range(len(plan.sections)):
        section = plan.sections[place]
        for row in range(first, end):
            key = live[row, section["step"]]
            if key > 0:
                last = max(blocks.count(pool, section, key) - 1, 0)
                touched ^= pool[pool[key + section["at"]] + last * section["size"]]
    pool[STAMP] += touched & 1  # any new stamp will do; what is used is not compiled away


@kernel
def _locate(plan: Plan, state: State, facts: Ints, learn: bool) -> int:
    """Find the keys, and make those to be learned; the words to make room for before the transaction is kept."""
    if learn and not has_room(state.pool, state.table, state.singles, plan.most, len(plan.steps)):
        return plan.most
    pool, steps, keys, live = state.pool, plan.steps, state.keys, state.live
    for place in range(len(steps)):
        step = steps[place]
        code, parent = facts[step["fact"]], 0
        if step["parent"] >= 0:
            parent = keys[step["parent"]]
        if code == NULL or parent < 0:
            at = -1
        elif code == UNKNOWN or (step["parent"] >= 0 and parent == 0):
            at = 0
        else:
            at = _key(plan, state, step, (place << CODE_BITS) | code, parent, facts[TS], learn)
        keys[place] = at
        late = at > 0 and step["kept"] and pool[at + NEWEST] - facts[TS] > plan.horizon
        live[place] = -1 if late else at
    return _wanted(plan, state) if learn else 0


@kernel
def _key(plan: Plan, state: State, step: Row, head: int, parent: int, ts: int, learn: bool) -> int:
    """The record of a key, its step's own where it has one event at most; 0 where it is neither known nor learned."""
    pool, table = state.pool, state.table
    alone = step["own"] > 0 and single_event_keys.name_of(step, parent, head & ((1 << CODE_BITS) - 1)) > 0
    at = record(pool, table, head, step["size"], parent, ts, learn and not alone)
    if at == 0 and alone:
        known = single_event_keys.lay_out(pool, state.singles, step, plan.sections[step["section"]], head, parent, ts)
        at = step["own"] if known or learn else 0
    return int(at)


@kernel
def _wanted(plan: Plan, state: State) -> int:
    """The words that the rows of the current transaction may take, where they are not there."""
    words = 0
    for place in range(len(plan.steps)):
        if plan.steps[place]["own"]:
            words += plan.steps[place]["size"] + size_of(0)
    for place in range(len(plan.sections)):
        section = plan.sections[place]
        key = state.live[section["step"]]
        if key > 0:
            words += blocks.needs(state.pool, section, key)
    return words if state.pool[END] + words > len(state.pool) else 0


@kernel
def _read(plan: Plan, state: State, t: int) -> None:
    pool, live, sums, seen, windows, cells = state.pool, state.live, state.sums, state.seen, plan.windows, plan.cells
    pool[STAMP] += 1
    sums[:] = plan.empty
    for place in range(len(plan.sections)):
        section = plan.sections[place]
        key = live[section["step"]]
        if key > 0:
            if section["bucket"]:
                buckets.read(pool, section, windows, cells, key, t, sums, seen)
            else:
                events.read(pool, section, windows, cells, key, t, sums, seen)
            if section["changes"]:
                label_deltas.read(pool, section, windows, cells, key, t, sums)


@kernel
def _insert(plan: Plan, state: State, facts: Ints) -> None:
    pool, live, measures = state.pool, state.live, plan.measures
    for place in range(len(plan.steps)):
        if plan.steps[place]["kept"] and state.keys[place] > 0:
            _count(pool, state.tallies[place], live[place], facts[TS])
    for place in range(len(plan.sections)):
        section = plan.sections[place]
        key = live[section["step"]]
        if key > 0:
            if section["bucket"]:
                buckets.insert(pool, section, measures, key, facts)
            else:
                events.insert(pool, section, plan.fields, key, facts)
            if section["changes"]:
                label_deltas.settle(pool, section, measures, key, plan.horizon)
    for place in range(len(plan.steps)):
        step = plan.steps[place]
        if step["own"] and live[place] == step["own"]:
            section = plan.sections[step["section"]]
            single_event_keys.put_back(pool, state.table, state.singles, state.tallies[place], step, section)


@kernel
def _count(pool: Ints, tally: Ints, key: int, ts: int) -> None:
    """Tell a row of a key in the tallies, and its ts if it is the newest."""
    if key < 0:
        tally[REFUSED] += 1
        return
    tally[SEEN] += 1
    if ts < pool[key + NEWEST]:
        tally[LATE] += 1
    pool[key + NEWEST] = max(pool[key + NEWEST], ts)
