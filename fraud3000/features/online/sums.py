"""What is summed up of events, over a window or in a bucket."""

from __future__ import annotations

from fraud3000.features import exact
from fraud3000.features.formulas import MISSING
from fraud3000.features.kernel import kernel
from fraud3000.features.online.arena import STAMP, State
from fraud3000.features.online.plan import MAX, MIN, SQUARES, SUM, Ints, Table

_CODE_BITS = 32


@kernel
def gather(kind: int, value: int, words: Ints, at: int) -> None:
    """Add a value to what stands at a place; a missing one is not taken."""
    if value == MISSING:
        return
    if kind == SUM:
        words[at] += 1
        words[at + 1], words[at + 2] = exact.add(words[at + 1], words[at + 2], value)
    elif kind == SQUARES:
        high, low = exact.square(value)
        words[at], words[at + 1] = exact.plus(words[at], words[at + 1], high, low)
    elif kind == MAX:
        words[at] = max(words[at], value)
    elif kind == MIN and (words[at] == MISSING or value < words[at]):
        words[at] = value


@kernel
def distinct(state: State, cell: Table, code: int) -> None:
    """Count a text that this reading has not seen in this window, up to the cap."""
    if code < 0 or state.sums[cell["out"]] >= cell["cap"]:
        return
    entry = (state.marks[STAMP] << _CODE_BITS) | code
    place = code & cell["seen_mask"]
    while state.seen[cell["seen"] + place] >> _CODE_BITS == state.marks[STAMP]:
        if state.seen[cell["seen"] + place] == entry:
            return
        place = (place + 1) & cell["seen_mask"]
    state.seen[cell["seen"] + place] = entry
    state.sums[cell["out"]] += 1
