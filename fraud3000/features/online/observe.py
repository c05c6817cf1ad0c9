"""Kernels for one transaction: find its keys, read its windows, compute its features, insert it."""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, buckets, events, finalize, hash_map, label_deltas, single_event_keys
from fraud3000.features.online.memory_pool import (
    END,
    LATE,
    NEWEST,
    REFUSED,
    SEEN,
    STAMP,
    Floats,
    State,
    create_record,
    has_room,
    pack_key,
    size_of,
    store_value,
)
from fraud3000.features.online.plan import TS, Ints, Plan, Row, unpack

_AHEAD = 64  # rows that are prefetched together

NULL, UNKNOWN = -1, -2
"""Codes of a null text, and of a text that the store has never seen."""


@kernel
def observe(  # noqa: PLR0913, PLR0917  see below
    packed_plan: Ints,
    pool: Ints,
    key_map: Ints,
    tallies: Ints,
    seen: Ints,
    keys: Ints,
    live: Ints,
    sums: Ints,
    out: Floats,
    undefined: Ints,
    event: Ints,
    insert: int,
) -> int:
    """Compute the features of a transaction and, if `insert` is not 0, insert it.

    Returns 0, or the slots that must be free before it can be inserted; then nothing is inserted. The plan is packed
    and the state is passed field by field because passing tables and tuples to a kernel takes longer.
    """
    plan = unpack(packed_plan)
    state = State(pool, key_map, tallies, seen, keys, live, sums, out, undefined)
    return _observe(plan, state, event, insert != 0)


@kernel
def _observe(plan: Plan, state: State, event: Ints, insert: bool) -> int:
    needed = _find_keys(plan, state, event, insert)
    if needed:
        return needed
    _read_windows(plan, state, event[TS])
    finalize.compute_features(plan, state, event)
    if insert:
        _insert_event(plan, state, event)
    return 0


@kernel
def absorb(plan: Plan, state: State, encoded: Ints, first: int, live: Ints) -> tuple[int, int]:
    """Insert rows from `first` on without computing features; returns the next row, and the slots it needs or 0."""
    for row in range(first, len(encoded)):
        if row % _AHEAD == 0:
            _prefetch(plan, state, encoded, row, live)
        needed = _find_keys(plan, state, encoded[row], True)
        if needed:
            return row, needed
        _insert_event(plan, state, encoded[row])
        for step in range(len(plan.steps)):
            live[row, step] = state.live[step]
    return len(encoded), 0


@kernel
def _prefetch(plan: Plan, state: State, encoded: Ints, first: int, live: Ints) -> None:
    """Prefetch the memory of the next 64 rows, so that their cache misses overlap."""
    pool, key_map, steps, end = state.pool, state.key_map, plan.steps, min(first + _AHEAD, len(encoded))
    touched = 0
    for index in range(len(steps)):
        step = steps[index]
        for row in range(first, end):
            live[row, index] = _packed_key(step, encoded[row], live[row])
            touched ^= key_map[hash_map.home_index(key_map, live[row, index])]
        for row in range(first, end):
            value = key_map[hash_map.find(key_map, live[row, index]) + 1] if live[row, index] else 0
            live[row, index] = 0 if value & 1 else value >> 1
    for index in range(len(plan.sections)):
        section = plan.sections[index]
        for row in range(first, end):
            key = live[row, section["step"]]
            if key > 0:
                last = max(blocks.row_count(pool, section, key) - 1, 0)
                touched ^= pool[pool[key + section["offset"]] + last * section["size"]]
    pool[STAMP] += touched & 1  # any new stamp is valid; the result must be used, or the compiler removes the reads


@kernel
def _packed_key(step: Row, event: Ints, keys: Ints) -> int:
    """Packed key of an event at a step; 0 if its text or its parent is null or unknown."""
    code, parent = event[step["field"]], 0
    if step["parent"] >= 0:
        parent = keys[step["parent"]]
        if parent <= 0:
            return 0
    return pack_key(step, parent, code) if code >= 0 else 0


