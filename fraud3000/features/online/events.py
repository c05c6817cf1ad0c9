"""Windows over single events: one row per event, with its ts, its flags and the fields that windows read.

If all windows of a section select the same events, the section stores only those, without flags. Windows of one delay
are nested: each continues from the accumulators of the next smaller one, so that each event is read once per aggregate.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks
from fraud3000.features.online.accumulators import accumulate, count_distinct
from fraud3000.features.online.memory_pool import STAMP
from fraud3000.features.online.plan import COUNT, DISTINCT, FLAGS, LABELS, LAST, PRESUMED, TS, Ints, Row, Table

_LOW_32, _SIGN = (1 << 32) - 1, 1 << 31


@kernel
def read(pool: Ints, section: Row, windows: Table, cells: Table, key: int, t: int, sums: Ints, seen: Ints) -> None:
    """Accumulate the windows of a transaction at t into `sums`, those of one delay from smallest to largest."""
    block, size = pool[key + section["offset"]], section["size"]
    for index in range(section["windows"], section["windows_end"]):
        window = windows[index]
        first = blocks.lower_bound(pool, section, key, t - window["far"])
        end = blocks.lower_bound(pool, section, key, t - window["near"])
        sums[window["start"]] = first
        for cell_index in range(window["cells"], window["cells_end"]):
            cell, cell_end = cells[cell_index], end
            if cell["width"]:
                cell_end = sums[cell["end_slot"]]
                for slot in range(cell["width"]):
                    sums[cell["out"] + slot] = sums[cell["smaller_out"] + slot]
            if first < cell_end:
                _accumulate_events(pool, section, cell, block + first * size, block + cell_end * size, sums, seen)


@kernel
def _accumulate_events(pool: Ints, section: Row, cell: Row, first: int, end: int, sums: Ints, seen: Ints) -> None:
    mask, kind, out, size = cell["mask"], cell["kind"], cell["out"], section["size"]
    flagged, shift = section["has_flags"], section["flag_shift"]
    if kind == LAST:
        if sums[out] == 0:
            sums[out] = end - size
        return
    for row_slot in range(first, end, size):
        flags = pool[row_slot + 1] >> shift if flagged else mask
        if flags & mask != mask:
            continue
        if kind == COUNT:
            sums[out] += 1
        elif kind == LABELS:
            sums[out + 1] += flags & PRESUMED
        elif kind == DISTINCT:
            count_distinct(sums, seen, pool[STAMP], cell, _text_code(pool[row_slot + cell["source"]]))
        else:
            accumulate(kind, pool[row_slot + cell["source"]], sums, out)


@kernel
def _text_code(slot: int) -> int:
    """Text code in the low 32 bits of a slot; the high bits may hold flags."""
    return ((slot & _LOW_32) ^ _SIGN) - _SIGN


@kernel
def insert(pool: Ints, section: Row, fields: Ints, key: int, event: Ints) -> None:
    """Insert an event by time, after events of the same ts."""
    if event[FLAGS] & section["mask"] != section["mask"]:
        return
    row = blocks.insert_row(pool, section, key, blocks.lower_bound(pool, section, key, event[TS] + 1))
    slot, field = pool[key + section["offset"]] + row * section["size"], section["fields"]
    pool[slot] = event[TS]
    if section["has_flags"]:
        slot += 1
        pool[slot] = event[FLAGS] << section["flag_shift"]
        if section["flag_shift"]:
            pool[slot] |= event[fields[field]] & _LOW_32
            field += 1
    for index in range(field, section["fields_end"]):
        slot += 1
        pool[slot] = event[fields[index]]
