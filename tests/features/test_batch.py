"""The batch engine against the oracle, cell by cell, on streams that hit every edge."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings

from fraud3000.errors import SchemaError
from fraud3000.features.batch import batch_engine
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Calendar, Column, FromHome
from fraud3000.schema import LEDGER, TIME
from tests import oracle
from tests.streams import CATALOGUE, REGRESSIONS, frames, record, streams, transactions


def assert_equal(features: pl.DataFrame, stream) -> None:
    """Compare values bit by bit, and types."""
    expected = oracle.features(*stream, CATALOGUE)
    for row, computed, reference in zip(stream[0], features.to_dicts(), expected, strict=True):
        for name, value in reference.items():
            message = f"row {row['transaction_id']}, {name}: {computed[name]!r} instead of {value!r}"
            assert (type(computed[name]), computed[name]) == (type(value), value), message


def featurize(stream) -> pl.DataFrame:
    return batch_engine.featurize(*frames(*stream), CATALOGUE)


@settings(max_examples=50, deadline=None)
@given(streams())
def test_every_cell_equals_the_oracle(stream):
    assert_equal(featurize(stream), stream)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(streams(rows=40, records=30))
def test_every_cell_of_many_longer_streams_equals_the_oracle(stream):
    assert_equal(featurize(stream), stream)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_fixed_bugs_stay_fixed(name):
    assert_equal(featurize(REGRESSIONS[name]), REGRESSIONS[name])


def test_rows_are_returned_in_their_own_order():
    rows = transactions(*({"at": at} for at in (3, 1, 2)))
    features = featurize((rows, [])).drop("history_days").rows()
    assert featurize((rows[::-1], [])).drop("history_days").rows() == features[::-1]


@settings(max_examples=10, deadline=None)
@given(streams())
def test_rows_outside_the_output_mask_serve_as_history(stream):
    rows, ledger = frames(*stream)
    output_mask = pl.Series([index % 3 == 0 for index in range(rows.height)], dtype=pl.Boolean)
    features = batch_engine.featurize(rows, ledger, CATALOGUE, output_mask=output_mask)
    assert features.equals(batch_engine.featurize(rows, ledger, CATALOGUE).filter(output_mask))


def test_empty_frames_give_empty_features():
    assert featurize(([], [])).columns == ["history_days", *CATALOGUE.names]


def test_columns_that_the_catalogue_needs_are_named():
    rows, ledger = frames([], [])
    with pytest.raises(SchemaError, match="column 'terminal_id' is missing"):
        batch_engine.featurize(rows.drop("terminal_id"), ledger, CATALOGUE)


def test_data_without_time_has_features_that_need_no_time():
    rows, ledger = frames(transactions({"at": 0}), [])
    catalogue = Catalogue((Column("amount"),), label_delay=2)
    assert batch_engine.featurize(rows.drop("ts"), ledger, catalogue).to_dicts() == [{"amount": 100.0}]


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"])
def test_calendar_features_use_the_local_zone(zone):
    """Every half hour of the days on which clocks change somewhere, of leap days and of turns of the year."""
    parts = tuple(Calendar(part) for part in ("hour", "weekday", "night", "weekend"))
    catalogue = Catalogue(parts, label_delay=2, zone=zone)
    days = (
        (2024, 2, 29),
        (2024, 3, 31),
        (2024, 4, 6),
        (2024, 10, 5),
        (2024, 10, 27),
        (2018, 11, 4),
        (2023, 12, 31),
        (2100, 2, 28),
    )
    starts = [datetime(*day, tzinfo=UTC).timestamp() for day in days]
    rows = transactions(*({"at": start + 1_800 * step} for start in starts for step in range(72)))
    assert batch_engine.featurize(*frames(rows, []), catalogue).drop("history_days").to_dicts() == oracle.features(
        rows, [], catalogue
    )


def test_a_missing_coordinate_gives_no_distance():
    frame = pl.DataFrame(
        {"card_lat": [48.0, None], "card_long": [2.0, 2.0], "terminal_lat": [48.0, 48.0], "terminal_long": [2.0, 2.0]}
    )
    features = batch_engine.featurize(frame, pl.DataFrame(schema=LEDGER), Catalogue((FromHome(),), label_delay=2))
    assert features["home_distance"].to_list() == [0.0, None]


def test_a_label_recorded_at_t_is_not_known_at_t_even_to_a_row_out_of_order():
    rows = transactions(*({"at": at} for at in (0, 5, 3)))  # the last arrives after one that it precedes
    for recorded_at, frauds in ((5, 0.0), (4, 1.0)):
        stream = (rows, [record("0", recorded_at)])
        assert featurize(stream)["card_terminal_frauds_4s_delayed_2s_by_3s"].to_list()[1] == frauds
        assert_equal(featurize(stream), stream)


def test_history_days_count_from_the_first_transaction_of_the_frame():
    rows = transactions({"at": 0}, {"at": 43_200, "card_id": "b"})
    assert featurize((rows, []))["history_days"].to_list() == [0.0, 0.5]
    assert frames(rows, [])[0].schema["ts"] == TIME
