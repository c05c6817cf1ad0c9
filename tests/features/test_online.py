"""The online engine against the oracle, cell by cell, on streams made to hit every edge; and what it keeps."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud3000.errors import ParamsError, ScorerError
from fraud3000.features.online import FeatureStore
from fraud3000.features.spec.base import Condition
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Column, LabelWindow, SinceLast, Window
from tests import oracle
from tests.streams import CATALOGUE, frames, record, streams, transactions

DAY = 86_400_000_000
few = settings(deadline=None, max_examples=12)  # the slow tests draw many


def say(store, said):
    told = {name: said[name] for name in ("source", "reported_at", "recorded_at")}
    store.record_label(said["transaction_id"], said["is_fraud"], **told)


def observed(store, rows, records, withheld=()):
    """What the store says of each row by its seq, records being told just before the first t that may know them."""
    due = sorted(records, key=lambda said: said["recorded_at"])
    told = {}
    for row in sorted(rows, key=lambda row: row["seq"]):
        while due and due[0]["recorded_at"] < row["ts"]:
            say(store, due.pop(0))
        told[row["seq"]] = store.observe(row)
        if row["transaction_id"] in withheld:
            store.withhold_label(row["transaction_id"], store.last_label_state)
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


@few
@given(stream=streams())
def test_every_feature_is_what_the_oracle_says(stream):
    rows, records = stream
    assert observed(FeatureStore(CATALOGUE), rows, records) == expected(rows, records)


@few
@given(stream=streams())
def test_label_windows_without_conditions_are_what_the_oracle_says(stream):
    wanted = [feature for feature in CATALOGUE.features if isinstance(feature, LabelWindow) and feature.where is None]
    catalogue = replace(CATALOGUE, features=tuple(wanted))
    assert observed(FeatureStore(catalogue), *stream) == expected(*stream, catalogue)


@few
@given(stream=streams())
def test_a_store_that_is_rebuilt_is_the_one_that_observed(stream):
    rows, records = stream
    store = FeatureStore(CATALOGUE)
    observed(store, rows, records)
    rebuilt = FeatureStore.rebuild(*frames(rows, records), CATALOGUE)
    assert rebuilt.checksum() == store.checksum()
    assert rebuilt.counts() == store.counts()


@few
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


@few
@given(stream=streams(), cut=st.integers(0, 24))
def test_frames_may_come_in_parts_and_rows_one_by_one(stream, cut):
    rows, records = sorted(stream[0], key=lambda row: row["seq"]), stream[1]
    store = FeatureStore(CATALOGUE)
    store.absorb(frames(rows[:cut], [])[0], frames([], records)[1])
    told = observed(store, rows[cut:], [])
    right = expected(rows, records)
    assert told == {row["seq"]: right[row["seq"]] for row in rows[cut:]}


@few
@given(stream=streams(), place=st.integers(0, 23))
def test_looking_changes_nothing_and_says_what_observing_says(stream, place):
    rows, records = sorted(stream[0], key=lambda row: row["seq"]), stream[1]
    store = FeatureStore(CATALOGUE)
    observed(store, rows[:place], records)
    before = store.checksum()
    for row in rows[place : place + 1]:
        looked = store.peek({**row, "card_id": "never seen"}), store.peek(row)
        assert store.checksum() == before
        assert store.observe(row) == looked[1]


@few
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


@pytest.mark.parametrize("examples", [12, pytest.param(400, marks=pytest.mark.slow)])
def test_what_we_declined_ourselves_is_as_without_a_label(examples):
    @settings(deadline=None, max_examples=examples)
    @given(stream=streams(), declined=st.sets(st.integers(0, 24).map(str), min_size=4))
    def check(stream, declined):
        rows, records = stream
        store, other = FeatureStore(CATALOGUE), FeatureStore(CATALOGUE)
        apart = [{**row, "labelled": row["labelled"] and row["transaction_id"] not in declined} for row in rows]
        assert observed(store, rows, records, declined) == expected(apart, records)
        other.absorb(*frames(rows, records), withheld=[id_ for id_ in declined if int(id_) < len(rows)])
        assert other.checksum() == store.checksum()
        assert again(store).checksum() == store.checksum()

    check()


def test_one_that_is_declined_later_is_found_while_windows_may_still_read_it():
    store, last = FeatureStore(CATALOGUE), many([21])[0]
    observed(store, many(range(20)), [])
    name, before = "terminal_labelled_4s_delayed_2s", store.checksum()
    known = store.peek(last)[name]
    store.withhold_label("1")
    store.withhold_label("never seen")
    assert store.checksum() == before
    store.withhold_label("18")
    assert store.peek(last)[name] == known - 1


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(stream=streams(rows=40, records=24))
def test_long_streams_too(stream):
    rows, records = stream
    store = FeatureStore(CATALOGUE)
    assert observed(store, rows, records) == expected(rows, records)
    assert FeatureStore.rebuild(*frames(rows, records), CATALOGUE).checksum() == store.checksum()


def many(seconds, **columns):
    return transactions(*({"at": second, **columns} for second in seconds))


def test_a_store_as_of_a_moment_knows_nothing_later():
    rows, records = many(range(20)), [record("1", 9), record("2", 11)]
    store = FeatureStore(CATALOGUE)
    for row in rows[:10]:
        store.observe(row)
    say(store, records[0])
    as_of = datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC)
    assert FeatureStore.rebuild(*frames(rows, records), CATALOGUE, as_of=as_of).checksum() == store.checksum()


def test_events_that_no_window_will_see_are_forgotten_and_their_room_used_again():
    store = FeatureStore(CATALOGUE)
    observed(store, many(range(100)), [])
    before = store.memory()
    observed(store, many(range(100, 1_100)), [])
    after = store.memory()
    kept = [part for part in before if "events" in part or "buckets" in part or part == "transactions by id"]
    assert {part: after[part] for part in kept} == {part: before[part] for part in kept}
    assert after["card_id events"] > 0


def test_an_old_event_of_a_quiet_card_stays_while_others_go_on():
    catalogue = Catalogue((Window("card_id", "9s", "count"),), label_delay=0, late_horizon=4)
    store = FeatureStore(catalogue)
    observed(store, [*many([1], card_id="quiet"), *many(range(2, 500), card_id="busy")], [])
    assert store.peek(many([3], card_id="quiet")[0]) == {"card_count_9s": 1.0}


def test_only_the_last_event_is_kept_where_no_more_is_asked():
    catalogue = Catalogue((SinceLast("card_id", "1d"),), label_delay=0, late_horizon=4)
    store = FeatureStore(catalogue)
    told = [store.observe(row)["card_since_last_1d"] for row in many(range(100))]
    assert told == [None, *[1.0] * 99]
    assert store.memory()["card_id last events"] == 6 * 8  # five within the late horizon, one before


def test_late_rows_are_counted_by_kind_of_key():
    store = FeatureStore(CATALOGUE)
    observed(store, [*many([10, 8, 6]), *many([5], terminal_id="y"), *many([5], card_id=None)], [])
    counts = store.counts()
    assert counts["card_id"] == {"keys": 1, "rows": 3, "late": 2, "refused": 1}
    assert counts["terminal_id"] == {"keys": 2, "rows": 4, "late": 2, "refused": 1}
    assert counts["card_id+terminal_id"] == {"keys": 2, "rows": 4, "late": 2, "refused": 0}
    assert len(store) == 5


def test_what_is_absent_is_null_and_a_row_is_approved_and_labelled_unless_told():
    catalogue = Catalogue(
        (
            Column("risk"),
            Column("category", categorical=True),
            Window("card_id", "1d", "sum"),
            Window("card_id", "1d", "mean", column="risk"),
            LabelWindow("card_id", "1d", "labelled", delay="2s"),
        ),
        label_delay=2,
    )
    store = FeatureStore(catalogue)
    bare = {"transaction_id": "1", "ts": datetime(2024, 1, 1, tzinfo=UTC), "card_id": "a", "amount": 5}
    store.observe(bare)
    later = {**bare, "transaction_id": "2", "ts": datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC)}
    assert list(store.observe(later).values()) == [None, None, 5.0, None, 1.0]
    assert list(store.observe({**later, "card_id": None}).values()) == [None] * 5


def test_a_busy_bucketed_key_takes_a_bounded_block():
    catalogue = Catalogue((Window("terminal_id", "1h", "sum", bucket="5m"),), label_delay=0)
    store = FeatureStore(catalogue)
    rows = many(range(0, 10 * 86_400, 60))
    store.absorb(frames(rows, [])[0])
    buckets_kept = (86_400 + 3_600) // 300 + 3
    assert store.memory()["terminal_id buckets"] <= 8 * 4 * 2 * 4 * buckets_kept / 3
    assert store.peek(many([10 * 86_400])[0]) == {"terminal_amount_sum_1h_by_5m": 6_000.0}


def test_a_thousand_labels_of_a_busy_terminal_go_into_its_buckets():
    catalogue = Catalogue(
        (LabelWindow("terminal_id", "30d", "frauds", delay="7d", bucket="6h"),), label_delay=7 * 86_400
    )
    store = FeatureStore(catalogue)
    rows = many(range(0, 60_000, 60))
    observed(store, rows, [record(row["transaction_id"], 7 * 86_400 + row["ts"] / 1e6) for row in rows])
    last = many([9 * 86_400])[0]
    assert store.observe({**last, "transaction_id": "last"}) == {"terminal_frauds_30d_delayed_7d_by_6h": 1_000.0}
    assert store.memory()["label changes"] == 0


def test_a_record_that_no_window_can_know_waits_unread():
    store, rebuilt = FeatureStore(CATALOGUE), FeatureStore(CATALOGUE)
    rows, said = many(range(200)), record("3", 199)
    observed(store, rows, [said])
    rebuilt.absorb(*frames(rows, [said]))
    assert store.checksum() == rebuilt.checksum()
    other = FeatureStore(CATALOGUE)
    observed(other, rows, [])
    assert store.checksum() != other.checksum()


def test_two_threads_see_each_other():
    catalogue = Catalogue((Window("card_id", "1d", "count"),), label_delay=0)
    store = FeatureStore(catalogue)
    rows = many(range(400))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.observe, rows))
    assert store.peek(many([1_000])[0]) == {"card_count_1d": 400.0}


def test_memory_grows_while_keys_and_events_come():
    catalogue = Catalogue((Window(("card_id", "terminal_id"), "1d", "count"),), label_delay=0)
    store = FeatureStore(catalogue)
    rows = [
        row | {"card_id": f"c{place % 7_000}", "transaction_id": str(place)}
        for place, row in enumerate(many(range(21_000)))
    ]
    store.absorb(frames(rows, [])[0])
    assert store.counts()["card_id+terminal_id"]["keys"] == 7_000
    assert store.peek(rows[-1] | {"ts": rows[-1]["ts"] + 1}) == {"card_terminal_count_1d": 3.0}


@pytest.mark.parametrize("place", [0, 30, 60, 400, -40, -1])
def test_a_damaged_snapshot_is_refused(place):
    store, file = FeatureStore(CATALOGUE), io.BytesIO()
    observed(store, many(range(30)), [record("1", 9)])
    store.snapshot(file)
    damaged = bytearray(file.getvalue())
    damaged[place] ^= 1
    with pytest.raises(ScorerError, match="snapshot of a feature store"):
        FeatureStore.restore(io.BytesIO(damaged))


@pytest.mark.parametrize("kept", [0, 10, 100, 5_000, -1])
def test_a_snapshot_that_breaks_off_is_refused(kept):
    store, file = FeatureStore(CATALOGUE), io.BytesIO()
    observed(store, many(range(30)), [])
    store.snapshot(file)
    with pytest.raises(ScorerError, match="snapshot of a feature store"):
        FeatureStore.restore(io.BytesIO(file.getvalue()[:kept]))


def test_a_snapshot_made_under_other_rules_is_refused(monkeypatch):
    file = io.BytesIO()
    FeatureStore(CATALOGUE).snapshot(file)
    file.seek(0)
    monkeypatch.setattr("fraud3000.features.spec.catalogue.CONTRACT_VERSION", 99)
    with pytest.raises(ScorerError, match="other rules of time"):
        FeatureStore.restore(file)


def test_thirty_conditions_are_told_apart_and_sixty_are_refused():
    def catalogue(many_):
        wheres = [Condition("amount", "above", (float(than),)) for than in range(many_)]
        counts = [Window("card_id", "1d", "count", where=where) for where in wheres]
        return Catalogue((*counts, Window("card_id", "1d", "distinct", column="terminal_id")), label_delay=0)

    terminals = [None, "x", "y", "x"] * 8
    rows = [
        row | {"amount": amount, "terminal_id": terminal}
        for amount, (row, terminal) in enumerate(zip(many(range(30)), terminals, strict=False))
    ]
    for conditions in (27, 28, 30):  # so many flags stand above a text's code, or just no longer
        store = FeatureStore(catalogue(conditions))
        assert observed(store, rows, []) == expected(rows, [], catalogue(conditions))
    with pytest.raises(ParamsError, match="60 different conditions"):
        FeatureStore(catalogue(60))
