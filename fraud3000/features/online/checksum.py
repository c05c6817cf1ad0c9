"""Checksum of a store's content, independent of memory addresses and of the order in which labels arrived."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fraud3000.features import int124
from fraud3000.features.jit import kernel
from fraud3000.features.online import blocks, hash_map, label_deltas, single_event_keys
from fraud3000.features.online.memory_pool import NEWEST, State
from fraud3000.features.online.plan import (
    CODE_BITS,
    COUNT,
    LABELS,
    PACKED_CODE_BITS,
    SQUARES,
    SUM,
    Ints,
    Plan,
    Row,
    Table,
)

_BUFFER_SLOTS = 1 << 20
_CODE = (1 << PACKED_CODE_BITS) - 1


class _Keys(NamedTuple):
    """Keys of a store: address of the parent's record or 0, step, code, and value in the key map."""

    parents: Ints
    steps: Ints
    codes: Ints
    values: Ints

    @property
    def records(self) -> Ints:
        return self.values >> 1

    def select(self, selected: Any) -> _Keys:
        return _Keys(*(column[selected] for column in self))


def compute(plan: Plan, state: State, content: Mapping[str, Any]) -> str:
    """Compute SHA-256 over `content` (texts, waiting records), every key, its events, buckets and label deltas."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    keys = _unpack_keys(plan, state)
    is_compact = plan.steps["scratch"][keys.steps] > 0
    compact, keys = keys.select(is_compact), keys.select(~is_compact)
    digest.update((keys.steps << CODE_BITS | keys.codes).data)
    digest.update(np.searchsorted(keys.records, keys.parents).data)
    for section_index in range(len(plan.sections)):
        step = plan.sections[section_index]["step"]
        if plan.steps[step]["scratch"]:
            selected = compact.select(compact.steps == step)
            for part in _serialize_compact_keys(plan, state, section_index, selected, keys.records):
                digest.update(part.data)
            continue
        records = keys.records[keys.steps == step]
        for part in _serialize_section(plan, state, section_index, records):
            digest.update(part.data)
        if plan.sections[section_index]["deltas"]:
            digest.update(_sum_deltas(plan, state, section_index, records).data)
    return digest.hexdigest()


def _unpack_keys(plan: Plan, state: State) -> _Keys:
    """Unpack the key map: first keys of one event, then others in the order in which their records were created."""
    packed, values = hash_map.items(state.key_map)
    order = np.lexsort([values, values & 1 == 0])
    packed, values = packed[order], values[order]
    numbers, singles = packed >> PACKED_CODE_BITS, np.count_nonzero(values & 1)
    records = values[singles:] >> 1
    parents = np.searchsorted(records, numbers, side="right") - 1  # positions in `records`; -1: no parent
    addresses = np.append(records, 0)[parents]
    steps = np.full(len(packed), len(plan.steps))
    for index, step in enumerate(plan.steps):
        parent_steps = np.append(steps[singles:], -1)[parents]
        steps[(parent_steps == step["parent"]) & (numbers - addresses == step["sibling"])] = index
    return _Keys(addresses, steps, packed & _CODE, values)


def _serialize_compact_keys(plan: Plan, state: State, section_index: int, keys: _Keys, parents: Ints) -> Iterator[Ints]:
    """Serialize keys of a step with a scratch record: first keys of one event, then others, each by parent and code.

    A key with a record that holds only one event counts as a key of one event.
    """
    keys = keys.select(np.lexsort([keys.codes, keys.parents]))
    keys = keys._replace(parents=np.searchsorted(parents, keys.parents))
    newest, is_single = keys.values >> 1, keys.values & 1
    single_event_keys.complete(state.pool, plan.sections, section_index, newest, is_single)
    singles, rest = keys.select(is_single > 0), keys.select(is_single == 0)
    yield np.column_stack([singles.parents, singles.codes, newest[is_single > 0]])
    yield np.column_stack([rest.parents, rest.codes])
    yield from _serialize_section(plan, state, section_index, rest.records)


def _serialize_section(plan: Plan, state: State, section_index: int, keys: Ints) -> Iterator[Ints]:
    buffer, start = np.empty(_BUFFER_SLOTS, np.int64), 0
    while start < len(keys):
        end, written = serialize(plan, state, section_index, keys, start, buffer)
        yield buffer[:written]
        if end == start:
            buffer = np.empty(2 * len(buffer), np.int64)
        start = end


def _sum_deltas(plan: Plan, state: State, section_index: int, keys: Ints) -> Ints:
    """Sum the label deltas of all keys by key, event's ts, since and flags, without those that sum to 0."""
    content = np.empty((count_deltas(plan, state, section_index, keys), 6), np.int64)
    serialize_deltas(plan, state, section_index, keys, content)
    groups, group_of = np.unique(content[:, :4], axis=0, return_inverse=True)
    sums = np.zeros((len(groups), 2), np.int64)
    np.add.at(sums, group_of.reshape(-1), content[:, 4:])
    return np.ascontiguousarray(np.column_stack([groups, sums])[sums.any(axis=1)])


