"""What the ledger changes in label windows: for each key a list of changes that are not yet told by all its readings.

An event counts as presumed legitimate, or not at all, until a change says otherwise to every t after its `since`.
A change is a run of words: a link to the next one, the event's ts, since, the event's flags, and what it adds to
frauds and to labelled.
"""

from __future__ import annotations

from fraud3000.features.kernel import kernel
from fraud3000.features.online import buckets
from fraud3000.features.online.arena import NEWEST, State, give, take
from fraud3000.features.online.plan import CHANGE, CHANGES_CLASS, LABELS, Ints, Plan, Table

EVENT_TS, SINCE, EVENT_FLAGS, FRAUDS, LABELLED = 1, 2, 3, 4, 5


@kernel
def read(plan: Plan, state: State, section: Table, key: int, t: int) -> None:
    """Add to what was gathered what has been known before t."""
    pool = state.pool
    change = pool[key + section["changes"]]
    while change:
        if pool[change + SINCE] < t:
            for place in range(section["windows"], section["windows_end"]):
                window = plan.windows[place]
                far, near = t - window["far"], t - window["near"]
                if section["bucket"]:
                    far, near = buckets.floor(section, far), buckets.floor(section, near)
                if far <= pool[change + EVENT_TS] and pool[change + EVENT_TS] < near:
                    _add(plan, state, window, change)
        change = pool[change]


@kernel
def _add(plan: Plan, state: State, window: Table, change: int) -> None:
    for place in range(window["cells"], window["cells_end"]):
        cell = plan.cells[place]
        if cell["kind"] == LABELS and state.pool[change + EVENT_FLAGS] & cell["mask"] == cell["mask"]:
            state.sums[cell["out"]] += state.pool[change + FRAUDS]
            state.sums[cell["out"] + 1] += state.pool[change + LABELLED]


@kernel
def alter(plan: Plan, state: State, keys: Ints, event: Ints) -> None:
    """Note a change with every key that keeps the event; `event` is the change without its link."""
    for place in range(len(plan.sections)):
        section = plan.sections[place]
        key = keys[section["step"]]
        if section["changes"] and key > 0:
            change = take(state, CHANGES_CLASS, CHANGE)
            state.pool[change] = state.pool[key + section["changes"]]
            for word in range(CHANGE - 1):
                state.pool[change + 1 + word] = event[word]
            state.pool[key + section["changes"]] = change


@kernel
def settle(plan: Plan, state: State, section: Table, key: int) -> None:
    """Forget the changes of events that no window will see; those that every reading would know go into the buckets.

    A reading more than the late horizon behind the key's newest ts is null, so that it need not be told apart.
    """
    pool, newest = state.pool, state.pool[key + NEWEST]
    before, change = key + section["changes"], pool[key + section["changes"]]
    while change:
        after = pool[change]
        gone = pool[change + EVENT_TS] < newest - section["keep"] - section["bucket"]
        told = section["bucket"] and pool[change + SINCE] < newest - plan.horizon
        if told and not gone:
            buckets.relabel(plan, state, section, key, change)
        if told or gone:
            pool[before] = after
            give(state, CHANGES_CLASS, CHANGE, change)
        else:
            before = change
        change = after
