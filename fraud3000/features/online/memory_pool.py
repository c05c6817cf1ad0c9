"""Memory pool: one int64 array for the state of all keys, and the hash map that finds it.

::

    pool:   header | scratch records | key record | block | block | key record | block | ... | unused
            0        FIRST                                                                    pool[END]

    key record:   newest ts | per section: block address, rows and size class, first label delta

The map leads from a packed key to the address of its record, times two; keys of one event may have none (see
`single_event_keys`). Key records are never freed and lie in the order in which they were created. Rows of events and
buckets, and label deltas, lie in blocks of 2, 3, 4, 6, 8, 12 slots and so on. Freed blocks are kept in one free list
per size class and reused, whole or cut into smaller ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fraud3000.features.jit import kernel
from fraud3000.features.online import hash_map
from fraud3000.features.online.plan import KEYS_PART, PACKED_CODE_BITS, PARENT_BITS, Ints, Layout, Plan, Row

Floats = npt.NDArray[np.float64]

# header of the pool: first unused slot, keys in the map, stamp of the current read
END, KEYS, STAMP = range(1, 4)
CLASSES = 64
FREE, USED = 4, 4 + CLASSES  # free list of each size class, slots in use by part
FIRST = USED + 256  # slot after the header
# tallies of a kind of key: stored rows, those of them that arrived late, rows that arrived too late, keys
SEEN, LATE, REFUSED, KEY_COUNT = range(4)
NEWEST = 0  # offset of the newest ts in a key's record

_FIRST_SLOTS = 1 << 16
_LARGEST_STEP = 1 << 23  # slots; memory grows by a quarter, at most 64 MB at once
_SAVED = ("key_map", "tallies")


class State(NamedTuple):
    """Arrays that the kernels read and change.

    Attributes
    ----------
    pool
        All key records, blocks and free lists.
    key_map
        Hash map from packed key to the address of its record, times two; or, for a key of one event, its ts, times two
        plus one.
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
    key_map: Ints
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
        key_map=hash_map.new_map(),
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
    if needed > 1 << PARENT_BITS:
        raise MemoryError(f"the online engine supports {1 << PARENT_BITS} slots of memory for its keys")
    if needed > len(pool):
        increment = min(len(pool) // 4, _LARGEST_STEP)
        pool.resize(
            max(len(pool) + increment, needed + increment // 2), refcheck=False
        )  # in place where the system can
    keys = int(pool[KEYS]) + steps
    if not hash_map.has_room(state.key_map, keys):
        state = state._replace(key_map=hash_map.grow(state.key_map, keys))
    return state


@kernel
def has_room(pool: Ints, key_map: Ints, slots: int, steps: int) -> bool:
    """True if so many more slots and keys can be allocated."""
    return bool(pool[END] + slots <= len(pool) and hash_map.has_room(key_map, pool[KEYS] + steps))


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
def pack_key(step: Row, parent: int, code: int) -> int:
    """Pack a key into one slot that is not 0.

    Parent address plus sibling number identifies parent and step: a record has more slots than child steps.
    """
    return int((parent + step["sibling"]) << PACKED_CODE_BITS | code)


@kernel
def create_record(pool: Ints, size: int, newest: int) -> int:
    """Create a key's record without events; returns its address."""
    record = pool[END]
    pool[END] += size
    pool[USED + KEYS_PART] += size
    for slot in range(record, record + size):
        pool[slot] = 0
    pool[record + NEWEST] = newest
    return int(record)


@kernel
def store_value(pool: Ints, key_map: Ints, tally: Ints, packed: int, value: int) -> None:
    """Store the value of a key in the map, and count the key if it is new."""
    entry = hash_map.find(key_map, packed)
    if key_map[entry] == 0:
        pool[KEYS] += 1
        tally[KEY_COUNT] += 1
    key_map[entry], key_map[entry + 1] = packed, value


def memory_by_part(state: State, layout: Layout) -> dict[str, int]:
    """Bytes in use by part, and unused bytes."""
    by_part: dict[str, int] = {}
    for part, slots in zip(layout.parts, state.pool[USED:FIRST].tolist(), strict=False):
        by_part[part] = by_part.get(part, 0) + 8 * slots
    return {**by_part, "key map": state.key_map.nbytes, "unused": state.pool.nbytes - sum(by_part.values())}


def snapshot_arrays(state: State) -> dict[str, Ints]:
    """Arrays that a snapshot stores."""
    return {"pool": state.pool[: state.pool[END]], **{name: getattr(state, name) for name in _SAVED}}


def from_arrays(state: State, saved: Mapping[str, Ints]) -> State:
    """Return the state with the arrays of a snapshot."""
    arrays: dict[str, Any] = {name: saved[name] for name in _SAVED}
    return state._replace(pool=saved["pool"], **arrays)
