"""The oracle against values worked out by hand: one small stream for each rule of time."""

import math

import pytest

from fraud3000.features.spec.base import Condition
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import (
    Calendar,
    Column,
    FromHome,
    FromLast,
    LabelWindow,
    NotSeen,
    Shift,
    SinceLast,
    Versus,
    Window,
)
from tests import oracle
from tests.streams import CATALOGUE, PAIR, record, transactions

TRAVEL, REFUNDED = Condition("category", "is", ("travel",)), Condition("status", "is", ("refund",))


def values(feature, *rows, records=(), late_horizon=100, precedence=()):
    """Compute a feature of each row, with a label delay of two seconds."""
    catalogue = Catalogue(
        (feature,), label_delay=2, late_horizon=late_horizon, zone="Europe/Paris", precedence=precedence
    )
    return [result[feature.name] for result in oracle.features(transactions(*rows), list(records), catalogue)]


def amounts(*values, **common):
    return [{"at": at, "amount": amount, **common} for at, amount in enumerate(values)]


def test_a_window_begins_at_its_length_and_ends_before_the_moment():
    rows = [{"at": at} for at in (0, 0.000001, 3, 3)]
    assert values(Window("card_id", "3s", "count"), *rows) == [0, 1, 2, 2]


def test_a_delay_moves_both_ends():
    rows = [{"at": at} for at in (0, 1, 3, 3.000001, 5, 5.000001)]
    assert values(Window("card_id", "2s", "count", delay="3s"), *rows) == [0, 0, 0, 1, 2, 1]


def test_a_bucket_is_seen_when_it_has_closed_and_as_a_whole():
    rows = [{"at": at} for at in (1, 3, 3.999999, 4, 7.999999, 8)]
    assert values(Window("card_id", "4s", "count", bucket="4s"), *rows) == [0, 0, 0, 3, 3, 2]
    assert values(Window("card_id", "2s", "count", bucket="4s"), *rows) == [0, 0, 0, 3, 0, 2]
    rows = [{"at": at} for at in (3, 4, 8, 9, 12)]
    assert values(Window("card_id", "4s", "count", delay="1s", bucket="4s"), *rows) == [0, 0, 1, 1, 1]


def test_what_arrives_later_is_not_seen_though_it_happened_before():
    rows = [{"at": 5}, {"at": 3}, {"at": 4}, {"at": 6}]
    assert values(Window("card_id", "9s", "count"), *rows) == [0, 0, 1, 3]


def test_a_bucket_is_seen_by_those_that_arrive_after_its_late_events():
    rows = [{"at": 1}, {"at": 5}, {"at": 2}, {"at": 6}]
    assert values(Window("card_id", "4s", "count", bucket="4s"), *rows) == [0, 1, 0, 2]


def test_an_event_beyond_the_late_horizon_has_no_features_and_is_not_kept():
    rows = [{"at": 10}, {"at": 6}, {"at": 5.999999}, {"at": 11}, {"at": 6, "card_id": "b"}]
    assert values(Window("card_id", "9s", "count"), *rows, late_horizon=4) == [0, 0, None, 2, 0]


def test_a_key_without_a_part_has_no_features_and_is_not_kept():
    rows = [{"at": 0}, {"at": 1, "terminal_id": None}, {"at": 2}]
    assert values(Window("card_id", "9s", "count"), *rows) == [0, 1, 2]
    assert values(Window(PAIR, "9s", "count"), *rows) == [0, None, 1]
    assert values(NotSeen(PAIR, "9s"), *rows) == [True, None, False]


def test_counts_take_declined_events_and_amounts_approved_ones_alone():
    rows = [{"at": at, "status": status} for at, status in enumerate(("approved", "declined", "refund", "approved"))]
    assert values(Window("card_id", "9s", "count"), *rows)[-1] == 2
    assert values(Window("card_id", "9s", "sum"), *rows)[-1] == 100


def test_sums_are_zero_over_nothing_and_all_else_is_undefined():
    result = [values(Window("card_id", "9s", agg), {"at": 0})[0] for agg in ("sum", "mean", "max", "min", "std")]
    assert result == [0, None, None, None, None]


def test_aggregates_of_the_amount():
    rows = amounts(1, 2, 6, 0)
    assert [values(Window("card_id", "9s", agg), *rows)[-1] for agg in ("sum", "mean", "max", "min")] == [9, 3, 6, 1]
    assert values(Window("card_id", "9s", "std"), *rows)[-2:] == [math.sqrt(0.5), math.sqrt(7)]


