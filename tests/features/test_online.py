"""The online engine against the oracle, cell by cell, on streams made to hit every edge; and what it keeps."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.features.online import FeatureStore
from tests import oracle
from tests.streams import CATALOGUE, frames, streams

DAY = 86_400


def say(store, said):
    told = {name: said[name] for name in ("source", "reported_at", "recorded_at")}
    store.record_label(said["transaction_id"], said["is_fraud"], **told)


def observed(store, rows, records):
    """What the store says of each row by its seq, records being told just before the first t that may know them."""
    due = sorted(records, key=lambda said: said["recorded_at"])
    told = {}
    for row in sorted(rows, key=lambda row: row["seq"]):
        while due and due[0]["recorded_at"] < row["ts"]:
            say(store, due.pop(0))
        told[row["seq"]] = store.observe(row)
    for said in due:
        say(store, said)
    return told


def expected(rows, records, catalogue=CATALOGUE):
    return {row["seq"]: values for row, values in zip(rows, oracle.features(rows, records, catalogue), strict=True)}


def again(store):
    file = io.BytesIO()
    store.snapshot(file)
    file.seek(0)
    return FeatureStore.restore(file)


@settings(deadline=None)
@given(stream=streams())
def test_every_feature_is_what_the_oracle_says(stream):
    rows, records = stream
    assert observed(FeatureStore(CATALOGUE), rows, records) == expected(rows, records)


@settings(deadline=None)
@given(stream=streams())
def test_a_store_that_is_rebuilt_is_the_one_that_observed(stream):
    rows, records = stream
    store = FeatureStore(CATALOGUE)
    observed(store, rows, records)
    rebuilt = FeatureStore.rebuild(*frames(rows, records), CATALOGUE)
    assert rebuilt.checksum() == store.checksum()
    assert rebuilt.counts() == store.counts()


@settings(deadline=None)
@given(stream=streams(), cut=st.integers(0, 24))
def test_a_snapshot_in_the_middle_changes_nothing(stream, cut):
    rows, records = sorted(stream[0], key=lambda row: row["seq"]), stream[1]
    store = FeatureStore(CATALOGUE)
    for said in records:
        say(store, said)
    first = observed(store, rows[:cut], [])
    restored = again(store)
    assert restored.checksum() == store.checksum()
    assert len(restored) == len(rows[:cut])
    assert first | observed(restored, rows[cut:], []) == expected(rows, records)


@settings(deadline=None)
@given(stream=streams(), cut=st.integers(0, 24))
def test_frames_may_come_in_parts_and_rows_one_by_one(stream, cut):
    rows, records = sorted(stream[0], key=lambda row: row["seq"]), stream[1]
    store = FeatureStore(CATALOGUE)
    store.absorb(frames(rows[:cut], [])[0], frames([], records)[1])
    told = observed(store, rows[cut:], [])
    right = expected(rows, records)
    assert told == {row["seq"]: right[row["seq"]] for row in rows[cut:]}


@settings(deadline=None)
@given(stream=streams(), place=st.integers(0, 23))
def test_looking_changes_nothing_and_says_what_observing_says(stream, place):
    rows, records = sorted(stream[0], key=lambda row: row["seq"]), stream[1]
    store = FeatureStore(CATALOGUE)
    observed(store, rows[:place], records)
    before = store.checksum()
    for row in rows[place : place + 1]:
        looked = store.features_for({**row, "card_id": "never seen"}), store.features_for(row)
        assert store.checksum() == before
        assert store.observe(row) == looked[1]


@settings(deadline=None)
@given(stream=streams(rows=16), order=st.permutations(range(16)))
def test_records_may_be_fed_in_any_order(stream, order):
    rows, records = stream
    fed = [records[place] for place in order if place < len(records)]
    store, other = FeatureStore(CATALOGUE), FeatureStore(CATALOGUE)
    distinct = {said["recorded_at"]: said for said in fed}.values()  # equals are decided by their place
    for said in distinct:
        say(store, said)
    for said in sorted(distinct, key=lambda said: said["recorded_at"]):
        say(other, said)
    assert observed(store, rows, []) == observed(other, rows, [])
    assert store.checksum() == other.checksum()
