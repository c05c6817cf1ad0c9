"""Blocks of rows sorted by time: each key has one block per section; rows of equal ts are in order of arrival.

A key's record holds two slots per section: the block's address, and the number of rows together with the block's size
class. A full block drops the rows that no window will read again, or moves to a larger block.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online.memory_pool import NEWEST, allocate, free, size_of
from fraud3000.features.online.plan import Ints, Row

CLASS_BITS = 6
_CLASS = (1 << CLASS_BITS) - 1


@kernel
def row_count(pool: Ints, section: Row, key: int) -> int:
    """Number of rows of a key."""
    return int(pool[key + section["offset"] + 1] >> CLASS_BITS)


@kernel
def bucket_start(section: Row, ts: int) -> int:
    """Start of the bucket that holds `ts`; `ts` itself if the section has no buckets."""
    return int(ts // section["bucket"] * section["bucket"]) if section["bucket"] else ts


@kernel
def lower_bound(pool: Ints, section: Row, key: int, moment: int) -> int:
    """Number of a key's rows before `moment`, by binary search.

    At most one row per bucket lies between `moment` and the last row, which bounds the search from below; if no bucket
    is empty, the bound is the result.
    """
    block, size, high = pool[key + section["offset"]], section["size"], row_count(pool, section, key)
    last = pool[block + (high - 1) * size] if high else moment - 1
    if last < moment:
        return high
    low = max(high - 1 - (last - moment) // section["bucket"], 0) if section["bucket"] else 0
    if pool[block + low * size] >= moment:
        return int(low)
    while low < high:
        middle = (low + high) // 2
        if pool[block + middle * size] < moment:
            low = middle + 1
        else:
            high = middle
    return int(low)


@kernel
def count_expired(pool: Ints, section: Row, key: int) -> int:
    """Number of a key's rows that no window will read again.

    A section that needs only the last event also drops rows that a later row replaces for every read within the late
    horizon.
    """
    newest = pool[key + NEWEST]
    expired = lower_bound(pool, section, key, bucket_start(section, newest - section["retention"]))
    if section["last_only"]:
        expired = max(expired, lower_bound(pool, section, key, newest - section["horizon"]) - 1)
    return expired


@kernel
def slots_needed(pool: Ints, section: Row, key: int) -> int:
    """Slots that inserting one more row may allocate."""
    return 0 if _has_room(pool, section, key) else size_of(_larger_class(pool, section, key))


@kernel
def insert_row(pool: Ints, section: Row, key: int, row: int) -> int:
    """Insert an empty row before `row` and shift the later rows; returns its number, which is lower if rows were dropped."""
    if not _has_room(pool, section, key):
        row -= _make_room(pool, section, key)
    block, size, header = pool[key + section["offset"]], section["size"], key + section["offset"] + 1
    end = block + row_count(pool, section, key) * size
    for slot in range(end - 1, block + row * size - 1, -1):
        pool[slot + size] = pool[slot]
    pool[header] += 1 << CLASS_BITS
    return row


@kernel
def _has_room(pool: Ints, section: Row, key: int) -> bool:
    header = key + section["offset"]
    return bool(
        pool[header] and (row_count(pool, section, key) + 1) * section["size"] <= size_of(pool[header + 1] & _CLASS)
    )


@kernel
def _larger_class(pool: Ints, section: Row, key: int) -> int:
    """Smallest size class with room for one more row."""
    header, slots = key + section["offset"], (row_count(pool, section, key) + 1) * section["size"]
    class_ = pool[header + 1] & _CLASS
    while size_of(class_) < slots:
        class_ += 1
    return int(class_)


@kernel
def _make_room(pool: Ints, section: Row, key: int) -> int:
    """Drop expired rows if they are at least an eighth, else move to a larger block; returns the number dropped.

    The last expired bucket stays, because the cumulative sums of later buckets start from it.
    """
    size, header = section["size"], key + section["offset"]
    block, rows, class_, dropped = pool[header], row_count(pool, section, key), pool[header + 1] & _CLASS, 0
    if block:
        dropped = count_expired(pool, section, key)
        if section["bucket"]:
            dropped = max(dropped - 1, 0)
    target, new_class = block, class_
    if dropped * 8 < max(rows, 1):
        new_class, dropped = _larger_class(pool, section, key), 0
        target = allocate(pool, section["part"], new_class)
    for slot in range((rows - dropped) * size):
        pool[target + slot] = pool[block + dropped * size + slot]
    if block and target != block:
        free(pool, section["part"], class_, block)
    pool[header], pool[header + 1] = target, (rows - dropped) << CLASS_BITS | new_class
    return dropped
