"""The hash map of the online engine, and keys of one event, which take one entry of it and no record."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.features.online import FeatureStore, hash_map, memory_pool
from fraud3000.features.online.plan_compiler import compile_plan
from fraud3000.features.online.recent_transactions import Generation
from fraud3000.features.spec.base import Condition
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import NotSeen, SinceLast, Window
from tests.features.test_online import again, expected, many, observed
from tests.streams import CATALOGUE, PAIR, frames, streams

DEVICES = ("card_id", "device_id")
OFTEN = replace(
    CATALOGUE,
    features=(
        NotSeen(PAIR, "6s"),
        Window(PAIR, "3s", "count", delay="1s"),
        SinceLast(DEVICES, "5s"),
        NotSeen("device_id", "3s", where=Condition("amount", "at_least", (1.0,))),
        NotSeen(("terminal_id", "device_id"), "9s", where=Condition("status", "is", ("declined",))),
        Window("category", "4s", "count"),
    ),
)
"""Catalogue whose keys, except prefixes of other keys, may all be stored as keys of one event."""


def test_only_keys_without_child_steps_have_scratch_records():
    plan, layout = compile_plan(OFTEN)
    with_scratch = {keys for keys, step in zip(layout.keys, plan.steps, strict=True) if step["scratch"]}
    assert with_scratch == {PAIR, DEVICES, ("device_id",), ("terminal_id", "device_id"), ("category",)}
    assert sorted(step["sibling"] for step in plan.steps if step["parent"] == 0) == [1, 2]


@pytest.mark.parametrize("examples", [25, pytest.param(600, marks=pytest.mark.slow)])
def test_every_feature_equals_the_oracle(examples):
    @settings(deadline=None, max_examples=examples)
    @given(stream=streams(rows=40), cut=st.integers(0, 40))
    def check(stream, cut):
        rows = sorted(stream[0], key=lambda row: row["seq"])
        store = FeatureStore(OFTEN)
        first = observed(store, rows[:cut], [])
        restored = again(store)
        assert first | observed(restored, rows[cut:], []) == expected(rows, [], OFTEN)
        rebuilt = FeatureStore.rebuild(*frames(rows, []), OFTEN)
        assert rebuilt.checksum() == restored.checksum()
        assert rebuilt.counts() == restored.counts()

    check()


def test_ten_thousand_keys_of_one_event_need_no_records():
    store = FeatureStore(Catalogue((NotSeen(PAIR, "1d"),), label_delay=0))
    rows = [row | {"terminal_id": f"t{place}"} for place, row in enumerate(many(range(10_000)))]
    store.absorb(frames(rows[:100], [])[0])
    before = store.memory()
    store.absorb(frames([row | {"seq": place} for place, row in enumerate(rows[100:])], [])[0])
    after = store.memory()
    assert after["keys"] == before["keys"]
    assert after["card_id_terminal_id events"] == 0
    assert 10_000 * 16 / 0.9 <= after["key map"] <= 10_000 * 16 / 0.9 * 9 / 8
    assert store.counts()["card_id+terminal_id"]["keys"] == 10_000
    late = {"transaction_id": "late", "card_id": "a", "amount": 1}
    news = [store.peek({**rows[at], **late, "ts": ts}) for at, ts in ((0, 1), (0, 2 * 86_400_000_000), (9, 0))]
    assert [list(features.values()) for features in news] == [[False], [True], [True]]


def test_a_key_gets_a_record_with_its_second_event():
    store = FeatureStore(Catalogue((NotSeen(PAIR, "9s"),), label_delay=0, late_horizon=4))
    rows = many([0, 1])
    store.observe(rows[0])
    before = store.memory()["keys"]
    store.observe(rows[1])
    assert store.memory()["keys"] > before
    assert store.counts()["card_id+terminal_id"] == {"keys": 1, "rows": 2, "late": 0, "refused": 0}


def test_a_key_whose_first_event_expired_needs_no_record():
    catalogue = Catalogue((NotSeen(PAIR, "9s"),), label_delay=0, late_horizon=4)
    store = FeatureStore(catalogue)
    rows = many([0, 100, 200])
    store.observe(rows[0])
    before = store.memory()["keys"]
    assert [store.observe(row)["card_terminal_not_seen_9s"] for row in rows[1:]] == [True, True]
    assert store.memory()["keys"] == before
    assert store.peek(many([195])[0]) == {"card_terminal_not_seen_9s": None}


def test_a_record_of_one_event_has_the_checksum_of_no_record():
    catalogue = Catalogue((NotSeen(PAIR, "9s"),), label_delay=0, late_horizon=4)
    once, often = FeatureStore(catalogue), FeatureStore(catalogue)
    observed(often, many([0, 1, 2, 100]), [])
    observed(once, many([100]), [])
    assert once.checksum() == often.checksum()
    once.observe(many([101])[0])
    assert once.checksum() != often.checksum()
    often.observe(many([101])[0])
    assert once.checksum() == often.checksum()


def test_a_packed_key_is_unique():
    numbers = {
        memory_pool.pack_key.py_func({"sibling": sibling}, parent, code)
        for sibling in (1, 2)
        for parent in (0, 400, (1 << 35) - 3)
        for code in (0, 5, (1 << 28) - 1)
    }
    assert len(numbers) == 18
    assert 0 < min(numbers) < max(numbers) < 1 << 63


@settings(deadline=None)
@given(st.lists(st.integers(1, 90), max_size=300))
def test_the_hash_map_behaves_like_a_dictionary(keys):
    """90 keys fill a map that grows now and then."""
    table, expected_items = np.zeros(2 * 40, np.int64), {}
    for number, key in enumerate(keys):
        if not hash_map.has_room(table, len(expected_items) + 1):
            table = hash_map.grow(table, len(expected_items) + 1)
        index = hash_map.find(table, key)
        assert (table[index] == key) == (key in expected_items)
        table[index], table[index + 1] = key, number
        expected_items[key] = number
        assert dict(zip(*(slots.tolist() for slots in hash_map.items(table)), strict=True)) == expected_items
    assert all(table[hash_map.find(table, key) + 1] == number for key, number in expected_items.items())


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([7, 700]), st.integers(0, 8)), max_size=18, unique=True))
def test_ids_whose_hashes_agree_in_part_are_found(hashes):
    generation = Generation(1)
    for row, hashed in enumerate(hashes):
        generation.append(np.array([hashed]), (row,))
    assert [generation.find(np.array(hashed)).tolist() for hashed in hashes] == [[row] for row in range(len(hashes))]
    assert generation.find(np.array([1, 9])) is None
