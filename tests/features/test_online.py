"""The online engine against the oracle, cell by cell, on streams that hit every edge; and its memory and snapshots."""

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


def add_record(store, label_record):
    details = {name: label_record[name] for name in ("source", "reported_at", "recorded_at")}
    store.record_label(label_record["transaction_id"], label_record["is_fraud"], **details)


def observed(store, rows, records, withheld=()):
    """Features of each row by seq; label records are added just before the first t that may know them."""
    waiting = sorted(records, key=lambda label_record: label_record["recorded_at"])
    result = {}
    for row in sorted(rows, key=lambda row: row["seq"]):
        while waiting and waiting[0]["recorded_at"] < row["ts"]:
            add_record(store, waiting.pop(0))
        result[row["seq"]] = store.observe(row)
        if row["transaction_id"] in withheld:
            store.withhold_label(row["transaction_id"], store.last_label_state)
    for label_record in waiting:
        add_record(store, label_record)
    return result


def expected(rows, records, catalogue=CATALOGUE):
    return {row["seq"]: values for row, values in zip(rows, oracle.features(rows, records, catalogue), strict=True)}


def again(store):
    file = io.BytesIO()
    store.snapshot(file)
    file.seek(0)
    return FeatureStore.restore(file)


@few
@given(stream=streams())
def test_every_feature_equals_the_oracle(stream):
    rows, records = stream
    assert observed(FeatureStore(CATALOGUE), rows, records) == expected(rows, records)


@few
@given(stream=streams())
def test_label_windows_without_conditions_equal_the_oracle(stream):
    windows = [feature for feature in CATALOGUE.features if isinstance(feature, LabelWindow) and feature.where is None]
    catalogue = replace(CATALOGUE, features=tuple(windows))
    assert observed(FeatureStore(catalogue), *stream) == expected(*stream, catalogue)


@few
@given(stream=streams())
def test_a_rebuilt_store_equals_the_one_that_observed(stream):
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
    for label_record in records:
        add_record(store, label_record)
    first = observed(store, rows[:cut], [])
    restored = again(store)
    assert restored.checksum() == store.checksum()
    assert len(restored) == len(rows[:cut])
    assert first | observed(restored, rows[cut:], []) == expected(rows, records)


@few
@given(stream=streams(), cut=st.integers(0, 24))
def test_absorbing_frames_in_parts_equals_observing_rows(stream, cut):
    rows, records = sorted(stream[0], key=lambda row: row["seq"]), stream[1]
    store = FeatureStore(CATALOGUE)
    store.absorb(frames(rows[:cut], [])[0], frames([], records)[1])
    result = observed(store, rows[cut:], [])
    right = expected(rows, records)
    assert result == {row["seq"]: right[row["seq"]] for row in rows[cut:]}


@few
@given(stream=streams(), index=st.integers(0, 23))
def test_peek_changes_nothing_and_returns_what_observe_returns(stream, index):
    rows, records = sorted(stream[0], key=lambda row: row["seq"]), stream[1]
    store = FeatureStore(CATALOGUE)
    observed(store, rows[:index], records)
    before = store.checksum()
    for row in rows[index : index + 1]:
        peeked = store.peek({**row, "card_id": "never seen"}), store.peek(row)
        assert store.checksum() == before
        assert store.observe(row) == peeked[1]


@few
@given(stream=streams(rows=16), order=st.permutations(range(16)))
def test_label_records_may_arrive_in_any_order(stream, order):
    rows, records = stream
    fed = [records[index] for index in order if index < len(records)]
    store, other = FeatureStore(CATALOGUE), FeatureStore(CATALOGUE)
    distinct = {
        label_record["recorded_at"]: label_record for label_record in fed
    }.values()  # equal times are decided by position
    for label_record in distinct:
        add_record(store, label_record)
    for label_record in sorted(distinct, key=lambda label_record: label_record["recorded_at"]):
        add_record(other, label_record)
    assert observed(store, rows, []) == observed(other, rows, [])
    assert store.checksum() == other.checksum()


