"""Windows over whole buckets: one row per bucket that has events, sorted by time in the key's block.

A row holds the bucket's start and its accumulators. Counts, sums and labels are cumulative from row to row, so that a
window is the difference of two rows whatever its length; largest, smallest and distinct values belong to one bucket.
The last expired row may stay, because the cumulative values of the first row in the window are relative to it.
"""

from __future__ import annotations

from fraud3000.features import int124
from fraud3000.features.formulas import MISSING
from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks
from fraud3000.features.online.accumulators import accumulate, count_distinct
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
    """Accumulate the windows of a transaction at t into `sums`."""
    block, size = pool[key + section["offset"]], section["size"]
    for index in range(section["windows"], section["windows_end"]):
        window = windows[index]
        first = blocks.lower_bound(pool, section, key, blocks.bucket_start(section, t - window["far"]))
        end = blocks.lower_bound(pool, section, key, blocks.bucket_start(section, t - window["near"]))
        if first < end:
            for cell in range(window["cells"], window["cells_end"]):
                at = block + cells[cell]["source"]
                _accumulate_rows(pool, size, cells[cell], at + first * size, at + end * size, first == 0, sums, seen)


@kernel
def _accumulate_rows(
    pool: Ints, size: int, cell: Row, begin: int, end: int, from_first: bool, sums: Ints, seen: Ints
) -> None:
    kind = cell["kind"]
    if kind in (COUNT, SUM, SQUARES, LABELS):
        _subtract_rows(pool, sums, kind, cell["out"], end - size, 0 if from_first else begin - size)
        return
    for slot in range(begin, end, size):
        if kind == DISTINCT:
            for code in range(slot + 1, slot + 1 + pool[slot]):
                count_distinct(sums, seen, pool[STAMP], cell, pool[code])
        else:
            accumulate(kind, pool[slot], sums, cell["out"])


@kernel
def _subtract_rows(pool: Ints, sums: Ints, kind: int, out: int, last_row: int, row_before: int) -> None:
    """Subtract cumulative values of `row_before` from those of `last_row`; 0 as `row_before` means from the beginning."""
    pair_offset = 1 if kind == SUM else 0
    if kind in (SQUARES, SUM):
        high, low = pool[last_row + pair_offset], pool[last_row + pair_offset + 1]
        if row_before:
            high, low = int124.minus(high, low, pool[row_before + pair_offset], pool[row_before + pair_offset + 1])
        sums[out + pair_offset], sums[out + pair_offset + 1] = high, low
    if kind != SQUARES:
        sums[out] = pool[last_row] - (pool[row_before] if row_before else 0)
    if kind == LABELS:
        sums[out + 1] = pool[last_row + 1] - (pool[row_before + 1] if row_before else 0)


@kernel
def insert(pool: Ints, section: Row, measures: Table, key: int, event: Ints) -> None:
    """Add an event to its bucket, and to the cumulative values of later buckets."""
    size = section["size"]
    row = _find_or_insert_row(pool, section, measures, key, blocks.bucket_start(section, event[TS]))
    block, count = pool[key + section["offset"]], blocks.row_count(pool, section, key)
    for index in range(section["measures"], section["measures_end"]):
        measure = measures[index]
        kind, mask = measure["kind"], measure["mask"]
        if event[FLAGS] & mask != mask:
            continue
        if kind == DISTINCT:
            _add_code(pool, block + row * size + measure["offset"], event[measure["field"]], measure["cap"])
            continue
        end = row + 1 if kind in (MAX, MIN) else count
        for slot in range(block + row * size + measure["offset"], block + end * size, size):
            if kind == COUNT:
                pool[slot] += 1
            elif kind == LABELS:
                pool[slot + 1] += event[FLAGS] & PRESUMED
            else:
                accumulate(kind, event[measure["field"]], pool, slot)


@kernel
def _add_code(pool: Ints, at: int, code: int, cap: int) -> None:
    """Add a text code to a bucket's set of codes, up to the cap."""
    if code < 0 or pool[at] == cap:
        return
    for slot in range(at + 1, at + 1 + pool[at]):
        if pool[slot] == code:
            return
    pool[at] += 1
    pool[at + pool[at]] = code


@kernel
def _find_or_insert_row(pool: Ints, section: Row, measures: Table, key: int, start: int) -> int:
    """Row of a bucket; inserts it if it does not exist."""
    size, header = section["size"], key + section["offset"]
    row = blocks.lower_bound(pool, section, key, start)
    if row < blocks.row_count(pool, section, key) and pool[pool[header] + row * size] == start:
        return row
    row = blocks.insert_row(pool, section, key, row)
    start_slot = pool[header] + row * size
    _initialize_row(pool, section, measures, start_slot, start, start_slot - size if row else 0)
    return row


@kernel
def _initialize_row(pool: Ints, section: Row, measures: Table, row_slot: int, start: int, row_before: int) -> None:
    """Initialize a row without events: cumulative values from the row before, others empty."""
    for slot in range(section["size"]):
        pool[row_slot + slot] = pool[row_before + slot] if row_before else 0
    pool[row_slot] = start
    for index in range(section["measures"], section["measures_end"]):
        measure = measures[index]
        if measure["kind"] in (MAX, MIN):
            pool[row_slot + measure["offset"]] = MISSING
        elif measure["kind"] == DISTINCT:
            for slot in range(row_slot + measure["offset"], row_slot + measure["offset"] + 1 + measure["cap"]):
                pool[slot] = 0


@kernel
def apply_delta(pool: Ints, section: Row, measures: Table, key: int, delta: int) -> None:
    """Add a label delta to the bucket of its event, and to the cumulative values of later buckets."""
    size, start, flags = section["size"], blocks.bucket_start(section, pool[delta + 1]), pool[delta + 3]
    row = blocks.lower_bound(pool, section, key, start)
    block, count = pool[key + section["offset"]], blocks.row_count(pool, section, key)
    if row == count or pool[block + row * size] != start:
        return
    for index in range(section["measures"], section["measures_end"]):
        measure = measures[index]
        if measure["kind"] == LABELS and flags & measure["mask"] == measure["mask"]:
            for slot in range(block + row * size + measure["offset"], block + count * size, size):
                pool[slot] += pool[delta + 4]
                pool[slot + 1] += pool[delta + 5]
