"""Windows over whole buckets: for each key a block of rows, one for each bucket that has events, by time.

A row is the bucket's start and what its events sum up to. Counts, sums and labels run on from row to row, so that a
window is the difference of two rows however many lie between; largest, smallest and distinct values are each row's
own. The last row that no window sees may stay, for the first that one does see to be told from.
"""

from __future__ import annotations

from fraud3000.features import exact
from fraud3000.features.formulas import MISSING
from fraud3000.features.kernel import kernel
from fraud3000.features.online.arena import NEWEST, State, give, take
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
    WIDTH,
    Ints,
    Plan,
    Table,
)
from fraud3000.features.online.sums import distinct, gather

CAPACITY_BITS = 8
_CAPACITY = (1 << CAPACITY_BITS) - 1
_FIRST_CAPACITY = 1  # as a power of two
_COUNT_WIDTH, _SUM_WIDTH, _PAIR_WIDTH = WIDTH[COUNT], WIDTH[SUM], WIDTH[SQUARES]


@kernel
def floor(section: Table, ts: int) -> int:
    """The start of the bucket of a moment."""
    return ts // section["bucket"] * section["bucket"]


@kernel
def position(pool: Ints, section: Table, key: int, start: int) -> int:
    """How many of a key's rows begin before a moment."""
    block, low = pool[key + section["at"]], 0
    high = pool[key + section["at"] + 1] >> CAPACITY_BITS
    while low < high:
        middle = (low + high) // 2
        if pool[block + middle * section["size"]] < start:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def read(plan: Plan, state: State, section: Table, key: int, t: int) -> None:
    """Gather the windows of a transaction at t."""
    for place in range(section["windows"], section["windows_end"]):
        window = plan.windows[place]
        first = position(state.pool, section, key, floor(section, t - window["far"]))
        end = position(state.pool, section, key, floor(section, t - window["near"]))
        if first < end:
            for cell in range(window["cells"], window["cells_end"]):
                _take_in(state, section, plan.cells[cell], key, first, end)


@kernel
def _take_in(state: State, section: Table, cell: Table, key: int, first: int, end: int) -> None:
    kind, size = cell["kind"], section["size"]
    block = state.pool[key + section["at"]] + cell["source"]
    if kind in (COUNT, SUM, SQUARES, LABELS):
        _difference(state, kind, cell["out"], block + (end - 1) * size, block + (first - 1) * size if first else 0)
        return
    for row in range(first, end):
        at = block + row * size
        if kind == DISTINCT:
            for code in range(at + 1, at + 1 + state.pool[at]):
                distinct(state, cell, state.pool[code])
        else:
            gather(kind, state.pool[at], state.sums, cell["out"])


@kernel
def _difference(state: State, kind: int, out: int, last: int, before: int) -> None:
    """What lies between two rows that run on; from the beginning, if there is none before."""
    pool, sums = state.pool, state.sums
    pair = 1 if kind == SUM else 0
    if kind == SQUARES or kind == SUM:  # noqa: PLR1714  compiled, a set would be made each time
        high, low = pool[last + pair], pool[last + pair + 1]
        if before:
            high, low = exact.minus(high, low, pool[before + pair], pool[before + pair + 1])
        sums[out + pair], sums[out + pair + 1] = high, low
    if kind != SQUARES:
        sums[out] = pool[last] - (pool[before] if before else 0)
    if kind == LABELS:
        sums[out + 1] = pool[last + 1] - (pool[before + 1] if before else 0)