@pytest.mark.parametrize("examples", [12, pytest.param(400, marks=pytest.mark.slow)])
def test_a_withheld_label_equals_a_missing_label(examples):
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


def test_a_label_is_withheld_later_while_windows_may_still_read_it():
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
def test_long_streams_equal_the_oracle(stream):
    rows, records = stream
    store = FeatureStore(CATALOGUE)
    assert observed(store, rows, records) == expected(rows, records)
    assert FeatureStore.rebuild(*frames(rows, records), CATALOGUE).checksum() == store.checksum()


def many(seconds, **columns):
    return transactions(*({"at": second, **columns} for second in seconds))


def test_a_store_as_of_a_time_ignores_later_rows_and_records():
    rows, records = many(range(20)), [record("1", 9), record("2", 11)]
    store = FeatureStore(CATALOGUE)
    for row in rows[:10]:
        store.observe(row)
    add_record(store, records[0])
    as_of = datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC)
    assert FeatureStore.rebuild(*frames(rows, records), CATALOGUE, as_of=as_of).checksum() == store.checksum()


def test_expired_events_are_dropped_and_their_memory_is_reused():
    store = FeatureStore(CATALOGUE)
    observed(store, many(range(100)), [])
    before = store.memory()
    observed(store, many(range(100, 1_100)), [])
    after = store.memory()
    parts = [part for part in before if "events" in part or "buckets" in part or part == "transactions by id"]
    assert {part: after[part] for part in parts} == {part: before[part] for part in parts}
    assert after["card_id events"] > 0


def test_an_old_event_of_a_quiet_card_stays_while_other_cards_are_active():
    catalogue = Catalogue((Window("card_id", "9s", "count"),), label_delay=0, late_horizon=4)
    store = FeatureStore(catalogue)
    observed(store, [*many([1], card_id="quiet"), *many(range(2, 500), card_id="busy")], [])
    assert store.peek(many([3], card_id="quiet")[0]) == {"card_count_9s": 1.0}


def test_only_the_last_event_is_stored_if_no_feature_needs_more():
    catalogue = Catalogue((SinceLast("card_id", "1d"),), label_delay=0, late_horizon=4)
    store = FeatureStore(catalogue)
    result = [store.observe(row)["card_since_last_1d"] for row in many(range(100))]
    assert result == [None, *[1.0] * 99]
    assert store.memory()["card_id last events"] == 6 * 8  # five within the late horizon, one before


def test_late_rows_are_counted_by_kind_of_key():
    store = FeatureStore(CATALOGUE)
    observed(store, [*many([10, 8, 6]), *many([5], terminal_id="y"), *many([5], card_id=None)], [])
    counts = store.counts()
    assert counts["card_id"] == {"keys": 1, "rows": 3, "late": 2, "refused": 1}
    assert counts["terminal_id"] == {"keys": 2, "rows": 4, "late": 2, "refused": 1}
    assert counts["card_id+terminal_id"] == {"keys": 2, "rows": 4, "late": 2, "refused": 0}
    assert len(store) == 5


def test_missing_columns_are_null_except_status_and_labelled():
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


def test_a_busy_bucketed_key_uses_bounded_memory():
    catalogue = Catalogue((Window("terminal_id", "1h", "sum", bucket="5m"),), label_delay=0)
    store = FeatureStore(catalogue)
    rows = many(range(0, 10 * 86_400, 60))
    store.absorb(frames(rows, [])[0])
    buckets_kept = (86_400 + 3_600) // 300 + 3
    assert store.memory()["terminal_id buckets"] <= 8 * 4 * 2 * 4 * buckets_kept / 3
    assert store.peek(many([10 * 86_400])[0]) == {"terminal_amount_sum_1h_by_5m": 6_000.0}


def test_a_thousand_labels_of_a_busy_terminal_move_into_its_buckets():
    catalogue = Catalogue(
        (LabelWindow("terminal_id", "30d", "frauds", delay="7d", bucket="6h"),), label_delay=7 * 86_400
    )
    store = FeatureStore(catalogue)
    rows = many(range(0, 60_000, 60))
    observed(store, rows, [record(row["transaction_id"], 7 * 86_400 + row["ts"] / 1e6) for row in rows])
    last = many([9 * 86_400])[0]
    assert store.observe({**last, "transaction_id": "last"}) == {"terminal_frauds_30d_delayed_7d_by_6h": 1_000.0}
    assert store.memory()["label changes"] == 0


