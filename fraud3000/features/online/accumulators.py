"""Accumulators of values: counts, sums, squares, extremes and distinct codes, over a window or in a bucket."""

from __future__ import annotations

from fraud3000.features import int124
from fraud3000.features.formulas import MISSING
from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import MAX, MIN, SQUARES, SUM, Ints, Row

_CODE_BITS = 32


@kernel
def accumulate(kind: int, value: int, slots: Ints, offset: int) -> None:
    """Add a value to the accumulator at `offset`; a missing value changes nothing."""
    if value == MISSING:
        return
    if kind == SUM:
        slots[offset] += 1
        slots[offset + 1], slots[offset + 2] = int124.add(slots[offset + 1], slots[offset + 2], value)
    elif kind == SQUARES:
        high, low = int124.square(value)
        slots[offset], slots[offset + 1] = int124.plus(slots[offset], slots[offset + 1], high, low)
    elif kind == MAX:
        slots[offset] = max(slots[offset], value)
    elif kind == MIN and (slots[offset] == MISSING or value < slots[offset]):
        slots[offset] = value


@kernel
def count_distinct(sums: Ints, seen: Ints, stamp: int, cell: Row, code: int) -> None:
    """Count a text code that is new to this window, up to the cap.

    `seen` is a hash set of codes; each entry holds the stamp of the read that added it, so it is never cleared.
    """
    if code < 0 or sums[cell["out"]] >= cell["cap"]:
        return
    tagged, index = (stamp << _CODE_BITS) | code, code & cell["seen_mask"]
    while seen[cell["seen"] + index] >> _CODE_BITS == stamp:
        if seen[cell["seen"] + index] == tagged:
            return
        index = (index + 1) & cell["seen_mask"]
    seen[cell["seen"] + index] = tagged
    sums[cell["out"]] += 1
