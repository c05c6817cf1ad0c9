"""One array of words for all that the store keeps, and the table that finds a key's record in it.

Records, events, blocks of buckets and label changes are runs of words. What is given back is kept in lists by class,
each of one size, and used again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fraud3000.features.kernel import kernel
from fraud3000.features.online.plan import KEYS_CLASS, RECORD, Ints, Layout, Plan

Floats = npt.NDArray[np.float64]

END, KEYS, STAMP = 0, 1, 2  # marks: the first word never used, records in the table, the current reading
SEEN, LATE, REFUSED = 0, 1, 2  # tallies of a key kind: rows it kept, those of them that came late, rows too late for it
NEWEST = 2  # where a key's record keeps its newest ts

_FIRST_WORDS = 1 << 16
_FIRST_KEYS = 1 << 12
_LARGEST_STEP = 1 << 25  # words; memory grows by a quarter, but by no more than 256 MB at once
_CODE_BITS = 32
_MIX = 0x7FEB352D
_MIX_2 = 0x6C8E9CF5
_LOW_31 = (1 << 31) - 1


class State(NamedTuple):
    """What the kernels read and change.

    Attributes
    ----------
    pool, floats
        The words, and the same memory as numbers with a point.
    table
        Where each key's record begins; 0 where free. Never more than two thirds full.
    free
        The first of the runs given back, by class; each holds where the next one is.
    used
        Words in use, by class.
    marks, tallies
        Counters, see above.
    seen
        Room for the values of distinct counts.
    keys, live
        Of the current transaction, by step: its record (0: none yet; -1: a part of the key is missing), and the
        same or -1 where it comes too late.
    sums, out
        What was gathered, and what was made of it.
    """

    pool: Ints
    floats: Floats
    table: Ints
    free: Ints
    used: Ints
    marks: Ints
    tallies: Ints
    seen: Ints
    keys: Ints
    live: Ints
    sums: Ints
    out: Floats


def empty_state(plan: Plan, layout: Layout) -> State:
    """Memory of a store that has seen nothing."""
    zeros = lambda *shape: np.zeros(shape, np.int64)  # noqa: E731
    pool, steps = zeros(_FIRST_WORDS), max(len(plan.steps), 1)
    marks = zeros(3)
    marks[END] = 1  # 0 stands for nothing
    return State(
        pool=pool,
        floats=pool.view(np.float64),
        table=zeros(_FIRST_KEYS),
        free=zeros(len(layout.parts)),
        used=zeros(len(layout.parts)),
        marks=marks,
        tallies=zeros(steps, 3),
        seen=zeros(max(layout.seen, 1)),
        keys=zeros(steps),
        live=zeros(steps),
        sums=plan.empty.copy(),
        out=np.empty(len(plan.operations)),
    )


def grown(state: State, words: int, steps: int) -> State:
    """The state with room for so many words and keys more; what was made of the old one is no longer valid."""
    needed = int(state.marks[END]) + words
    if needed > len(state.pool):
        state = _with_words(state, needed)
    if (int(state.marks[KEYS]) + steps) * 3 > len(state.table) * 2:
        table = np.zeros(2 * len(state.table), np.int64)
        move(state.pool, state.table, table)
        state = state._replace(table=table)
    return state


def _with_words(state: State, needed: int) -> State:
    pool = state.pool
    step = min(len(pool) // 4, _LARGEST_STEP)
    state = state._replace(floats=np.empty(0))
    pool.resize(max(len(pool) + step, needed + step // 2), refcheck=False)  # in place where the system can
    return state._replace(floats=pool.view(np.float64))


@kernel
def has_room(state: State, words: int, steps: int) -> bool:
    """Whether so many words and keys more can be taken."""
    return state.marks[END] + words <= len(state.pool) and (state.marks[KEYS] + steps) * 3 <= len(state.table) * 2


@kernel
def take(state: State, block: int, size: int) -> int:
    """A run of words of a class."""
    state.used[block] += size
    at = state.free[block]
    if at:
        state.free[block] = state.pool[at]
        return at
    at = state.marks[END]
    state.marks[END] += size
    return at


@kernel
def give(state: State, block: int, size: int, at: int) -> None:
    """Give a run of words back."""
    state.used[block] -= size
    state.pool[at] = state.free[block]
    state.free[block] = at


@kernel
def find(pool: Ints, table: Ints, head: int, parent: int) -> int:
    """The place in the table of the key `head` under `parent`: its own, or the free one where it belongs."""
    mask = len(table) - 1
    mixed = ((parent & _LOW_31) * _MIX) ^ ((head & _LOW_31) * _MIX_2)
    place = (mixed ^ (mixed >> 31) ^ (head >> _CODE_BITS)) & mask
    while table[place]:
        at = table[place]
        if pool[at] == head and pool[at + 1] == parent:
            break
        place = (place + 1) & mask
    return place


@kernel
def record(state: State, step: int, size: int, code: int, parent: int, ts: int, learn: bool) -> int:
    """A key's record, made where there is none yet and the key is to be learned; 0 where there is none."""
    head = (step << _CODE_BITS) | code
    place = find(state.pool, state.table, head, parent)
    at = state.table[place]
    if at == 0 and learn:
        at = take(state, KEYS_CLASS, size)
        state.pool[at], state.pool[at + 1] = head, parent
        for word in range(at + 2, at + size):
            state.pool[word] = 0
        if size >= RECORD:
            state.pool[at + NEWEST] = ts
        state.table[place] = at
        state.marks[KEYS] += 1
    return at


@kernel
def move(pool: Ints, table: Ints, larger: Ints) -> None:
    """Enter every key of a table in a larger one."""
    for place in range(len(table)):
        at = table[place]
        if at:
            larger[find(pool, larger, pool[at], pool[at + 1])] = at


def memory(state: State, layout: Layout) -> dict[str, int]:
    """Bytes in use by part, and those that wait to be used again or for the first time."""
    found: dict[str, int] = {}
    for part, words in zip(layout.parts, state.used.tolist(), strict=True):
        found[part] = found.get(part, 0) + 8 * words
    return {**found, "key table": state.table.nbytes, "unused": state.pool.nbytes - sum(found.values())}


def arrays(state: State) -> dict[str, Ints]:
    """What a snapshot keeps."""
    kept = {name: getattr(state, name) for name in ("table", "free", "used", "marks", "tallies")}
    return {"pool": state.pool[: state.marks[END]], **kept}


def with_arrays(state: State, kept: dict[str, Ints]) -> State:
    """The state of a snapshot."""
    pool = kept["pool"]
    return state._replace(
        pool=pool,
        floats=pool.view(np.float64),
        **{name: kept[name] for name in ("table", "free", "used", "marks", "tallies")},
    )
