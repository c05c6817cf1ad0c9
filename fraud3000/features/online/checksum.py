"""A store's content as a hash that does not depend on where things lie in memory, nor on the order labels came in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fraud3000.features import int124
from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, int_map, label_deltas, single_event_keys
from fraud3000.features.online.memory_pool import NEWEST, State
from fraud3000.features.online.plan import (
    CODE_BITS,
    COUNT,
    LABELS,
    SINGLE_CODE_BITS,
    SQUARES,
    SUM,
    Ints,
    Plan,
    Row,
    Table,
)

_WORDS = 1 << 20
_CODE, _SINGLE_CODE = (1 << CODE_BITS) - 1, (1 << SINGLE_CODE_BITS) - 1


def of(plan: Plan, state: State, told: Mapping[str, Any]) -> str:
    """SHA-256 over what is told (texts, waiting records), every key, its events, buckets and label changes."""
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    records = np.sort(state.table[state.table > 0])  # in order of arrival
    apart = (plan.steps["own"] > 0)[state.pool[records] >> CODE_BITS]
    keys, others = records[~apart], records[apart]
    heads = state.pool[keys]
    digest.update(heads.data)
    digest.update(np.searchsorted(keys, state.pool[keys + 1]).data)
    for place in range(len(plan.sections)):
        step = plan.sections[place]["step"]
        if plan.steps[step]["own"]:
            of = others[state.pool[others] >> CODE_BITS == step]
            for words in _apart(plan, state, place, of, keys):
                digest.update(words.data)
            continue
        of = keys[heads >> CODE_BITS == step]
        for words in _sections(plan, state, place, of):
            digest.update(words.data)
        if plan.sections[place]["changes"]:
            digest.update(_changes(plan, state, place, of).data)
    return digest.hexdigest()


def _apart(plan: Plan, state: State, place: int, records: Ints, parents: Ints) -> Iterator[Ints]:
    """Keys that may do without a record: first those of one event, then the others, by parent and code each.

    Some have a record that has no more to tell than the rest: they stand among those that have none.
    """
    pool, step = state.pool, plan.steps[plan.sections[place]["step"]]
    single = np.zeros(len(records), np.int64)
    single_event_keys.are_single(pool, plan.sections, place, records, single)
    names, newest = int_map.content(state.singles)
    under = names >> SINGLE_CODE_BITS
    parent = np.concatenate([[0], parents])[np.searchsorted(parents, under, side="right")]
    of = (under - parent == step["number"]) & (np.where(parent, pool[parent] >> CODE_BITS, -1) == step["parent"])
    first, rest = records[single > 0], records[single == 0]
    told = np.column_stack(
        [
            np.concatenate([parent[of], pool[first + 1]]),
            np.concatenate([names[of] & _SINGLE_CODE, pool[first] & _CODE]),
            np.concatenate([newest[of], pool[first + NEWEST]]),
        ]
    )
    told = told[np.lexsort([told[:, 1], told[:, 0]])]
    told[:, 0] = np.searchsorted(parents, told[:, 0])
    yield np.ascontiguousarray(told)
    rest = rest[np.lexsort([pool[rest], pool[rest + 1]])]
    yield np.column_stack([np.searchsorted(parents, pool[rest + 1]), pool[rest] & _CODE])
    yield from _sections(plan, state, place, rest)


def _sections(plan: Plan, state: State, section: int, keys: Ints) -> Iterator[Ints]:
    words, first = np.empty(_WORDS, np.int64), 0
    while first < len(keys):
        end, written = tell(plan, state, section, keys, first, words)
        yield words[:written]
        if end == first:
            words = np.empty(2 * len(words), np.int64)
        first = end


def _changes(plan: Plan, state: State, section: int, keys: Ints) -> Ints:
    """The changes of all keys, summed up by key, event's ts, since and flags, those that say nothing left out."""
    told = np.empty((count_changes(plan, state, section, keys), 6), np.int64)
    tell_changes(plan, state, section, keys, told)
    named, belongs = np.unique(told[:, :4], axis=0, return_inverse=True)
    sums = np.zeros((len(named), 2), np.int64)
    np.add.at(sums, belongs.reshape(-1), told[:, 4:])
    return np.ascontiguousarray(np.column_stack([named, sums])[sums.any(axis=1)])


@kernel
def tell(plan: Plan, state: State, place: int, keys: Ints, first: int, words: Ints) -> tuple[int, int]:
    """Write the content of keys from one on; the first that found no room, and how many words were written."""
    pool, measures, section, at = state.pool, plan.measures, plan.sections[place], 0
    for key in range(first, len(keys)):
        if section["changes"]:
            label_deltas.settle(pool, section, measures, keys[key], plan.horizon)
        end = at + 2
        if end <= len(words) and section["bucket"]:
            end = _tell_rows(pool, section, measures, keys[key], words, end)
        elif end <= len(words):
            end = _tell_events(pool, section, keys[key], words, end)
        if end > len(words):
            return key, at
        words[at], words[at + 1] = end - at, pool[keys[key] + NEWEST]
        at = end
    return len(keys), at


@kernel
def _tell_events(pool: Ints, section: Row, key: int, words: Ints, at: int) -> int:
    """Write each event that some window may still see; where they end, beyond all where there is no room."""
    size, block = section["size"], pool[key + section["at"]]
    first, end = blocks.unseen(pool, section, key) * size, blocks.count(pool, section, key) * size
    if at + end - first > len(words):
        return len(words) + 1
    for word in range(first, end):
        words[at + word - first] = pool[block + word]
    return int(at + end - first)


@kernel
def _tell_rows(pool: Ints, section: Row, measures: Table, key: int, words: Ints, at: int) -> int:
    """Write each row that some window may still see without what runs on from the row before; where they end."""
    size, block = section["size"], pool[key + section["at"]]
    first, count = blocks.unseen(pool, section, key), blocks.count(pool, section, key)
    if at + (count - first) * size > len(words):
        return len(words) + 1
    for row in range(first, count):
        for word in range(size):
            words[at + word] = pool[block + row * size + word]
        for place in range(section["measures"], section["measures_end"] if row else 0):
            measure = measures[place]
            source = block + (row - 1) * size + measure["at"]
            _take_off(pool, measure["kind"], source, words, at + measure["at"])
        at += size
    return int(at)


@kernel
def _take_off(pool: Ints, kind: int, before: int, words: Ints, at: int) -> None:
    if kind in (COUNT, LABELS, SUM):
        words[at] -= pool[before]
    if kind == LABELS:
        words[at + 1] -= pool[before + 1]
    pair = 1 if kind == SUM else 0
    if kind in (SUM, SQUARES):
        words[at + pair], words[at + pair + 1] = int124.minus(
            words[at + pair], words[at + pair + 1], pool[before + pair], pool[before + pair + 1]
        )


@kernel
def count_changes(plan: Plan, state: State, place: int, keys: Ints) -> int:
    """How many label changes the keys have."""
    count = 0
    for key in keys:
        change = state.pool[key + plan.sections[place]["changes"]]
        while change:
            count, change = count + 1, state.pool[change]
    return count


@kernel
def tell_changes(plan: Plan, state: State, place: int, keys: Ints, told: Ints) -> None:
    """Write each label change: the place of its key, then what it says."""
    row = 0
    for key in range(len(keys)):
        change = state.pool[keys[key] + plan.sections[place]["changes"]]
        while change:
            told[row, 0] = key
            for word in range(1, 6):
                told[row, word] = state.pool[change + word]
            row, change = row + 1, state.pool[change]
