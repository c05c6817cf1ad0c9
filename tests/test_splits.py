"""Splits by time with gaps, and the cards left out of evaluation."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.labels import splits
from fraud3000.params import SplitParams

WEEK = timedelta(days=7)
NONE = timedelta(0)


def day(number: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def daily(days: int) -> pl.DataFrame:
    return pl.DataFrame({"transaction_id": [str(n) for n in range(days)], "ts": [day(n) for n in range(days)]})


def test_fractions_share_what_is_left_after_burn_in_and_gaps():
    split = splits.assign(daily(100), SplitParams(), label_delay=WEEK, burn_in=timedelta(days=20))
    bounds = split.boundaries
    assert split.counts == {"history": 20, "train": 40, "gap": 14, "valid": 13, "test": 13}
    assert bounds.train[0] == day(20)
    assert bounds.valid[0] - bounds.train[1] == WEEK
    assert bounds.test[0] - bounds.valid[1] == WEEK
    assert bounds.as_of == bounds.test[0]


def test_a_short_gap_lets_no_label_of_the_test_span_in():
    params = SplitParams(gap=timedelta(days=1))
    bounds = splits.assign(daily(100), params, label_delay=WEEK, burn_in=NONE).boundaries
    assert bounds.test[0] - bounds.valid[1] == timedelta(days=1)
    assert bounds.as_of == bounds.test[0]


def test_dates_allow_validation_before_training():
    params = SplitParams(by="dates", valid=(day(0), day(7)), train=(day(14), day(21)), test=(day(28), day(35)))
    split = splits.assign(daily(40), params, label_delay=WEEK, burn_in=NONE)
    bounds = split.boundaries
    assert split.counts == {"train": 7, "gap": 19, "valid": 7, "test": 7}
    assert bounds.as_of == day(28)
    assert splits.Boundaries.from_dict(bounds.to_dict()) == bounds


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        ({"train": (0, 7), "valid": (8, 14), "test": (28, 35)}, "valid starts 2024-01-09"),
        ({"train": (0, 7), "valid": (30, 35), "test": (14, 20)}, "test must be the last"),
    ],
)
def test_dates_too_close_or_out_of_order_are_refused(spans, told):
    params = SplitParams(by="dates", **{part: (day(a), day(b)) for part, (a, b) in spans.items()})
    with pytest.raises(ParamsError, match=told):
        splits.assign(daily(40), params, label_delay=WEEK, burn_in=NONE)


def test_a_span_without_transactions_is_told():
    params = SplitParams(by="dates", train=(day(0), day(7)), valid=(day(14), day(20)), test=(day(60), day(70)))
    with pytest.raises(EmptyDataError, match=r"no transactions in test, \[2024-03-01"):
        splits.assign(daily(40), params, label_delay=WEEK, burn_in=NONE)


def test_too_little_time_for_burn_in_and_gaps_is_told():
    with pytest.raises(ParamsError, match="are too few for a burn-in of"):
        splits.assign(daily(20), SplitParams(), label_delay=WEEK, burn_in=WEEK)


def test_random_is_seeded_and_independent_of_row_order():
    params = SplitParams(by="random")
    rows = daily(50).drop("ts")
    split = splits.assign(rows, params, label_delay=WEEK, burn_in=NONE)
    assert split.counts == {"train": 30, "valid": 10, "test": 10}
    assert split.boundaries.as_of is None
    backwards = splits.assign(rows.reverse(), params, label_delay=WEEK, burn_in=NONE)
    assert backwards.split_column(rows.reverse()).reverse().to_list() == split.split_column(rows).to_list()


@pytest.mark.parametrize("by", ["time", "random"])
def test_rows_that_come_in_pieces_belong_where_they_do_as_a_whole(by):
    rows = daily(50) if by == "time" else daily(50).drop("ts")
    split = splits.assign(rows.lazy(), SplitParams(by=by), label_delay=WEEK, burn_in=NONE)
    parts = [split.split_column(rows.slice(start, 7), start) for start in range(0, 50, 7)]
    assert pl.concat(parts).equals(split.split_column(rows))
    assert dict(split.split_column(rows).value_counts().iter_rows()) == split.counts


def test_time_asked_of_data_without_time_is_refused():
    with pytest.raises(ParamsError, match=r"featurize\.split\.by"):
        splits.assign(daily(9).drop("ts"), SplitParams(), label_delay=WEEK, burn_in=NONE)


def test_a_random_split_of_data_with_time_is_refused():
    with pytest.raises(ParamsError, match=r"featurize\.split\.by: 'random' is only for data without time"):
        splits.assign(daily(50), SplitParams(by="random"), label_delay=WEEK, burn_in=NONE)


def test_cards_leave_evaluation_once_their_fraud_is_known():
    bounds = splits.Boundaries(train=(day(0), day(7)), valid=None, test=(day(14), day(21)), as_of=day(14))
    rows = pl.DataFrame(
        {
            "card_id": ["trained", "gap", "late", "trained", "gap", "gap", "late"],
            "ts": [day(3), day(7), day(12), day(14), day(14), day(15), day(19)],
        }
    )
    is_fraud = pl.Series([1, 1, 1, 0, 0, 0, 0])
    left_out = splits.known_compromised(rows, is_fraud, bounds, WEEK)
    assert left_out.to_list() == [True, False, False, True, False, True, False]
    left_out = splits.known_compromised(rows, is_fraud, bounds, WEEK, since=day(4).replace(tzinfo=None))
    assert left_out.to_list() == [False, False, False, False, False, True, False]


def test_a_final_model_learns_up_to_the_day_and_keeps_validation_before_training_where_it_lies():
    split = splits.Boundaries((day(7), day(20)), (day(0), day(5)), (day(22), day(30)), as_of=day(22))
    final = splits.final_boundaries(split, day(35), timedelta(days=2))
    assert (final.train, final.valid, final.test, final.as_of) == ((day(7), day(33)), split.valid, None, day(35))


def test_without_newer_rows_there_is_no_final_model():
    split = splits.Boundaries((day(0), day(5)), (day(7), day(10)), (day(12), day(15)), as_of=day(12))
    with pytest.raises(ParamsError, match="which is not after the split's validation"):
        splits.final_boundaries(split, day(12), timedelta(days=2))
