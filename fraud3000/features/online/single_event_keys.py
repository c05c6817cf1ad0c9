"""Keys of one event: a name and a ts in a table of their own, until there is more to keep.

Most pairs of columns come together once, and nothing may be forgotten of any. A key that no other stands under, and of
whose events only the ts is kept, takes no record while one event at its newest ts is all there is to tell of it. To be
read and added to it is laid out in a record that its step has for that; what comes of it is put back.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, int_map
from fraud3000.features.online.memory_pool import NEWEST, SINGLE, SINGLES, allocate, find_or_create_record
from fraud3000.features.online.plan import CODE_BITS, SINGLE_CODE_BITS, SINGLE_PARENT_BITS, Ints, Row, Table

_CODE = (1 << CODE_BITS) - 1


@kernel
def packed_key(step: Row, parent: int, code: int) -> int:
    """A key in one word, which is not 0; 0 where it does not fit.

    No two records share a word: those behind the first of one stand for the steps that go on from it.
    """
    parent_number = parent + step["sibling"]
    fits = parent_number >> SINGLE_PARENT_BITS == 0 and code >> SINGLE_CODE_BITS == 0
    return int(parent_number << SINGLE_CODE_BITS | code) if fits else 0


@kernel
def load_key_state(pool: Ints, singles: Ints, step: Row, section: Row, head: int, parent: int, ts: int) -> bool:
    """Make the step's own record a key's: with its event, or else as of one that comes for the first time at `ts`.

    Returns whether it has an event.
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
    """Keep what the step's own record says now: as a key of one event, or in a record like any other."""
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
    """Whether a record says nothing but that there is one event, at its newest ts."""
    last = blocks.row_count(pool, section, key) - 1
    if last < 0 or last != blocks.count_expired(pool, section, key):
        return False
    return bool(pool[pool[key + section["offset"]] + last] == pool[key + NEWEST])


@kernel
def mark_single(pool: Ints, sections: Table, section: int, keys: Ints, result: Ints) -> None:
    """The same of many records of a section."""
    for key in range(len(keys)):
        result[key] = is_single(pool, sections[section], keys[key])
