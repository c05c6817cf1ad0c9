"""Windows over events that are each kept for itself: a key's events from the oldest to the newest, one after the other.

An event is a run of words: its ts; a link to the next one with its flags above, or in a word of their own; then
the facts that the section's windows read.
"""

from __future__ import annotations

from fraud3000.features.kernel import kernel
from fraud3000.features.online.arena import NEWEST, State, give, take
from fraud3000.features.online.plan import COUNT, DISTINCT, FLAGS, LABELS, LAST, LINK_BITS, PRESUMED, TS, Plan, Table
from fraud3000.features.online.sums import distinct, gather

_LINK = (1 << LINK_BITS) - 1


@kernel
def read(plan: Plan, state: State, section: Table, key: int, t: int) -> None:
    """Gather the windows of a transaction at t."""
    pool = state.pool
    node = pool[key + section["at"]]
    while node and pool[node] < t:
        ts, flags = pool[node], pool[node + section["flags"]] >> section["shift"]
        for place in range(section["windows"], section["windows_end"]):
            window = plan.windows[place]
            if t - window["far"] <= ts and ts < t - window["near"]:
                for cell in range(window["cells"], window["cells_end"]):
                    _take_in(plan, state, plan.cells[cell], node, flags)
        node = pool[node + 1] & _LINK


@kernel
def _take_in(plan: Plan, state: State, cell: Table, node: int, flags: int) -> None:
    mask, kind, out = cell["mask"], cell["kind"], cell["out"]
    if flags & mask != mask:
        return
    if kind == COUNT:
        state.sums[out] += 1
    elif kind == LABELS:
        state.sums[out + 1] += flags & PRESUMED
    elif kind == LAST:
        state.sums[out] = node
    elif kind == DISTINCT:
        distinct(state, cell, state.pool[node + cell["source"]])
    else:
        gather(kind, state.pool[node + cell["source"]], state.sums, out)


@kernel
def insert(plan: Plan, state: State, section: Table, key: int, facts: Table) -> None:
    """Put an event in its place, behind those of the same ts, and give back the ones that no window will see."""
    pool, ts = state.pool, facts[TS]
    node = take(state, section["block"], section["size"])
    pool[node], pool[node + 1] = ts, 0
    pool[node + section["flags"]] = facts[FLAGS] << section["shift"]
    word = node + section["flags"] + 1
    for place in range(section["fields"], section["fields_end"]):
        pool[word] = facts[plan.fields[place]]
        word += 1
    _link_in(pool, key + section["at"], node)
    _forget(state, section, key)


@kernel
def _link_in(pool: Table, ends: int, node: int) -> None:
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
def _forget(state: State, section: Table, key: int) -> None:
    """The newest event always stays, so that there is one to stop at."""
    pool, oldest = state.pool, state.pool[key + section["at"]]
    bound = pool[key + NEWEST] - section["keep"]
    while pool[oldest] < bound:
        following = pool[oldest + 1] & _LINK
        give(state, section["block"], section["size"], oldest)
        oldest = following
    pool[key + section["at"]] = oldest
