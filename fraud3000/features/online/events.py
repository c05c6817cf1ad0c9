"""Windows over events that are each kept for itself: a row is the event's ts, its flags, and the facts windows read.

Where all windows of a section take the same events, it keeps only those, without flags. Windows of one delay hold each
other, and what is gathered over one goes on from the next smaller: each event is taken once for each aggregate.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks
from fraud3000.features.online.accumulators import distinct, gather
from fraud3000.features.online.memory_pool import STAMP
from fraud3000.features.online.plan import COUNT, DISTINCT, FLAGS, LABELS, LAST, PRESUMED, TS, Ints, Row, Table

_LOW_32, _SIGN = (1 << 32) - 1, 1 << 31


@kernel
def read(pool: Ints, section: Row, windows: Table, cells: Table, key: int, t: int, sums: Ints, seen: Ints) -> None:
    """Gather the windows of a transaction at t, those of one delay from the smallest to the largest."""
    block, size = pool[key + section["at"]], section["size"]
    for place in range(section["windows"], section["windows_end"]):
        window = windows[place]
        first = blocks.position(pool, section, key, t - window["far"])
        end = blocks.position(pool, section, key, t - window["near"])
        sums[window["start"]] = first
        for number in range(window["cells"], window["cells_end"]):
            cell, until = cells[number], end
            if cell["width"]:
                until = sums[cell["taken"]]
                for word in range(cell["width"]):
                    sums[cell["out"] + word] = sums[cell["smaller"] + word]
            if first < until:
                _take_in(pool, section, cell, block + first * size, block + until * size, sums, seen)


@kernel
def _take_in(pool: Ints, section: Row, cell: Row, first: int, end: int, sums: Ints, seen: Ints) -> None:
    mask, kind, out, size = cell["mask"], cell["kind"], cell["out"], section["size"]
    flagged, shift = section["flagged"], section["shift"]
    if kind == LAST:
        if sums[out] == 0:
            sums[out] = end - size
        return
    for at in range(first, end, size):
        flags = pool[at + 1] >> shift if flagged else mask
        if flags & mask != mask:
            continue
        if kind == COUNT:
            sums[out] += 1
        elif kind == LABELS:
            sums[out + 1] += flags & PRESUMED
        elif kind == DISTINCT:
            distinct(sums, seen, pool[STAMP], cell, _code(pool[at + cell["source"]]))
        else:
            gather(kind, pool[at + cell["source"]], sums, out)


@kernel
def _code(word: int) -> int:
    """A text's code, above which flags may stand."""
    return ((word & _LOW_32) ^ _SIGN) - _SIGN


@kernel
def insert(pool: Ints, section: Row, fields: Ints, key: int, facts: Ints) -> None:
    """Put an event in its place, behind those of the same ts."""
    if facts[FLAGS] & section["mask"] != section["mask"]:
        return
    row = blocks.open_row(pool, section, key, blocks.position(pool, section, key, facts[TS] + 1))
    at, field = pool[key + section["at"]] + row * section["size"], section["fields"]
    pool[at] = facts[TS]
    if section["flagged"]:
        at += 1
        pool[at] = facts[FLAGS] << section["shift"]
        if section["shift"]:
            pool[at] |= facts[fields[field]] & _LOW_32
            field += 1
    for place in range(field, section["fields_end"]):
        at += 1
        pool[at] = facts[fields[place]]
