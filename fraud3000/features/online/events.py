"""Windows over events that are each kept for itself: a row is the event's ts, its flags, and the facts windows read.

Windows of one delay hold each other, and what is gathered over one goes on from the next smaller: each event is
taken once for each aggregate. A section that is only asked for the last event keeps no others than windows ask for.
"""

from __future__ import annotations

from fraud3000.features.kernel import kernel
from fraud3000.features.online import blocks
from fraud3000.features.online.arena import STAMP
from fraud3000.features.online.plan import COUNT, DISTINCT, FLAGS, LABELS, LAST, PRESUMED, TS, Ints, Row, Table
from fraud3000.features.online.sums import distinct, gather


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
                _take_in(pool, cell, block + first * size, block + until * size, size, sums, seen)


@kernel
def _take_in(pool: Ints, cell: Row, first: int, end: int, size: int, sums: Ints, seen: Ints) -> None:
    mask, kind, out = cell["mask"], cell["kind"], cell["out"]
    if kind == LAST:
        if sums[out] == 0:
            sums[out] = end - size
        return
    for at in range(first, end, size):
        flags = pool[at + 1]
        if flags & mask != mask:
            continue
        if kind == COUNT:
            sums[out] += 1
        elif kind == LABELS:
            sums[out + 1] += flags & PRESUMED
        elif kind == DISTINCT:
            distinct(sums, seen, pool[STAMP], cell, pool[at + cell["source"]])
        else:
            gather(kind, pool[at + cell["source"]], sums, out)


@kernel
def insert(pool: Ints, section: Row, fields: Ints, key: int, facts: Ints) -> None:
    """Put an event in its place, behind those of the same ts."""
    if facts[FLAGS] & section["last"] != section["last"]:
        return
    row = blocks.open_row(pool, section, key, blocks.position(pool, section, key, facts[TS] + 1))
    at = pool[key + section["at"]] + row * section["size"]
    pool[at], pool[at + 1] = facts[TS], facts[FLAGS]
    for place in range(section["fields"], section["fields_end"]):
        pool[at + 2 + place - section["fields"]] = facts[fields[place]]
