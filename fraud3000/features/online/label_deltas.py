"""What the ledger changes in label windows: for each key a list of changes that are not yet told by all its readings.

An event counts as presumed legitimate, or not at all, until a change says otherwise to every t after its `since`.
A change is a run of words: a link to the next one, the event's ts, since, the event's flags, and what it adds to
frauds and to labelled.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, buckets
from fraud3000.features.online.memory_pool import NEWEST, allocate, free
from fraud3000.features.online.plan import DELTA_CLASS, DELTA_SLOTS, DELTAS_PART, LABELS, Ints, Row, Table

EVENT_TS, SINCE, EVENT_FLAGS, FRAUDS, LABELLED = 1, 2, 3, 4, 5


@kernel
def read(pool: Ints, section: Row, windows: Table, cells: Table, key: int, t: int, sums: Ints) -> None:
    """Add to what was gathered what has been known before t."""
    delta = pool[key + section["deltas"]]
    while delta:
        if pool[delta + SINCE] < t:
            for index in range(section["windows"], section["windows_end"]):
                window = windows[index]
                far, near = t - window["far"], t - window["near"]
                if section["bucket"]:
                    far, near = blocks.bucket_start(section, far), blocks.bucket_start(section, near)
                if far <= pool[delta + EVENT_TS] < near:
                    _add(pool, cells, window, delta, sums)
        delta = pool[delta]


@kernel
def _add(pool: Ints, cells: Table, window: Row, delta: int, sums: Ints) -> None:
    for index in range(window["cells"], window["cells_end"]):
        cell = cells[index]
        if cell["kind"] == LABELS and pool[delta + EVENT_FLAGS] & cell["mask"] == cell["mask"]:
            sums[cell["out"]] += pool[delta + FRAUDS]
            sums[cell["out"] + 1] += pool[delta + LABELLED]


@kernel
def add_delta(pool: Ints, sections: Table, keys: Ints, values: Ints) -> None:
    """Note a change with every key that keeps the event; `event` is the change without its link."""
    for index in range(len(sections)):
        section = sections[index]
        key = keys[section["step"]]
        if section["deltas"] and key > 0:
            delta = allocate(pool, DELTAS_PART, DELTA_CLASS)
            pool[delta] = pool[key + section["deltas"]]
            for slot in range(DELTA_SLOTS - 1):
                pool[delta + 1 + slot] = values[slot]
            pool[key + section["deltas"]] = delta


@kernel
def prune(pool: Ints, section: Row, measures: Table, key: int, horizon: int) -> None:
    """Forget the changes of events that no window will see; those that every reading would know go into the buckets.

    A reading more than the late horizon behind the key's newest ts is null, so that it need not be told apart.
    """
    newest = pool[key + NEWEST]
    link, delta = key + section["deltas"], pool[key + section["deltas"]]
    while delta:
        next_delta = pool[delta]
        expired = pool[delta + EVENT_TS] < newest - section["retention"] - section["bucket"]
        applies = section["bucket"] > 0 and pool[delta + SINCE] < newest - horizon
        if applies and not expired:
            buckets.apply_delta(pool, section, measures, key, delta)
        if applies or expired:
            pool[link] = next_delta
            free(pool, DELTAS_PART, DELTA_CLASS, delta)
        else:
            link = delta
        delta = next_delta