@kernel
def _find_keys(plan: Plan, state: State, event: Ints, learn: bool) -> int:
    """Find the keys' records, create them if `learn`; returns the slots that must be free first, or 0."""
    if learn and not has_room(state.pool, state.key_map, plan.max_record_slots, len(plan.steps)):
        return plan.max_record_slots
    pool, steps, keys, live = state.pool, plan.steps, state.keys, state.live
    for index in range(len(steps)):
        step = steps[index]
        packed, record = _packed_key(step, event, keys), 0
        if packed:
            record = _find_record(plan, state, index, packed, event[TS], learn)
        elif event[step["field"]] == NULL or (step["parent"] >= 0 and keys[step["parent"]] < 0):
            record = -1
        keys[index] = record
        is_late = record > 0 and step["is_key"] and pool[record + NEWEST] - event[TS] > plan.horizon
        live[index] = -1 if is_late else record
    return _slots_needed(plan, state) if learn else 0


@kernel
def _find_record(plan: Plan, state: State, index: int, packed: int, ts: int, learn: bool) -> int:
    """Address of a key's record, or of the step's scratch record for a key of one event; 0 if unknown and not learned."""
    pool, key_map, step = state.pool, state.key_map, plan.steps[index]
    entry = hash_map.find(key_map, packed)
    known, value = key_map[entry] != 0, key_map[entry + 1]
    if known and value & 1 == 0:
        return int(value >> 1)
    if not (known or learn):
        return 0
    if step["scratch"]:
        section = plan.sections[step["section"]]
        single_event_keys.load_key_state(pool, step, section, known, value >> 1 if known else ts)
        return int(step["scratch"])
    record = create_record(pool, step["size"], ts)
    store_value(pool, key_map, state.tallies[index], packed, record << 1)
    return record


@kernel
def _slots_needed(plan: Plan, state: State) -> int:
    """Slots that inserting the current transaction may allocate; 0 if they are free."""
    slots = 0
    for index in range(len(plan.steps)):
        if plan.steps[index]["scratch"]:
            slots += plan.steps[index]["size"] + size_of(0)
    for index in range(len(plan.sections)):
        section = plan.sections[index]
        key = state.live[section["step"]]
        if key > 0:
            slots += blocks.slots_needed(state.pool, section, key)
    return slots if state.pool[END] + slots > len(state.pool) else 0


@kernel
def _read_windows(plan: Plan, state: State, t: int) -> None:
    pool, live, sums, seen, windows, cells = state.pool, state.live, state.sums, state.seen, plan.windows, plan.cells
    pool[STAMP] += 1
    sums[:] = plan.empty
    for index in range(len(plan.sections)):
        section = plan.sections[index]
        key = live[section["step"]]
        if key > 0:
            if section["bucket"]:
                buckets.read(pool, section, windows, cells, key, t, sums, seen)
            else:
                events.read(pool, section, windows, cells, key, t, sums, seen)
            if section["deltas"]:
                label_deltas.read(pool, section, windows, cells, key, t, sums)


@kernel
def _insert_event(plan: Plan, state: State, event: Ints) -> None:
    pool, live, measures = state.pool, state.live, plan.measures
    for index in range(len(plan.steps)):
        if plan.steps[index]["is_key"] and state.keys[index] > 0:
            _update_tally(pool, state.tallies[index], live[index], event[TS])
    for index in range(len(plan.sections)):
        section = plan.sections[index]
        key = live[section["step"]]
        if key > 0:
            if section["bucket"]:
                buckets.insert(pool, section, measures, key, event)
            else:
                events.insert(pool, section, plan.fields, key, event)
            if section["deltas"]:
                label_deltas.prune(pool, section, measures, key, plan.horizon)
    for index in range(len(plan.steps)):
        step = plan.steps[index]
        if step["scratch"] and live[index] == step["scratch"]:
            section, packed = plan.sections[step["section"]], _packed_key(step, event, state.keys)
            single_event_keys.store_key_state(pool, state.key_map, state.tallies[index], step, section, packed)


@kernel
def _update_tally(pool: Ints, tally: Ints, key: int, ts: int) -> None:
    """Count a row in the tallies, and update the key's newest ts."""
    if key < 0:
        tally[REFUSED] += 1
        return
    tally[SEEN] += 1
    if ts < pool[key + NEWEST]:
        tally[LATE] += 1
    pool[key + NEWEST] = max(pool[key + NEWEST], ts)
