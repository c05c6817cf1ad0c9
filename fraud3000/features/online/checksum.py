"""A store's content as a hash that does not depend on where things lie in memory, nor on the order labels came in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fraud3000.features import exact
from fraud3000.features.kernel import kernel
from fraud3000.features.online import blocks, changes
from fraud3000.features.online.arena import NEWEST, State
from fraud3000.features.online.plan import COUNT, LABELS, SQUARES, SUM, Ints, Plan, Row, Table

_WORDS = 1 << 20


def of(plan: Plan, state: State, told: Mapping[str, Any]) -> str:
    """SHA-256 over what is told (texts, waiting records), every key, its events, buckets and label changes."""
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    records = np.sort(state.table[state.table > 0])  # in order of arrival
    heads, parents = state.pool[records], state.pool[records + 1]
    digest.update(heads.data)
    digest.update(np.searchsorted(records, parents).data)
    for place in range(len(plan.sections)):
        keys = records[heads >> 32 == plan.sections[place]["step"]]
        for words in _sections(plan, state, place, keys):
            digest.update(words.data)
        if plan.sections[place]["changes"]:
            digest.update(_changes(plan, state, place, keys).data)
    return digest.hexdigest()


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
            changes.settle(pool, section, measures, keys[key], plan.horizon)
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
        words[at + pair], words[at + pair + 1] = exact.minus(
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
