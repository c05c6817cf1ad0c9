"""Windows over events that are each kept for itself: a key's events from the oldest to the newest, one after the other.

An event is a run of words: its ts; a link to the next one with its flags above, or in a word of their own; then
the facts that the section's windows read. A section that is only asked for the last event keeps no more than that one
and those which a late reading might still need.
"""

from __future__ import annotations

from fraud3000.features.kernel import kernel
from fraud3000.features.online.arena import NEWEST, STAMP, give, take
from fraud3000.features.online.plan import (
    COUNT,
    DISTINCT,
    FLAGS,
    LABELS,
    LAST,
    LINK_BITS,
    PRESUMED,
    TS,
    Ints,
    Row,
    Table,
)
from fraud3000.features.online.sums import distinct, gather

_LINK = (1 << LINK_BITS) - 1


@kernel
def read(pool: Ints, section: Row, windows: Table, cells: Table, key: int, t: int, sums: Ints, seen: Ints) -> None:
    """Gather the windows of a transaction at t."""
    first, end, where, shift = section["windows"], section["windows_end"], section["flags"], section["shift"]
    node = pool[key + section["at"]]
    while node and pool[node] < t:
        age, flags = t - pool[node], pool[node + where] >> shift
        for place in range(first, end):
            window = windows[place]
            if window["near"] < age <= window["far"]:
                for cell in range(window["cells"], window["cells_end"]):
                    _take_in(pool, cells[cell], node, flags, sums, seen)
        node = pool[node + 1] & _LINK


@kernel
def _take_in(pool: Ints, cell: Row, node: int, flags: int, sums: Ints, seen: Ints) -> None:
    mask, kind, out = cell["mask"], cell["kind"], cell["out"]
    if flags & mask != mask:
        return
    if kind == COUNT:
        sums[out] += 1
    elif kind == LABELS:
        sums[out + 1] += flags & PRESUMED
    elif kind == LAST:
        sums[out] = node
    elif kind == DISTINCT:
        distinct(sums, seen, pool[STAMP], cell, pool[node + cell["source"]])
    else:
        gather(kind, pool[node + cell["source"]], sums, out)


@kernel
def insert(pool: Ints, section: Row, fields: Ints, key: int, facts: Ints, horizon: int) -> None:
    """Put an event in its place, behind those of the same ts, and give back the ones that no window will see."""
    if facts[FLAGS] & section["last"] == section["last"]:
        node, word = take(pool, section["part"], section["size"]), section["flags"] + 1
        pool[node], pool[node + 1] = facts[TS], 0
        pool[node + section["flags"]] = facts[FLAGS] << section["shift"]
        for place in range(section["fields"], section["fields_end"]):
            pool[node + word] = facts[fields[place]]
            word += 1
        _link_in(pool, key + section["at"], node)
    _forget(pool, section, key, pool[key + NEWEST] - section["keep"])
    if section["last"]:
        _forget_passed(pool, section, key, pool[key + NEWEST] - horizon)


@kernel
def _link_in(pool: Ints, ends: int, node: int) -> None:
    oldest, newest = pool[ends], pool[ends + 1]
    before, after = newest, 0
    if newest and pool[newest] > pool[node]:
        before, after = 0, oldest
        while pool[after] <= pool[node]:
            before, after = after, pool[after + 1] & _LINK
    if before:
        pool[before + 1] += node - after
    else:
        pool[ends] = node
    pool[node + 1] += after
    if after == 0:
        pool[ends + 1] = node


@kernel
def _forget(pool: Ints, section: Row, key: int, bound: int) -> None:
    """Give back the events before a moment."""
    ends = key + section["at"]
    while pool[ends] and pool[pool[ends]] < bound:
        _drop(pool, section, ends)


@kernel
def _forget_passed(pool: Ints, section: Row, key: int, bound: int) -> None:
    """Give back the events after which another one came before a moment."""
    ends = key + section["at"]
    following = pool[pool[ends] + 1] & _LINK if pool[ends] else 0
    while following and pool[following] < bound:
        _drop(pool, section, ends)
        following = pool[following + 1] & _LINK


@kernel
def _drop(pool: Ints, section: Row, ends: int) -> None:
    oldest = pool[ends]
    pool[ends] = pool[oldest + 1] & _LINK
    if pool[ends] == 0:
        pool[ends + 1] = 0
    give(pool, section["part"], section["size"], oldest)