def test_a_deviation_is_of_whole_numbers_and_cancels_nothing():
    assert values(Window("card_id", "9s", "std"), *amounts(10**13, 10**13 + 2, 0))[-1] == math.sqrt(2)


def test_a_numeric_column_is_taken_in_steps_of_a_ten_thousandth():
    rows = [{"at": at, "risk": risk} for at, risk in enumerate((0.12344, float("nan"), None, 2e9, 0.12356, 0.5))]
    assert values(Window("card_id", "9s", "sum", column="risk"), *rows)[-1] == 0.247
    assert values(Window("card_id", "9s", "min", column="risk"), *rows)[-1] == 0.1234
    assert values(Versus("card_id", "9s", "ratio", column="risk"), *rows)[-2:] == [1236 / 1234, 5000 / 1235]


def test_ratio_and_deviations_from_the_mean():
    rows = amounts(1, 3, 8)
    assert values(Versus("card_id", "9s", "ratio"), *rows) == [None, 3, 4]
    assert values(Versus("card_id", "9s", "zscore"), *rows) == [None, None, 6 / math.sqrt(2)]
    assert values(Versus("card_id", "9s", "ratio"), *amounts(0, 3))[-1] is None
    assert values(Versus("card_id", "9s", "zscore"), *amounts(2, 2, 3))[-1] is None


def test_a_window_over_the_mean_of_a_longer_one():
    rows = amounts(2, 4, 9, 1)
    assert values(Shift("card_id", "1s", "max", "9s"), *rows) == [None, 1, 4 / 3, 9 / 5]
    assert values(Shift("card_id", "2s", "mean", "9s"), *rows) == [None, 1, 1, 6.5 / 5]
    assert values(Shift("card_id", "1s", "max", "9s"), *amounts(0, 3))[-1] is None
    assert values(Shift("card_id", "1s", "std", "9s"), *rows)[-1] is None


def test_different_texts_are_counted_up_to_the_cap():
    rows = [{"at": at, "terminal_id": name} for at, name in enumerate(("x", None, "y", "x", "z", "x"))]
    assert values(Window("card_id", "9s", "distinct", column="terminal_id"), *rows) == [0, 1, 1, 2, 2, 3]
    assert values(Window("card_id", "9s", "distinct", column="terminal_id", cap=2), *rows)[-1] == 2


def test_a_condition_takes_no_event_without_the_value():
    rows = [{"at": at, "category": name} for at, name in enumerate(("travel", None, "food", "travel", "food"))]
    assert values(Window("card_id", "9s", "count", where=TRAVEL), *rows)[-1] == 2
    assert values(Window("card_id", "9s", "share", where=TRAVEL), *rows) == [None, 1, 1 / 2, 1 / 3, 2 / 4]
    either = Condition("category", "is", ("travel", "food"))
    assert values(Window("card_id", "9s", "count", where=either), *rows)[-1] == 3


@pytest.mark.parametrize(("how", "taken"), [("above", 1), ("at_least", 2), ("below", 1), ("at_most", 2)])
def test_conditions_on_numbers(how, taken):
    where = Condition("amount", how, (5.0,))
    assert values(Window("card_id", "9s", "count", where=where), *amounts(4, 5, 6, 0))[-1] == taken
    rows = [{"at": at, "risk": risk} for at, risk in enumerate((4.0, 5.0, 6.0, float("nan"), None, 0.0))]
    where = Condition("risk", how, (5.0,))
    assert values(Window("card_id", "9s", "count", where=where), *rows)[-1] == taken


def test_a_condition_on_the_status_alone_decides_about_it():
    rows = [{"at": at, "status": status} for at, status in enumerate(("approved", "declined", "refund", "approved"))]
    assert values(Window("card_id", "9s", "count", where=REFUNDED), *rows)[-1] == 1
    assert values(Window("card_id", "9s", "sum", where=REFUNDED), *rows)[-1] == 100
    assert values(Window("card_id", "9s", "share", where=REFUNDED), *rows)[-1] == 1 / 3


def test_the_last_event_is_the_last_by_time_that_is_no_refund():
    rows = [{"at": 3, "terminal_location": (1.0, 0.0)}, {"at": 1}, {"at": 4, "status": "refund"}, {"at": 5}]
    assert values(SinceLast("card_id", "9s"), *rows) == [None, None, 1, 2]
    assert values(NotSeen("card_id", "2s"), *rows) == [True, True, False, False]
    assert values(FromLast("card_id", "9s", "distance"), *rows)[-1] == 111.195
    assert values(FromLast("card_id", "9s", "speed"), *rows)[-1] == 111_195 * 3.6 / 2


