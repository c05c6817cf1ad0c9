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
from fraud3000.features.online.plan import CODE_BITS, KEYS_PART, RECORD_SLOTS, Ints, Layout, Plan

Floats = npt.NDArray[np.float64]

# first words of the pool: where it was never used, records in the table, the reading, keys of one event
END, KEYS, STAMP, SINGLES = range(1, 5)
CLASSES = 64
FREE, USED = 5, 5 + CLASSES  # blocks given back by class, words in use by part
FIRST = USED + 256  # of the rest
# tallies of a key kind: rows it kept, those of them that came late, rows too late for it; its keys of one event
SEEN, LATE, REFUSED, SINGLE = range(4)
NEWEST = 2  # where a key's record keeps its newest ts

_FIRST_SLOTS = 1 << 16
_FIRST_KEYS = 1 << 12
_LARGEST_STEP = 1 << 23  # words; memory grows by a quarter, but by no more than 64 MB at once
_SAVED = ("table", "singles", "tallies")
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
    pool, steps = np.zeros(_FIRST_SLOTS, np.int64), max(len(plan.steps), 1)
    pool[END] = FIRST
    for step in plan.steps[plan.steps["scratch"] > 0]:
        scratch, offset = int(step["scratch"]), int(plan.sections[step["section"]]["offset"])
        pool[scratch + offset] = scratch + int(step["size"])  # its block, of the first class
        pool[END] = scratch + int(step["size"]) + size_of(0)
    return State(
        pool=pool,
        table=np.zeros(_FIRST_KEYS, np.int64),
        singles=int_map.new_map(),
        tallies=np.zeros((steps, 4), np.int64),
        seen=np.zeros(max(layout.seen, 1), np.int64),
        keys=np.zeros(steps, np.int64),
        live=np.zeros(steps, np.int64),
        sums=plan.empty.copy(),
        out=np.empty(len(plan.operations)),
        undefined=np.zeros(len(plan.operations) + 1, np.int64),
    )


def grow(state: State, slots: int, steps: int) -> State:
    """The state with room for so many words and keys more; what was made of the old one is no longer valid."""
    pool, needed = state.pool, int(state.pool[END]) + slots
    if needed > len(pool):
        increment = min(len(pool) // 4, _LARGEST_STEP)
        pool.resize(
            max(len(pool) + increment, needed + increment // 2), refcheck=False
        )  # in place where the system can
    if (int(pool[KEYS]) + steps) * 3 > len(state.table) * 2:
        table = np.zeros(2 * len(state.table), np.int64)
        rehash(pool, state.table, table)
        state = state._replace(table=table)
    while not int_map.has_room(state.singles, pool[SINGLES], steps):
        state = state._replace(singles=int_map.grow(state.singles))
    return state


@kernel
def has_room(pool: Ints, table: Ints, singles: Ints, slots: int, steps: int) -> bool:
    """Whether so many words and keys more can be taken."""
    records = pool[END] + slots <= len(pool) and (pool[KEYS] + steps) * 3 <= len(table) * 2
    return bool(records and int_map.has_room(singles, pool[SINGLES], steps))


@kernel
def size_of(class_: int) -> int:
    """The words of a block: a power of two, or one and a half times that."""
    return (2 + (class_ & 1)) << (class_ >> 1)


@kernel
def allocate(pool: Ints, part: int, class_: int) -> int:
    """A block: one given back, a piece of a larger one, or where none was before."""
    slots = size_of(class_)
    pool[USED + part] += slots
    for larger in range(class_, CLASSES):
        block = pool[FREE + larger]
        if block and larger != class_ + 1:  # what is left of the next larger one may be no block
            pool[FREE + larger] = pool[block]
            _free_pieces(pool, block + slots, size_of(larger) - slots)
            return int(block)
    block = pool[END]
    pool[END] += slots
    return int(block)


@kernel
def _free_pieces(pool: Ints, block: int, slots: int) -> None:
    class_ = CLASSES - 1
    while slots:
        while size_of(class_) > slots or slots - size_of(class_) == 1:
            class_ -= 1
        _push_free(pool, class_, block)
        block, slots = block + size_of(class_), slots - size_of(class_)


@kernel
def free(pool: Ints, part: int, class_: int, block: int) -> None:
    """Give a block back."""
    pool[USED + part] -= size_of(class_)
    _push_free(pool, class_, block)


@kernel
def _push_free(pool: Ints, class_: int, block: int) -> None:
    pool[block] = pool[FREE + class_]
    pool[FREE + class_] = block


@kernel
def hash_index(table: Ints, head: int, parent: int) -> int:
    """The place in the table from which on a key is looked for."""
    hashed = ((parent & _LOW_31) * _MIX) ^ ((head & _LOW_31) * _MIX_2)
    return int((hashed ^ (hashed >> 31) ^ (head >> CODE_BITS)) & (len(table) - 1))


@kernel
def find_key(pool: Ints, table: Ints, head: int, parent: int) -> int:
    """The place in the table of the key `head` under `parent`: its own, or the free one where it belongs."""
    mask, index = len(table) - 1, hash_index(table, head, parent)
    while table[index]:
        record = table[index]
        if pool[record] == head and pool[record + 1] == parent:
            break
        index = (index + 1) & mask
    return index


@kernel
def find_or_create_record(pool: Ints, table: Ints, head: int, size: int, parent: int, ts: int, learn: bool) -> int:
    """A key's record, made where there is none yet and the key is to be learned; 0 where there is none."""
    index = find_key(pool, table, head, parent)
    record = table[index]
    if record == 0 and learn:
        record = pool[END]
        pool[END] += size
        pool[USED + KEYS_PART] += size
        pool[record], pool[record + 1] = head, parent
        for slot in range(record + 2, record + size):
            pool[slot] = 0
        if size >= RECORD_SLOTS:
            pool[record + NEWEST] = ts
        table[index] = record
        pool[KEYS] += 1
    return int(record)


@kernel
def rehash(pool: Ints, table: Ints, larger: Ints) -> None:
    """Enter every key of a table in a larger one."""
    for index in range(len(table)):
        record = table[index]
        if record:
            larger[find_key(pool, larger, pool[record], pool[record + 1])] = record


def memory_by_part(state: State, layout: Layout) -> dict[str, int]:
    """Bytes in use by part, and those that wait to be used again or for the first time."""
    by_part: dict[str, int] = {}
    for part, slots in zip(layout.parts, state.pool[USED:FIRST].tolist(), strict=False):
        by_part[part] = by_part.get(part, 0) + 8 * slots
    tables = {"key table": state.table.nbytes, "keys of one event": state.singles.nbytes}
    return {**by_part, **tables, "unused": state.pool.nbytes - sum(by_part.values())}


def snapshot_arrays(state: State) -> dict[str, Ints]:
    """What a snapshot keeps."""
    return {"pool": state.pool[: state.pool[END]], **{name: getattr(state, name) for name in _SAVED}}


def from_arrays(state: State, saved: Mapping[str, Ints]) -> State:
    """The state of a snapshot."""
    arrays: dict[str, Any] = {name: saved[name] for name in _SAVED}
    return state._replace(pool=saved["pool"], **arrays)