@kernel
def serialize(plan: Plan, state: State, section_index: int, keys: Ints, start: int, buffer: Ints) -> tuple[int, int]:
    """Serialize keys from `start` on; returns the first that did not fit, and the number of slots written."""
    pool, measures, section, offset = state.pool, plan.measures, plan.sections[section_index], 0
    for key in range(start, len(keys)):
        if section["deltas"]:
            label_deltas.prune(pool, section, measures, keys[key], plan.horizon)
        end = offset + 2
        if end <= len(buffer) and section["bucket"]:
            end = _serialize_buckets(pool, section, measures, keys[key], buffer, end)
        elif end <= len(buffer):
            end = _serialize_events(pool, section, keys[key], buffer, end)
        if end > len(buffer):
            return key, offset
        buffer[offset], buffer[offset + 1] = end - offset, pool[keys[key] + NEWEST]
        offset = end
    return len(keys), offset


@kernel
def _serialize_events(pool: Ints, section: Row, key: int, buffer: Ints, offset: int) -> int:
    """Serialize unexpired events; returns their end, which is beyond the buffer if they do not fit."""
    size, block = section["size"], pool[key + section["offset"]]
    first, end = blocks.count_expired(pool, section, key) * size, blocks.row_count(pool, section, key) * size
    if offset + end - first > len(buffer):
        return len(buffer) + 1
    for slot in range(first, end):
        buffer[offset + slot - first] = pool[block + slot]
    return int(offset + end - first)


@kernel
def _serialize_buckets(pool: Ints, section: Row, measures: Table, key: int, buffer: Ints, offset: int) -> int:
    """Serialize unexpired buckets without the cumulative values of the row before; returns their end."""
    size, block = section["size"], pool[key + section["offset"]]
    first, count = blocks.count_expired(pool, section, key), blocks.row_count(pool, section, key)
    if offset + (count - first) * size > len(buffer):
        return len(buffer) + 1
    for row in range(first, count):
        for slot in range(size):
            buffer[offset + slot] = pool[block + row * size + slot]
        for index in range(section["measures"], section["measures_end"] if row else 0):
            measure = measures[index]
            source = block + (row - 1) * size + measure["offset"]
            _subtract_previous(pool, measure["kind"], source, buffer, offset + measure["offset"])
        offset += size
    return int(offset)


@kernel
def _subtract_previous(pool: Ints, kind: int, previous: int, buffer: Ints, offset: int) -> None:
    if kind in (COUNT, LABELS, SUM):
        buffer[offset] -= pool[previous]
    if kind == LABELS:
        buffer[offset + 1] -= pool[previous + 1]
    pair_offset = 1 if kind == SUM else 0
    if kind in (SUM, SQUARES):
        buffer[offset + pair_offset], buffer[offset + pair_offset + 1] = int124.minus(
            buffer[offset + pair_offset],
            buffer[offset + pair_offset + 1],
            pool[previous + pair_offset],
            pool[previous + pair_offset + 1],
        )


@kernel
def count_deltas(plan: Plan, state: State, section_index: int, keys: Ints) -> int:
    """Number of label deltas of the keys."""
    count = 0
    for key in keys:
        delta = state.pool[key + plan.sections[section_index]["deltas"]]
        while delta:
            count, delta = count + 1, state.pool[delta]
    return count


@kernel
def serialize_deltas(plan: Plan, state: State, section_index: int, keys: Ints, out: Ints) -> None:
    """Write each label delta: the position of its key, then the delta without its link."""
    row = 0
    for key in range(len(keys)):
        delta = state.pool[keys[key] + plan.sections[section_index]["deltas"]]
        while delta:
            out[row, 0] = key
            for slot in range(1, 6):
                out[row, slot] = state.pool[delta + slot]
            row, delta = row + 1, state.pool[delta]
