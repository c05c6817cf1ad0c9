"""Compact storage of keys with one event: a packed key and a ts in a hash map, 16 bytes, instead of a key record.

Most pairs of columns occur once, and none may be forgotten. A key that is no prefix of other keys, and whose events
store only their ts, needs no record while its state is one event at its newest ts. To read or insert, its state is
loaded into the step's scratch record, and stored from there.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, int_map
from fraud3000.features.online.memory_pool import NEWEST, SINGLE, SINGLES, allocate, find_or_create_record
from fraud3000.features.online.plan import CODE_BITS, SINGLE_CODE_BITS, SINGLE_PARENT_BITS, Ints, Row, Table

_CODE = (1 << CODE_BITS) - 1


@kernel
def packed_key(step: Row, parent: int, code: int) -> int:
    """Pack a key into one slot that is not 0; returns 0 if it does not fit.

    Parent address plus sibling number identifies parent and step: a record has more slots than child steps.
    """
    parent_number = parent + step["sibling"]
    fits = parent_number >> SINGLE_PARENT_BITS == 0 and code >> SINGLE_CODE_BITS == 0
    return int(parent_number << SINGLE_CODE_BITS | code) if fits else 0


@kernel
def load_key_state(pool: Ints, singles: Ints, step: Row, section: Row, head: int, parent: int, ts: int) -> bool:
    """Load a key's state into the scratch record of its step; a new key has no event and `ts` as its newest ts.

    Returns True if the key has an event.
    """
    scratch, packed = step["scratch"], packed_key(step, parent, head & _CODE)
    index = int_map.find(singles, packed)
    known = singles[index] == packed
    newest = singles[index + 1] if known else ts
    pool[scratch], pool[scratch + 1], pool[scratch + NEWEST] = head, parent, newest
    pool[pool[scratch + section["offset"]]] = newest
    pool[scratch + section["offset"] + 1] = int(known) << blocks.CLASS_BITS
    return bool(known)


@kernel
def store_key_state(pool: Ints, table: Ints, singles: Ints, tally: Ints, step: Row, section: Row) -> None:
    """Store the state of the scratch record: in the compact map if it is one event, else in a key record."""
    scratch, offset = step["scratch"], section["offset"]
    packed = packed_key(step, pool[scratch + 1], pool[scratch] & _CODE)
    index = int_map.find(singles, packed)
    known = singles[index] == packed
    if is_single(pool, section, scratch):
        singles[index], singles[index + 1] = packed, pool[scratch + NEWEST]
        _count(pool, tally, 0 if known else 1)
        return
    if known:
        int_map.remove(singles, index)
        _count(pool, tally, -1)
    key = find_or_create_record(
        pool, table, pool[scratch], step["size"], pool[scratch + 1], pool[scratch + NEWEST], True
    )
    target, block = allocate(pool, section["part"], 0), pool[scratch + offset]
    for slot in range(blocks.row_count(pool, section, scratch)):
        pool[target + slot] = pool[block + slot]
    pool[key + offset], pool[key + offset + 1] = target, pool[scratch + offset + 1]


@kernel
def _count(pool: Ints, tally: Ints, change: int) -> None:
    pool[SINGLES] += change
    tally[SINGLE] += change


@kernel
def is_single(pool: Ints, section: Row, key: int) -> bool:
    """True if a record holds only one unexpired event, at its newest ts."""
    last = blocks.row_count(pool, section, key) - 1
    if last < 0 or last != blocks.count_expired(pool, section, key):
        return False
    return bool(pool[pool[key + section["offset"]] + last] == pool[key + NEWEST])


@kernel
def mark_single(pool: Ints, sections: Table, section: int, keys: Ints, result: Ints) -> None:
    """Write to `result` which records of a section are single."""
    for key in range(len(keys)):
        result[key] = is_single(pool, sections[section], keys[key])
