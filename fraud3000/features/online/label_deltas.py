"""What the ledger changes in label windows: for each key a list of changes that are not yet told by all its readings.

An event counts as presumed legitimate, or not at all, until a change says otherwise to every t after its `since`.
A change is a run of words: a link to the next one, the event's ts, since, the event's flags, and what it adds to
frauds and to labelled.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, buckets
from fraud3000.features.online.memory_pool import NEWEST, give, take
from fraud3000.features.online.plan import CHANGE, CHANGE_CLASS, CHANGES_PART, LABELS, Ints, Row, Table

EVENT_TS, SINCE, EVENT_FLAGS, FRAUDS, LABELLED = 1, 2, 3, 4, 5


@kernel
def read(pool: Ints, section: Row, windows: Table, cells: Table, key: int, t: int, sums: Ints) -> None:
    """Add to what was gathered what has been known before t."""
    change = pool[key + section["changes"]]
    while change:
        if pool[change + SINCE] < t:
            for place in range(section["windows"], section["windows_end"]):
                window = windows[place]
                far, near = t - window["far"], t - window["near"]
                if section["bucket"]:
                    far, near = blocks.floor(section, far), blocks.floor(section, near)
                if far <= pool[change + EVENT_TS] < near:
                    _add(pool, cells, window, change, sums)
        change = pool[change]


@kernel
def _add(pool: Ints, cells: Table, window: Row, change: int, sums: Ints) -> None:
    for place in range(window["cells"], window["cells_end"]):
        cell = cells[place]
        if cell["kind"] == LABELS and pool[change + EVENT_FLAGS] & cell["mask"] == cell["mask"]:
            sums[cell["out"]] += pool[change + FRAUDS]
            sums[cell["out"] + 1] += pool[change + LABELLED]


@kernel
def alter(pool: Ints, sections: Table, keys: Ints, event: Ints) -> None:
    """Note a change with every key that keeps the event; `event` is the change without its link."""
    for place in range(len(sections)):
        section = sections[place]
        key = keys[section["step"]]
        if section["changes"] and key > 0:
            change = take(pool, CHANGES_PART, CHANGE_CLASS)
            pool[change] = pool[key + section["changes"]]
            for word in range(CHANGE - 1):
                pool[change + 1 + word] = event[word]
            pool[key + section["changes"]] = change


@kernel
def settle(pool: Ints, section: Row, measures: Table, key: int, horizon: int) -> None:
    """Forget the changes of events that no window will see; those that every reading would know go into the buckets.

    A reading more than the late horizon behind the key's newest ts is null, so that it need not be told apart.
    """
    newest = pool[key + NEWEST]
    before, change = key + section["changes"], pool[key + section["changes"]]
    while change:
        after = pool[change]
        gone = pool[change + EVENT_TS] < newest - section["keep"] - section["bucket"]
        told = section["bucket"] > 0 and pool[change + SINCE] < newest - horizon
        if told and not gone:
            buckets.relabel(pool, section, measures, key, change)
        if told or gone:
            pool[before] = after
            give(pool, CHANGES_PART, CHANGE_CLASS, change)
        else:
            before = change
        change = after
