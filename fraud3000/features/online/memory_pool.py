"""Memory pool: one int64 array for all keys of a store, and the hash table that finds a key's record in it.

::

    pool:   header | scratch records | key record | block | block | key record | block | ... | unused
            0        FIRST                                                                    pool[END]

    key record:   code | parent record | newest ts | per section: block address, rows and size class, first label delta

Key records are never freed and lie in the order in which their keys arrived; keys of one event may have none (see
`single_event_keys`). Rows of events and buckets, and label deltas, lie in blocks of 2, 3, 4, 6, 8, 12 slots and so on.
Freed blocks are kept in one free list per size class and reused, whole or cut into smaller ones.
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

# header of the pool: first unused slot, key records in the table, stamp of the current read, keys of one event
END, KEYS, STAMP, SINGLES = range(1, 5)
CLASSES = 64
FREE, USED = 5, 5 + CLASSES  # free list of each size class, slots in use by part
FIRST = USED + 256  # slot after the header
# tallies of a kind of key: stored rows, those of them that arrived late, rows that arrived too late, keys of one event
SEEN, LATE, REFUSED, SINGLE = range(4)
NEWEST = 2  # offset of the newest ts in a key's record

_FIRST_SLOTS = 1 << 16
_FIRST_KEYS = 1 << 12
_LARGEST_STEP = 1 << 23  # slots; memory grows by a quarter, at most 64 MB at once
_SAVED = ("table", "singles", "tallies")
_MIX = 0x7FEB352D
_MIX_2 = 0x6C8E9CF5
_LOW_31 = (1 << 31) - 1


class State(NamedTuple):
    """Arrays that the kernels read and change.

    Attributes
    ----------
    pool
        All key records, blocks and free lists.
    table
        Hash table of key records: the address of each; 0 if free. At most two thirds full.
    singles
        Hash map from packed key to ts, for keys of one event.
    tallies
        Counters per step, see above.
    seen
        Hash sets of the distinct counts of one read.
    keys, live
        Per step of the current transaction: address of the key's record (0: none yet; -1: a part of the key is null),
        and the same, or -1 if the transaction is too late for the key.
    sums, out, undefined
        Accumulators of all windows, the feature values, and the number of NaN values followed by their positions.
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
    """Create the state of an empty store."""
    pool, steps = np.zeros(_FIRST_SLOTS, np.int64), max(len(plan.steps), 1)
    pool[END] = FIRST
    for step in plan.steps[plan.steps["scratch"] > 0]:
        scratch, offset = int(step["scratch"]), int(plan.sections[step["section"]]["offset"])
        pool[scratch + offset] = scratch + int(step["size"])  # its block, of the smallest class
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
    """Make room for more slots and keys; arrays of the old state are no longer valid."""
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
    """True if so many more slots and keys can be allocated."""
    records = pool[END] + slots <= len(pool) and (pool[KEYS] + steps) * 3 <= len(table) * 2
    return bool(records and int_map.has_room(singles, pool[SINGLES], steps))


@kernel
def size_of(class_: int) -> int:
    """Slots of a block by size class: a power of two, or one and a half times that."""
    return (2 + (class_ & 1)) << (class_ >> 1)


@kernel
def allocate(pool: Ints, part: int, class_: int) -> int:
    """Allocate a block: a free one, a piece of a larger free one, or unused memory; returns its address."""
    slots = size_of(class_)
    pool[USED + part] += slots
    for larger in range(class_, CLASSES):
        block = pool[FREE + larger]
        if block and larger != class_ + 1:  # the rest of the next larger one may be too small for a block
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
    """Free a block."""
    pool[USED + part] -= size_of(class_)
    _push_free(pool, class_, block)


@kernel
def _push_free(pool: Ints, class_: int, block: int) -> None:
    pool[block] = pool[FREE + class_]
    pool[FREE + class_] = block


@kernel
def hash_index(table: Ints, head: int, parent: int) -> int:
    """Index in the table at which the search for a key starts."""
    hashed = ((parent & _LOW_31) * _MIX) ^ ((head & _LOW_31) * _MIX_2)
    return int((hashed ^ (hashed >> 31) ^ (head >> CODE_BITS)) & (len(table) - 1))


@kernel
def find_key(pool: Ints, table: Ints, head: int, parent: int) -> int:
    """Index in the table of the key `head` under `parent`, or of the free entry where it belongs."""
    mask, index = len(table) - 1, hash_index(table, head, parent)
    while table[index]:
        record = table[index]
        if pool[record] == head and pool[record + 1] == parent:
            break
        index = (index + 1) & mask
    return index


@kernel
def find_or_create_record(pool: Ints, table: Ints, head: int, size: int, parent: int, ts: int, learn: bool) -> int:
    """Address of a key's record, created if `learn` and it does not exist; 0 if it does not exist."""
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
    """Insert every key of a table into a larger one."""
    for index in range(len(table)):
        record = table[index]
        if record:
            larger[find_key(pool, larger, pool[record], pool[record + 1])] = record


def memory_by_part(state: State, layout: Layout) -> dict[str, int]:
    """Bytes in use by part, and unused bytes."""
    by_part: dict[str, int] = {}
    for part, slots in zip(layout.parts, state.pool[USED:FIRST].tolist(), strict=False):
        by_part[part] = by_part.get(part, 0) + 8 * slots
    tables = {"key table": state.table.nbytes, "keys of one event": state.singles.nbytes}
    return {**by_part, **tables, "unused": state.pool.nbytes - sum(by_part.values())}


def snapshot_arrays(state: State) -> dict[str, Ints]:
    """Arrays that a snapshot stores."""
    return {"pool": state.pool[: state.pool[END]], **{name: getattr(state, name) for name in _SAVED}}


def from_arrays(state: State, saved: Mapping[str, Ints]) -> State:
    """Return the state with the arrays of a snapshot."""
    arrays: dict[str, Any] = {name: saved[name] for name in _SAVED}
    return state._replace(pool=saved["pool"], **arrays)
