"""Keys of one event: a name and a ts in a table of their own, until there is more to keep.

Most pairs of columns come together once, and nothing may be forgotten of any. A key that no other stands under, and of
whose events only the ts is kept, takes no record while one event at its newest ts is all there is to tell of it. To be
read and added to it is laid out in a record that its step has for that; what comes of it is put back.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, int_map
from fraud3000.features.online.memory_pool import NEWEST, SINGLE, SINGLES, record, take
from fraud3000.features.online.plan import CODE_BITS, SINGLE_CODE_BITS, SINGLE_PARENT_BITS, Ints, Row, Table

_CODE = (1 << CODE_BITS) - 1


@kernel
def name_of(step: Row, parent: int, code: int) -> int:
    """A key in one word, which is not 0; 0 where it does not fit.

    No two records share a word: those behind the first of one stand for the steps that go on from it.
    """
    under = parent + step["number"]
    fits = under >> SINGLE_PARENT_BITS == 0 and code >> SINGLE_CODE_BITS == 0
    return int(under << SINGLE_CODE_BITS | code) if fits else 0


@kernel
def lay_out(pool: Ints, singles: Ints, step: Row, section: Row, head: int, parent: int, ts: int) -> bool:
    """Make the step's own record a key's: with its event, or else as of one that comes for the first time at `ts`.

    Returns whether it has an event.
    """
    own, name = step["own"], name_of(step, parent, head & _CODE)
    place = int_map.find(singles, name)
    known = singles[place] == name
    newest = singles[place + 1] if known else ts
    pool[own], pool[own + 1], pool[own + NEWEST] = head, parent, newest
    pool[pool[own + section["at"]]] = newest
    pool[own + section["at"] + 1] = int(known) << blocks.CLASS_BITS
    return bool(known)


@kernel
def put_back(pool: Ints, table: Ints, singles: Ints, tally: Ints, step: Row, section: Row) -> None:
    """Keep what the step's own record says now: as a key of one event, or in a record like any other."""
    own, at = step["own"], section["at"]
    name = name_of(step, pool[own + 1], pool[own] & _CODE)
    place = int_map.find(singles, name)
    known = singles[place] == name
    if is_single(pool, section, own):
        singles[place], singles[place + 1] = name, pool[own + NEWEST]
        _count(pool, tally, 0 if known else 1)
        return
    if known:
        int_map.remove(singles, place)
        _count(pool, tally, -1)
    key = record(pool, table, pool[own], step["size"], pool[own + 1], pool[own + NEWEST], True)
    to, block = take(pool, section["part"], 0), pool[own + at]
    for row in range(blocks.count(pool, section, own)):
        pool[to + row] = pool[block + row]
    pool[key + at], pool[key + at + 1] = to, pool[own + at + 1]


@kernel
def _count(pool: Ints, tally: Ints, more: int) -> None:
    pool[SINGLES] += more
    tally[SINGLE] += more


@kernel
def is_single(pool: Ints, section: Row, key: int) -> bool:
    """Whether a record says nothing but that there is one event, at its newest ts."""
    last = blocks.count(pool, section, key) - 1
    if last < 0 or last != blocks.unseen(pool, section, key):
        return False
    return bool(pool[pool[key + section["at"]] + last] == pool[key + NEWEST])


@kernel
def are_single(pool: Ints, sections: Table, place: int, keys: Ints, told: Ints) -> None:
    """The same of many records of a section."""
    for key in range(len(keys)):
        told[key] = is_single(pool, sections[place], keys[key])