def test_a_record_after_the_last_label_window_stays_unread():
    store, rebuilt = FeatureStore(CATALOGUE), FeatureStore(CATALOGUE)
    rows, label_record = many(range(200)), record("3", 199)
    observed(store, rows, [label_record])
    rebuilt.absorb(*frames(rows, [label_record]))
    assert store.checksum() == rebuilt.checksum()
    other = FeatureStore(CATALOGUE)
    observed(other, rows, [])
    assert store.checksum() != other.checksum()


def test_the_store_is_thread_safe():
    catalogue = Catalogue((Window("card_id", "1d", "count"),), label_delay=0)
    store = FeatureStore(catalogue)
    rows = many(range(400))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.observe, rows))
    assert store.peek(many([1_000])[0]) == {"card_count_1d": 400.0}


def test_memory_grows_with_keys_and_events():
    catalogue = Catalogue((Window(("card_id", "terminal_id"), "1d", "count"),), label_delay=0)
    store = FeatureStore(catalogue)
    rows = [
        row | {"card_id": f"c{index % 7_000}", "transaction_id": str(index)}
        for index, row in enumerate(many(range(21_000)))
    ]
    store.absorb(frames(rows, [])[0])
    assert store.counts()["card_id+terminal_id"]["keys"] == 7_000
    assert store.peek(rows[-1] | {"ts": rows[-1]["ts"] + 1}) == {"card_terminal_count_1d": 3.0}


@pytest.mark.parametrize("index", [0, 30, 60, 400, -40, -1])
def test_a_damaged_snapshot_is_refused(index):
    store, file = FeatureStore(CATALOGUE), io.BytesIO()
    observed(store, many(range(30)), [record("1", 9)])
    store.snapshot(file)
    damaged = bytearray(file.getvalue())
    damaged[index] ^= 1
    with pytest.raises(ScorerError, match="snapshot of a feature store"):
        FeatureStore.restore(io.BytesIO(damaged))


@pytest.mark.parametrize("cut", [0, 10, 100, 5_000, -1])
def test_a_truncated_snapshot_is_refused(cut):
    store, file = FeatureStore(CATALOGUE), io.BytesIO()
    observed(store, many(range(30)), [])
    store.snapshot(file)
    with pytest.raises(ScorerError, match="snapshot of a feature store"):
        FeatureStore.restore(io.BytesIO(file.getvalue()[:cut]))


def test_a_snapshot_of_other_rules_of_time_is_refused(monkeypatch):
    file = io.BytesIO()
    FeatureStore(CATALOGUE).snapshot(file)
    file.seek(0)
    monkeypatch.setattr("fraud3000.features.spec.catalogue.CONTRACT_VERSION", 99)
    with pytest.raises(ScorerError, match="other rules of time"):
        FeatureStore.restore(file)


def test_thirty_conditions_are_supported_and_sixty_are_refused():
    def catalogue(many_):
        wheres = [Condition("amount", "above", (float(than),)) for than in range(many_)]
        counts = [Window("card_id", "1d", "count", where=where) for where in wheres]
        return Catalogue((*counts, Window("card_id", "1d", "distinct", column="terminal_id")), label_delay=0)

    terminals = [None, "x", "y", "x"] * 8
    rows = [
        row | {"amount": amount, "terminal_id": terminal}
        for amount, (row, terminal) in enumerate(zip(many(range(30)), terminals, strict=False))
    ]
    for conditions in (27, 28, 30):  # the flags fit above a text's code, or just no longer fit
        store = FeatureStore(catalogue(conditions))
        assert observed(store, rows, []) == expected(rows, [], catalogue(conditions))
    with pytest.raises(ParamsError, match="60 different conditions"):
        FeatureStore(catalogue(60))
