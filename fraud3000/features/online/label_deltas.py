"""Label deltas: changes that label records make to label windows, as one linked list per key.

An event counts as presumed legitimate, or not at all, until a delta changes that for every t after its `since`.
A delta has six slots: address of the next delta, the event's ts, `since`, the event's flags, and the amounts that it
adds to frauds and to labelled.
"""

from __future__ import annotations

from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, buckets
from fraud3000.features.online.memory_pool import NEWEST, allocate, free
from fraud3000.features.online.plan import DELTA_CLASS, DELTA_SLOTS, DELTAS_PART, LABELS, Ints, Row, Table

EVENT_TS, SINCE, EVENT_FLAGS, FRAUDS, LABELLED = 1, 2, 3, 4, 5


@kernel
def read(pool: Ints, section: Row, windows: Table, cells: Table, key: int, t: int, sums: Ints) -> None:
    """Add the deltas that are known before t to the accumulated label windows."""
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
    """Add a delta to every key that stores its event; `values` is the delta without the link."""
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
    """Remove deltas of expired events, and move those that every later read knows into the buckets.

    A read more than the late horizon before the key's newest ts returns null, so it need not distinguish them.
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
