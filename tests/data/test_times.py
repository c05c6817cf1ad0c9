from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.data.reading import times
from fraud3000.errors import SchemaError
from fraud3000.params import TimeFormat

MOMENT = datetime(2018, 4, 1, 0, 0, 31, tzinfo=UTC)


def read(*columns: object, dtype: pl.DataType | None = None, **form: object) -> datetime | None:
    series = [pl.Series(str(place), [value], dtype=dtype) for place, value in enumerate(columns)]
    return times.read(series, TimeFormat.model_validate(form)).item()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "text",
    [
        "2018-04-01 00:00:31",
        "2018-04-01T00:00:31",
        "2018-04-01T00:00:31Z",
        "2018-04-01 00:00:31.000",
        "2018-04-01T02:00:31+02:00",
        "2018-04-01 02:00:31 +0200",
        "2018-04-01T02:00:31+02",
        "20180401T000031Z",
        " 2018-04-01 00:00:31 ",
    ],
)
def test_iso_text(text: str) -> None:
    assert read(text) == MOMENT


def test_iso_text_of_several_shapes_in_one_column() -> None:
    column = pl.Series(["2018-04-01", "2018-04-01 00:00", "2018-04-01T02:00:00.5+02:00", None, "soon"])
    midnight = datetime(2018, 4, 1, tzinfo=UTC)
    expected = [midnight, midnight, midnight + timedelta(seconds=0.5), None, None]
    assert times.read([column], TimeFormat()).to_list() == expected


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (1522540831, "epoch_s"),
        ("1522540831", "epoch_s"),
        (1522540831.0, "epoch_s"),
        ("1522540831000", "epoch_ms"),
        (1522540831000000, "epoch_us"),
    ],
)
def test_epoch(value: object, form: str) -> None:
    assert read(value, format=form) == MOMENT


def test_epoch_keeps_microseconds_and_may_lie_before_1970() -> None:
    assert read("1522540831.000001", format="epoch_s") == MOMENT + timedelta(microseconds=1)
    assert read(-1.5, format="epoch_s") == datetime(1969, 12, 31, 23, 59, 58, 500000, tzinfo=UTC)


@pytest.mark.parametrize("value", ["soon", "", None, "1e30", float("nan")])
def test_no_epoch_is_null(value: object) -> None:
    assert read(value, format="epoch_s") is None


def test_seconds_from_a_start_in_the_zone() -> None:
    assert read(31, format="seconds_from", start="2018-04-01T02:00:00", zone="Europe/Paris") == MOMENT
    assert read("31", format="seconds_from", start="2018-04-01T00:00:00+00:00", zone="Europe/Paris") == MOMENT


def test_several_columns_are_padded_and_joined() -> None:
    assert read(2002, 9, 1, "6:21", format="%Y %m %d %H:%M") == datetime(2002, 9, 1, 6, 21, tzinfo=UTC)
    assert read("2002", "09", "1", "06:21", format="%Y %m %d %H:%M") == datetime(2002, 9, 1, 6, 21, tzinfo=UTC)
    assert read(2002.0, 9.0, 1.0, "06:21", format="%Y %m %d %H:%M") == datetime(2002, 9, 1, 6, 21, tzinfo=UTC)
    assert read("2018-04-01", "00:00:31") == MOMENT
    assert read("2018-04-01", None) is None


def test_a_pattern_with_an_offset_and_one_without_time() -> None:
    assert read("01/04/2018 02:00:31 +0200", format="%d/%m/%Y %H:%M:%S %z") == MOMENT
    assert read("01/04/2018", format="%d/%m/%Y", zone="Europe/Paris") == datetime(2018, 3, 31, 22, tzinfo=UTC)


def test_typed_columns_are_taken_whatever_the_format_says() -> None:
    naive = MOMENT.replace(tzinfo=None)
    assert read(naive, dtype=pl.Datetime("ns"), format="epoch_s") == MOMENT
    assert read(naive, dtype=pl.Datetime("ms"), zone="Europe/Paris") == MOMENT - timedelta(hours=2)
    assert read(MOMENT, dtype=pl.Datetime("us", "Asia/Tokyo"), zone="Europe/Paris") == MOMENT
    assert read(date(2018, 4, 1)) == datetime(2018, 4, 1, tzinfo=UTC)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_local_times_are_read_as_python_reads_them_with_fold_0(local: datetime, zone: str) -> None:
    assert read(local, zone=zone) == local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def test_twice_and_never_occurring_times_are_settled() -> None:
    assert read("2018-10-28 02:30:00", zone="Europe/Paris") == datetime(2018, 10, 28, 0, 30, tzinfo=UTC)
    assert read("2018-03-25 02:30:00", zone="Europe/Paris") == datetime(2018, 3, 25, 1, 30, tzinfo=UTC)


def test_outside_is_half_open() -> None:
    series = pl.Series([MOMENT - timedelta(microseconds=1), MOMENT, MOMENT + timedelta(days=1), None])
    later = (MOMENT + timedelta(days=1)).astimezone(timezone(timedelta(hours=3)))
    assert times.outside_range(series, MOMENT.replace(tzinfo=None), later).to_list() == [True, False, True, None]


def test_nested_columns_are_refused() -> None:
    with pytest.raises(SchemaError, match="not a time"):
        read([1])
