"""One array of words for all that the store keeps, and the table that finds a key's record in it.

Records of keys are runs of words that are never given back and lie in the order their keys came in; keys of one event
may do without (see singles). Rows and label
changes lie in blocks of 2, 3, 4, 6, 8, 12 words and so on: what is given back is taken again, whole or in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fraud3000.features.jit import kernel
from fraud3000.features.online import int_map
from fraud3000.features.online.plan import CODE_BITS, KEYS_PART, RECORD, Ints, Layout, Plan

Floats = npt.NDArray[np.float64]

# first words of the pool: where it was never used, records in the table, the reading, keys of one event
END, KEYS, STAMP, SINGLES = range(1, 5)
CLASSES = 64
FREE, USED = 5, 5 + CLASSES  # blocks given back by class, words in use by part
FIRST = USED + 256  # of the rest
# tallies of a key kind: rows it kept, those of them that came late, rows too late for it; its keys of one event
SEEN, LATE, REFUSED, SINGLE = range(4)
NEWEST = 2  # where a key's record keeps its newest ts

_FIRST_WORDS = 1 << 16
_FIRST_KEYS = 1 << 12
_LARGEST_STEP = 1 << 23  # words; memory grows by a quarter, but by no more than 64 MB at once
_KEPT = ("table", "singles", "tallies")
_MIX = 0x7FEB352D
_MIX_2 = 0x6C8E9CF5
_LOW_31 = (1 << 31) - 1


class State(NamedTuple):
    """What the kernels read and change.

    Attributes
    ----------
    pool
        The words.
    table
        Where each key's record begins; 0 where free. Never more than two thirds full.
    singles
        Keys of one event: their names and when it was.
    tallies
        Counters of each step, see above.
    seen
        Room for the values of distinct counts.
    keys, live
        Of the current transaction, by step: its record (0: none yet; -1: a part of the key is missing), and the
        same or -1 where it comes too late.
    sums, out, undefined
        What was gathered, what was made of it, and how many places in that are NaN, then which ones.
    """

    pool: Ints
    table: Ints
    singles: Ints
    tallies: Ints
    seen: Ints
    keys: Ints
    live: Ints
    sums: Ints
    out: Floats
    undefined: Ints


def empty_state(plan: Plan, layout: Layout) -> State:
    """Memory of a store that has seen nothing."""
    pool, steps = np.zeros(_FIRST_WORDS, np.int64), max(len(plan.steps), 1)
    pool[END] = FIRST
    for step in plan.steps[plan.steps["own"] > 0]:
        own, at = int(step["own"]), int(plan.sections[step["section"]]["at"])
        pool[own + at] = own + int(step["size"])  # its block, of the first class
        pool[END] = own + int(step["size"]) + size_of(0)
    return State(
        pool=pool,
        table=np.zeros(_FIRST_KEYS, np.int64),
        singles=int_map.empty(),
        tallies=np.zeros((steps, 4), np.int64),
        seen=np.zeros(max(layout.seen, 1), np.int64),
        keys=np.zeros(steps, np.int64),
        live=np.zeros(steps, np.int64),
        sums=plan.empty.copy(),
        out=np.empty(len(plan.operations)),
        undefined=np.zeros(len(plan.operations) + 1, np.int64),
    )


def grown(state: State, words: int, steps: int) -> State:
    """The state with room for so many words and keys more; what was made of the old one is no longer valid."""
    pool, needed = state.pool, int(state.pool[END]) + words
    if needed > len(pool):
        step = min(len(pool) // 4, _LARGEST_STEP)
        pool.resize(max(len(pool) + step, needed + step // 2), refcheck=False)  # in place where the system can
    if (int(pool[KEYS]) + steps) * 3 > len(state.table) * 2:
        table = np.zeros(2 * len(state.table), np.int64)
        move(pool, state.table, table)
        state = state._replace(table=table)
    while not int_map.has_room(state.singles, pool[SINGLES], steps):
        state = state._replace(singles=int_map.grown(state.singles))
    return state


@kernel
def has_room(pool: Ints, table: Ints, singles: Ints, words: int, steps: int) -> bool:
    """Whether so many words and keys more can be taken."""
    records = pool[END] + words <= len(pool) and (pool[KEYS] + steps) * 3 <= len(table) * 2
    return bool(records and int_map.has_room(singles, pool[SINGLES], steps))


@kernel
def size_of(class_: int) -> int:
    """The words of a block: a power of two, or one and a half times that."""
    return (2 + (class_ & 1)) << (class_ >> 1)


@kernel
def take(pool: Ints, part: int, class_: int) -> int:
    """A block: one given back, a piece of a larger one, or where none was before."""
    words = size_of(class_)
    pool[USED + part] += words
    for larger in range(class_, CLASSES):
        at = pool[FREE + larger]
        if at and larger != class_ + 1:  # what is left of the next larger one may be no block
            pool[FREE + larger] = pool[at]
            _cut_up(pool, at + words, size_of(larger) - words)
            return int(at)
    at = pool[END]
    pool[END] += words
    return int(at)


@kernel
def _cut_up(pool: Ints, at: int, words: int) -> None:
    class_ = CLASSES - 1
    while words:
        while size_of(class_) > words or words - size_of(class_) == 1:
            class_ -= 1
        _lay_by(pool, class_, at)
        at, words = at + size_of(class_), words - size_of(class_)


@kernel
def give(pool: Ints, part: int, class_: int, at: int) -> None:
    """Give a block back."""
    pool[USED + part] -= size_of(class_)
    _lay_by(pool, class_, at)


@kernel
def _lay_by(pool: Ints, class_: int, at: int) -> None:
    pool[at] = pool[FREE + class_]
    pool[FREE + class_] = at


@kernel
def slot(table: Ints, head: int, parent: int) -> int:
    """The place in the table from which on a key is looked for."""
    mixed = ((parent & _LOW_31) * _MIX) ^ ((head & _LOW_31) * _MIX_2)
    return int((mixed ^ (mixed >> 31) ^ (head >> CODE_BITS)) & (len(table) - 1))


@kernel
def find(pool: Ints, table: Ints, head: int, parent: int) -> int:
    """The place in the table of the key `head` under `parent`: its own, or the free one where it belongs."""
    mask, place = len(table) - 1, slot(table, head, parent)
    while table[place]:
        at = table[place]
        if pool[at] == head and pool[at + 1] == parent:
            break
        place = (place + 1) & mask
    return place


@kernel
def record(pool: Ints, table: Ints, head: int, size: int, parent: int, ts: int, learn: bool) -> int:
    """A key's record, made where there is none yet and the key is to be learned; 0 where there is none."""
    place = find(pool, table, head, parent)
    at = table[place]
    if at == 0 and learn:
        at = pool[END]
        pool[END] += size
        pool[USED + KEYS_PART] += size
        pool[at], pool[at + 1] = head, parent
        for word in range(at + 2, at + size):
            pool[word] = 0
        if size >= RECORD:
            pool[at + NEWEST] = ts
        table[place] = at
        pool[KEYS] += 1
    return int(at)


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
    for part, words in zip(layout.parts, state.pool[USED:FIRST].tolist(), strict=False):
        found[part] = found.get(part, 0) + 8 * words
    tables = {"key table": state.table.nbytes, "keys of one event": state.singles.nbytes}
    return {**found, **tables, "unused": state.pool.nbytes - sum(found.values())}


def arrays(state: State) -> dict[str, Ints]:
    """What a snapshot keeps."""
    return {"pool": state.pool[: state.pool[END]], **{name: getattr(state, name) for name in _KEPT}}


def with_arrays(state: State, kept: Mapping[str, Ints]) -> State:
    """The state of a snapshot."""
    words: dict[str, Any] = {name: kept[name] for name in _KEPT}
    return state._replace(pool=kept["pool"], **words)
