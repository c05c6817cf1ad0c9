"""Windows over whole buckets: for each key a block of rows, one for each bucket that has events, by time.

A row is the bucket's start and what its events sum up to. Counts, sums and labels run on from row to row, so that a
window is the difference of two rows however many lie between; largest, smallest and distinct values are each row's
own. The last row that no window sees may stay, for the first that one does see to be told from.
"""

from __future__ import annotations

from fraud3000.features import int124
from fraud3000.features.formulas import MISSING
from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks
from fraud3000.features.online.accumulators import distinct, gather
from fraud3000.features.online.memory_pool import STAMP
from fraud3000.features.online.plan import (
    COUNT,
    DISTINCT,
    FLAGS,
    LABELS,
    MAX,
    MIN,
    PRESUMED,
    SQUARES,
    SUM,
    TS,
    Ints,
    Row,
    Table,
)


@kernel
def read(pool: Ints, section: Row, windows: Table, cells: Table, key: int, t: int, sums: Ints, seen: Ints) -> None:
    """Gather the windows of a transaction at t."""
    block, size = pool[key + section["at"]], section["size"]
    for place in range(section["windows"], section["windows_end"]):
        window = windows[place]
        first = blocks.position(pool, section, key, blocks.floor(section, t - window["far"]))
        end = blocks.position(pool, section, key, blocks.floor(section, t - window["near"]))
        if first < end:
            for cell in range(window["cells"], window["cells_end"]):
                at = block + cells[cell]["source"]
                _take_in(pool, size, cells[cell], at + first * size, at + end * size, first == 0, sums, seen)


@kernel
def _take_in(pool: Ints, size: int, cell: Row, begin_: int, end: int, from_first: bool, sums: Ints, seen: Ints) -> None:
    kind = cell["kind"]
    if kind in (COUNT, SUM, SQUARES, LABELS):
        _difference(pool, sums, kind, cell["out"], end - size, 0 if from_first else begin_ - size)
        return
    for at in range(begin_, end, size):
        if kind == DISTINCT:
            for code in range(at + 1, at + 1 + pool[at]):
                distinct(sums, seen, pool[STAMP], cell, pool[code])
        else:
            gather(kind, pool[at], sums, cell["out"])


@kernel
def _difference(pool: Ints, sums: Ints, kind: int, out: int, last: int, before: int) -> None:
    """What lies between two rows that run on; from the beginning, if there is none before."""
    pair = 1 if kind == SUM else 0
    if kind in (SQUARES, SUM):
        high, low = pool[last + pair], pool[last + pair + 1]
        if before:
            high, low = int124.minus(high, low, pool[before + pair], pool[before + pair + 1])
        sums[out + pair], sums[out + pair + 1] = high, low
    if kind != SQUARES:
        sums[out] = pool[last] - (pool[before] if before else 0)
    if kind == LABELS:
        sums[out + 1] = pool[last + 1] - (pool[before + 1] if before else 0)


@kernel
def insert(pool: Ints, section: Row, measures: Table, key: int, facts: Ints) -> None:
    """Add an event to its bucket, and to all that run on from it."""
    size = section["size"]
    row = _row(pool, section, measures, key, blocks.floor(section, facts[TS]))
    block, count = pool[key + section["at"]], blocks.count(pool, section, key)
    for place in range(section["measures"], section["measures_end"]):
        measure = measures[place]
        kind, mask = measure["kind"], measure["mask"]
        if facts[FLAGS] & mask != mask:
            continue
        if kind == DISTINCT:
            _keep_text(pool, block + row * size + measure["at"], facts[measure["fact"]], measure["cap"])
            continue
        end = row + 1 if kind in (MAX, MIN) else count
        for at in range(block + row * size + measure["at"], block + end * size, size):
            if kind == COUNT:
                pool[at] += 1
            elif kind == LABELS:
                pool[at + 1] += facts[FLAGS] & PRESUMED
            else:
                gather(kind, facts[measure["fact"]], pool, at)


@kernel
def _keep_text(pool: Ints, at: int, code: int, cap: int) -> None:
    """Keep a text that the bucket does not have, up to the cap."""
    if code < 0 or pool[at] == cap:
        return
    for place in range(at + 1, at + 1 + pool[at]):
        if pool[place] == code:
            return
    pool[at] += 1
    pool[at + pool[at]] = code


@kernel
def _row(pool: Ints, section: Row, measures: Table, key: int, start: int) -> int:
    """The row of a bucket, made in its place where there is none."""
    size, at = section["size"], key + section["at"]
    row = blocks.position(pool, section, key, start)
    if row < blocks.count(pool, section, key) and pool[pool[at] + row * size] == start:
        return row
    row = blocks.open_row(pool, section, key, row)
    made = pool[at] + row * size
    _begin(pool, section, measures, made, start, made - size if row else 0)
    return row


@kernel
def _begin(pool: Ints, section: Row, measures: Table, made: int, start: int, before: int) -> None:
    """A row of no events of its own."""
    for word in range(section["size"]):
        pool[made + word] = pool[before + word] if before else 0
    pool[made] = start
    for place in range(section["measures"], section["measures_end"]):
        measure = measures[place]
        if measure["kind"] in (MAX, MIN):
            pool[made + measure["at"]] = MISSING
        elif measure["kind"] == DISTINCT:
            for word in range(made + measure["at"], made + measure["at"] + 1 + measure["cap"]):
                pool[word] = 0


@kernel
def relabel(pool: Ints, section: Row, measures: Table, key: int, change: int) -> None:
    """Add what a label change says of an event to its bucket, and to all that run on from it."""
    size, start, flags = section["size"], blocks.floor(section, pool[change + 1]), pool[change + 3]
    row = blocks.position(pool, section, key, start)
    block, count = pool[key + section["at"]], blocks.count(pool, section, key)
    if row == count or pool[block + row * size] != start:
        return
    for place in range(section["measures"], section["measures_end"]):
        measure = measures[place]
        if measure["kind"] == LABELS and flags & measure["mask"] == measure["mask"]:
            for at in range(block + row * size + measure["at"], block + count * size, size):
                pool[at] += pool[change + 4]
                pool[at + 1] += pool[change + 5]
