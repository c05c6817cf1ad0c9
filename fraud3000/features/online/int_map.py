"""A table of pairs of words in one array: names, none of them 0, and what stands beside each.

A name stands where its hash says, or behind, where another one was before it. Hashes keep their order when the table
grows, so that it is moved from front to back. Nine tenths are full at most.
"""

from __future__ import annotations

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import Ints

_FIRST_ENTRIES = 1 << 8
_HALF, _LOW_31 = 31, (1 << 31) - 1
_MIX, _MIX_2, _MIX_3 = 0x7FEB352D, 0x6C8E9CF5, 0x31848BAB


def new_map() -> Ints:
    """A table without names."""
    return np.zeros(2 * _FIRST_ENTRIES, np.int64)


def grow(table: Ints) -> Ints:
    """The same with room for an eighth more."""
    larger = np.zeros(2 * (len(table) // 2 * 9 // 8), np.int64)
    _rehash(table, larger)
    return larger


def items(table: Ints) -> tuple[Ints, Ints]:
    """The names, and what stands beside them."""
    pairs = table.reshape(-1, 2)[table[::2] != 0]
    return pairs[:, 0], pairs[:, 1]


@kernel
def has_room(table: Ints, count: int, more: int) -> bool:
    """Whether so many names can be added to those that are there."""
    return bool((count + more) * 20 <= len(table) * 9)


@kernel
def find(table: Ints, key: int) -> int:
    """Where a name stands, or the free place where it belongs."""
    index = home_index(table, key)
    while table[index] and table[index] != key:
        index = _next_index(table, index)
    return index


@kernel
def remove(table: Ints, index: int) -> None:
    """Take out what stands at a place; what stands behind it for want of room moves up."""
    hole, index = index, _next_index(table, index)
    while table[index]:
        if (index - home_index(table, table[index])) % len(table) >= (index - hole) % len(table):
            table[hole], table[hole + 1] = table[index], table[index + 1]
            hole = index
        index = _next_index(table, index)
    table[hole] = 0


@kernel
def home_index(table: Ints, key: int) -> int:
    """The place from which on a name is looked for."""
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