@kernel
def insert(plan: Plan, state: State, section: Table, key: int, facts: Ints) -> None:
    """Add an event to its bucket, and to all that run on from it."""
    pool, size = state.pool, section["size"]
    row = _row(plan, state, section, key, floor(section, facts[TS]))
    block, count = pool[key + section["at"]], pool[key + section["at"] + 1] >> CAPACITY_BITS
    for place in range(section["measures"], section["measures_end"]):
        measure = plan.measures[place]
        kind, mask, value = measure["kind"], measure["mask"], facts[measure["fact"]]
        if facts[FLAGS] & mask != mask:
            continue
        if kind == DISTINCT:
            _keep_text(pool, block + row * size + measure["at"], value, measure["cap"])
            continue
        end = row + 1 if kind in (MAX, MIN) else count
        for at in range(block + row * size + measure["at"], block + end * size, size):
            if kind == COUNT:
                pool[at] += 1
            elif kind == LABELS:
                pool[at + 1] += facts[FLAGS] & PRESUMED
            else:
                gather(kind, value, pool, at)


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
def _row(plan: Plan, state: State, section: Table, key: int, start: int) -> int:
    """The row of a bucket, made in its place where there is none."""
    pool, size, at = state.pool, section["size"], key + section["at"]
    row = position(pool, section, key, start)
    if row < pool[at + 1] >> CAPACITY_BITS and pool[pool[at] + row * size] == start:
        return row
    if pool[at] == 0 or pool[at + 1] >> CAPACITY_BITS == 1 << (pool[at + 1] & _CAPACITY):
        _make_room(state, section, key)
        row = position(pool, section, key, start)
    made, end = pool[at] + row * size, pool[at] + (pool[at + 1] >> CAPACITY_BITS) * size
    for word in range(end - 1, made - 1, -1):
        pool[word + size] = pool[word]
    pool[at + 1] += 1 << CAPACITY_BITS
    _begin(plan, pool, section, made, start, made - size if row else 0)
    return row


@kernel
def _begin(plan: Plan, pool: Ints, section: Table, made: int, start: int, before: int) -> None:
    """A row of no events of its own."""
    for word in range(section["size"]):
        pool[made + word] = pool[before + word] if before else 0
    pool[made] = start
    for place in range(section["measures"], section["measures_end"]):
        measure = plan.measures[place]
        if measure["kind"] in (MAX, MIN):
            pool[made + measure["at"]] = MISSING
        elif measure["kind"] == DISTINCT:
            for word in range(made + measure["at"], made + measure["at"] + 1 + measure["cap"]):
                pool[word] = 0


@kernel
def _make_room(state: State, section: Table, key: int) -> None:
    """Drop the rows that no window will see, if they are a quarter of the block; else move to a larger one."""
    pool, size, at = state.pool, section["size"], key + section["at"]
    block, count, power = pool[at], pool[at + 1] >> CAPACITY_BITS, pool[at + 1] & _CAPACITY
    dropped = max(position(pool, section, key, floor(section, pool[key + NEWEST] - section["keep"])) - 1, 0)
    to = block
    if dropped * 4 < count or not block:
        power = power + 1 if block else _FIRST_CAPACITY
        to, dropped = take(state, section["block"] + power, size << power), 0
    for word in range((count - dropped) * size):
        pool[to + word] = pool[block + dropped * size + word]
    if block and to != block:
        give(state, section["block"] + power - 1, size << (power - 1), block)
    pool[at], pool[at + 1] = to, (count - dropped) << CAPACITY_BITS | power


@kernel
def relabel(plan: Plan, state: State, section: Table, key: int, change: int) -> None:
    """Add what a label change says of an event to its bucket, and to all that run on from it."""
    pool, size = state.pool, section["size"]
    start, flags = floor(section, pool[change + 1]), pool[change + 3]
    row = position(pool, section, key, start)
    block, count = pool[key + section["at"]], pool[key + section["at"] + 1] >> CAPACITY_BITS
    if row == count or pool[block + row * size] != start:
        return
    for place in range(section["measures"], section["measures_end"]):
        measure = plan.measures[place]
        if measure["kind"] == LABELS and flags & measure["mask"] == measure["mask"]:
            for at in range(block + row * size + measure["at"], block + count * size, size):
                pool[at] += pool[change + 4]
                pool[at + 1] += pool[change + 5]
