"""What is summed up of events, over a window or in a bucket."""

from __future__ import annotations

from fraud3000.features import int124
from fraud3000.features.formulas import MISSING
from fraud3000.features.jit import kernel
from fraud3000.features.online.plan import MAX, MIN, SQUARES, SUM, Ints, Row

_CODE_BITS = 32


@kernel
def gather(kind: int, value: int, words: Ints, at: int) -> None:
    """Add a value to what stands at a place; a missing one is not taken."""
    if value == MISSING:
        return
    if kind == SUM:
        words[at] += 1
        words[at + 1], words[at + 2] = int124.add(words[at + 1], words[at + 2], value)
    elif kind == SQUARES:
        high, low = int124.square(value)
        words[at], words[at + 1] = int124.plus(words[at], words[at + 1], high, low)
    elif kind == MAX:
        words[at] = max(words[at], value)
    elif kind == MIN and (words[at] == MISSING or value < words[at]):
        words[at] = value


@kernel
def distinct(sums: Ints, seen: Ints, stamp: int, cell: Row, code: int) -> None:
    """Count a text that the reading of this stamp has not seen in this window, up to the cap."""
    if code < 0 or sums[cell["out"]] >= cell["cap"]:
        return
    entry, place = (stamp << _CODE_BITS) | code, code & cell["seen_mask"]
    while seen[cell["seen"] + place] >> _CODE_BITS == stamp:
        if seen[cell["seen"] + place] == entry:
            return
        place = (place + 1) & cell["seen_mask"]
    seen[cell["seen"] + place] = entry
    sums[cell["out"]] += 1