def test_a_missing_coordinate_gives_no_distance():
    rows = [
        {"at": 0},
        {"at": 1, "terminal_location": (None, 0.0)},
        {"at": 2},
        {"at": 3, "card_location": (0.0, float("nan"))},
    ]
    assert values(FromLast("card_id", "9s", "distance"), *rows) == [None, None, None, 0]
    assert values(FromHome(), *rows) == [0, None, 0, None]
    assert values(
        FromHome(), {"at": 0, "card_location": (48.8566, 2.3522), "terminal_location": (51.5074, -0.1278)}
    ) == [343.557]


def test_a_label_is_unknown_until_its_delay_has_passed_and_presumed_legitimate_then():
    rows = [{"at": at} for at in (0, 2, 2.000001)]
    assert values(LabelWindow("card_id", "9s", "labelled", delay="2s"), *rows) == [0, 0, 1]


def test_a_record_speaks_after_its_moment_until_the_next_one():
    rows = [{"at": at} for at in (0, 3, 3.000001, 5, 5.000001)]
    label_records = [record("0", 3), record("0", 5, is_fraud=0)]
    assert values(LabelWindow("card_id", "9s", "frauds", delay="2s"), *rows, records=label_records) == [0, 0, 1, 1, 0]
    assert values(LabelWindow("card_id", "9s", "rate", delay="2s"), *rows, records=label_records) == [None, 0, 1, 1, 0]
    smoothed = LabelWindow("card_id", "9s", "smoothed", delay="2s", prior=0.25, strength=4)
    assert values(smoothed, *rows, records=label_records)[3:] == [(1 + 1) / (1 + 4), (0 + 1) / (2 + 4)]


@pytest.mark.parametrize(
    ("label_records", "fraud"),
    [
        ([record("0", 3, 1, "analyst"), record("0", 4, 0, "file")], 1),
        ([record("0", 3, 1, "file"), record("0", 4, 0, "desk")], 0),
        ([record("0", 4, 1, "file", reported=1), record("0", 4, 0, "file")], 1),
        ([record("0", 4, 1, "file", reported=1), record("0", 4, 0, "file", reported=2)], 0),
        ([record("0", 4, 1, "file"), record("0", 4, 0, "desk")], 0),
        ([record("0", -9), record("1", 3, 0)], 1),
    ],
)
def test_what_decides_between_records(label_records, fraud):
    rows = [{"at": 0}, {"at": 9}]
    frauds = LabelWindow("card_id", "9s", "frauds", delay="2s")
    assert values(frauds, *rows, records=label_records, precedence=("analyst",))[-1] == fraud


def test_declined_and_unlabelled_events_are_unknown_unless_a_record_speaks():
    rows = [{"at": 0, "status": "declined"}, {"at": 1, "labelled": False}, {"at": 2, "status": "refund"}, {"at": 9}]
    labelled = LabelWindow("card_id", "9s", "labelled", delay="2s")
    assert values(labelled, *rows)[-1] == 0
    assert values(labelled, *rows, records=[record("0", 3), record("1", 3), record("2", 3)])[-1] == 2


@pytest.mark.parametrize(
    ("at", "hour", "weekday", "night", "weekend"),
    [
        (1_711_846_799, 1, 6, True, True),  # 2024-03-31 00:59:59 UTC, a second before the clock goes forward in Paris
        (1_711_846_800, 3, 6, True, True),
        (1_729_990_799, 2, 6, True, True),  # 2024-10-27 00:59:59 UTC, a second before it goes back
        (1_729_990_800, 2, 6, True, True),
        (1_709_204_400, 12, 3, False, False),  # 2024-02-29 11:00 UTC, a leap day
        (1_704_668_400, 0, 0, True, False),  # 2024-01-07 23:00 UTC
    ],
)
def test_calendars_are_local(at, hour, weekday, night, weekend):
    result = [values(Calendar(part), {"at": at})[0] for part in ("hour", "weekday", "night", "weekend")]
    assert result == [hour, weekday, night, weekend]


def test_columns_pass_through():
    rows = [{"at": 0, "risk": float("nan")}, {"at": 1, "risk": None}, {"at": 2, "risk": 0.1}]
    assert values(Column("risk"), *rows) == [None, None, 0.1]
    assert values(Column("category", categorical=True), {"at": 0, "category": None}) == [None]
    assert values(Column("amount"), {"at": 0, "amount": 10**13}) == [1e13]


def test_the_catalogue_of_streams_has_every_kind():
    from fraud3000.features.spec.kinds import KINDS

    assert {type(feature).__name__ for feature in CATALOGUE.features} == set(KINDS)
