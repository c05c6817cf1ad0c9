"""Open-addressing int64 to int64 hash map in one array: linear probing, key 0 reserved, load at most 0.9.

Entries are pairs of slots (key, value). The home index is proportional to the hash, so entries keep their order when
the map grows, and rehashing reads and writes memory from front to back.
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


def grow(table: Ints) -> Ints:
    """Return a copy with an eighth more capacity."""
    larger = np.zeros(2 * (len(table) // 2 * 9 // 8), np.int64)
    _rehash(table, larger)
    return larger


def items(table: Ints) -> tuple[Ints, Ints]:
    """Keys and values, in the order of the array."""
    pairs = table.reshape(-1, 2)[table[::2] != 0]
    return pairs[:, 0], pairs[:, 1]


@kernel
def has_room(table: Ints, count: int, more: int) -> bool:
    """True if `more` keys fit beside the `count` keys of the map."""
    return bool((count + more) * 20 <= len(table) * 9)


@kernel
def find(table: Ints, key: int) -> int:
    """Index of a key, or of the free entry where it belongs."""
    index = home_index(table, key)
    while table[index] and table[index] != key:
        index = _next_index(table, index)
    return index


@kernel
def remove(table: Ints, index: int) -> None:
    """Remove the entry at `index`; later entries of its probe sequence move up (backward-shift deletion)."""
    hole, index = index, _next_index(table, index)
    while table[index]:
        if (index - home_index(table, table[index])) % len(table) >= (index - hole) % len(table):
            table[hole], table[hole + 1] = table[index], table[index + 1]
            hole = index
        index = _next_index(table, index)
    table[hole] = 0


@kernel
def home_index(table: Ints, key: int) -> int:
    """Index at which the search for a key starts."""
    hashed = ((key & _LOW_31) * _MIX) ^ ((key >> _HALF) * _MIX_2)
    hashed = ((hashed ^ (hashed >> _HALF)) & _LOW_31) * _MIX_3
    return int(2 * ((hashed & _LOW_31) * (len(table) // 2) >> _HALF))


@kernel
def _next_index(table: Ints, index: int) -> int:
    return index + 2 if index + 2 < len(table) else 0


@kernel
def _rehash(table: Ints, larger: Ints) -> None:
    for index in range(0, len(table), 2):
        if table[index]:
            target = find(larger, table[index])
            larger[target], larger[target + 1] = table[index], table[index + 1]
