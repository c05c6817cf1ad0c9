"""A table of pairs of words in one array: names, none of them 0, and what stands beside each.

A name stands where its hash says, or behind, where another one was before it. Hashes keep their order when the table
grows, so that it is moved from front to back. Nine tenths are full at most.
"""

from __future__ import annotations

import numpy as np

from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import Ints

_FIRST_PLACES = 1 << 8
_HALF, _LOW_31 = 31, (1 << 31) - 1
_MIX, _MIX_2, _MIX_3 = 0x7FEB352D, 0x6C8E9CF5, 0x31848BAB


def empty() -> Ints:
    """A table without names."""
    return np.zeros(2 * _FIRST_PLACES, np.int64)


def grown(table: Ints) -> Ints:
    """The same with room for an eighth more."""
    larger = np.zeros(2 * (len(table) // 2 * 9 // 8), np.int64)
    _move(table, larger)
    return larger


def content(table: Ints) -> tuple[Ints, Ints]:
    """The names, and what stands beside them."""
    pairs = table.reshape(-1, 2)[table[::2] != 0]
    return pairs[:, 0], pairs[:, 1]


@kernel
def has_room(table: Ints, count: int, more: int) -> bool:
    """Whether so many names can be added to those that are there."""
    return bool((count + more) * 20 <= len(table) * 9)


@kernel
def find(table: Ints, name: int) -> int:
    """Where a name stands, or the free place where it belongs."""
    at = home(table, name)
    while table[at] and table[at] != name:
        at = _after(table, at)
    return at


@kernel
def remove(table: Ints, at: int) -> None:
    """Take out what stands at a place; what stands behind it for want of room moves up."""
    hole, at = at, _after(table, at)
    while table[at]:
        if (at - home(table, table[at])) % len(table) >= (at - hole) % len(table):
            table[hole], table[hole + 1] = table[at], table[at + 1]
            hole = at
        at = _after(table, at)
    table[hole] = 0


@kernel
def home(table: Ints, name: int) -> int:
    """The place from which on a name is looked for."""
    mixed = ((name & _LOW_31) * _MIX) ^ ((name >> _HALF) * _MIX_2)
    mixed = ((mixed ^ (mixed >> _HALF)) & _LOW_31) * _MIX_3
    return int(2 * ((mixed & _LOW_31) * (len(table) // 2) >> _HALF))


@kernel
def _after(table: Ints, at: int) -> int:
    return at + 2 if at + 2 < len(table) else 0


@kernel
def _move(table: Ints, larger: Ints) -> None:
    for at in range(0, len(table), 2):
        if table[at]:
            to = find(larger, table[at])
            larger[to], larger[to + 1] = table[at], table[at + 1]
