"""Open-addressing int64 to int64 hash map in one array: linear probing, key 0 reserved, load at most 0.9.

The only hash map of the online engine: it finds the state of a key (`memory_pool`) and a transaction by its id
(`recent_transactions`). Entries are pairs of slots (key, value); a free entry is (0, 0), and entries are never removed.
The home index is proportional to the hash, so entries keep their order when the map grows, and rehashing reads and
writes memory from front to back. A map grows by an eighth, so that an entry takes 18 to 20 bytes.

Distinct codes of a window are counted in stamped hash sets instead (`accumulators`), which need not be cleared.
"""

from __future__ import annotations

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import Ints

_FIRST_ENTRIES = 1 << 8
_HALF, _LOW_31 = 31, (1 << 31) - 1
_MIX, _MIX_2, _MIX_3 = 0x7FEB352D, 0x6C8E9CF5, 0x31848BAB


def new_map() -> Ints:
    """Return an empty map."""
    return np.zeros(2 * _FIRST_ENTRIES, np.int64)


def grow(table: Ints, count: int) -> Ints:
    """Return a copy with room for `count` keys, at least an eighth larger."""
    larger = np.zeros(2 * max(len(table) // 2 * 9 // 8, count * 10 // 9 + 1), np.int64)
    _rehash(table, larger)
    return larger


def items(table: Ints) -> tuple[Ints, Ints]:
    """Keys and values, in the order of the array."""
    pairs = table.reshape(-1, 2)[table[::2] != 0]
    return pairs[:, 0], pairs[:, 1]


@kernel
def has_room(table: Ints, count: int) -> bool:
    """True if the map has room for `count` keys in all."""
    return bool(count * 20 <= len(table) * 9)


@kernel
def find(table: Ints, key: int) -> int:
    """Index of a key, or of the free entry where it belongs."""
    index = home_index(table, key)
    while table[index] and table[index] != key:
        index = index + 2 if index + 2 < len(table) else 0
    return index


@kernel
def home_index(table: Ints, key: int) -> int:
    """Index at which the search for a key starts."""
    hashed = ((key & _LOW_31) * _MIX) ^ ((key >> _HALF) * _MIX_2)
    hashed = ((hashed ^ (hashed >> _HALF)) & _LOW_31) * _MIX_3
    return int(2 * ((hashed & _LOW_31) * (len(table) // 2) >> _HALF))


@kernel
def _rehash(table: Ints, larger: Ints) -> None:
    for index in range(0, len(table), 2):
        if table[index]:
            target = find(larger, table[index])
            larger[target], larger[target + 1] = table[index], table[index + 1]
