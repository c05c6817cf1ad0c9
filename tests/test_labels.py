"""Labels as known at a moment: maturity, records, precedence, silence."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud3000.labels import visibility
from fraud3000.schema import LEDGER, TIME

DELAY = timedelta(days=7)


def day(number: int | None) -> datetime | None:
    return None if number is None else datetime(2024, 1, number, tzinfo=UTC)


def transaction(**changes: object) -> pl.DataFrame:
    row = {
        "transaction_id": "a",
        "ts": day(1),
        "status": "approved",
        "labelled": True,
        "is_fraud": None,
        "reported_at": None,
    }
    schema = {"ts": TIME, "is_fraud": pl.Int8, "reported_at": TIME}
    return pl.DataFrame([{**row, **changes}], schema_overrides=schema)


def records(*told: tuple[int, str, int | None, int]) -> pl.DataFrame:
    rows = [("a", is_fraud, source, day(reported), day(recorded)) for is_fraud, source, reported, recorded in told]
    return pl.DataFrame(rows, schema=LEDGER, orient="row")


def known(at: int, transactions: pl.DataFrame, ledger: pl.DataFrame, precedence: tuple[str, ...] = ()) -> int | None:
    return visibility.known_at(transactions, ledger, day(at), label_delay=DELAY, precedence=precedence).item()


@pytest.mark.parametrize(("at", "expected"), [(8, None), (9, 0)])
def test_silence_is_presumed_legitimate_only_after_the_delay(at, expected):
    assert known(at, transaction(), records()) == expected


@pytest.mark.parametrize("change", [{"status": "declined"}, {"labelled": False}])
def test_declined_and_unlabelled_rows_stay_unknown_until_a_source_speaks(change):
    assert known(30, transaction(**change), records()) is None
    assert known(30, transaction(**change), records((0, "analyst", None, 9))) == 0
    assert known(30, transaction(**change), records((1, "chargeback", None, 9))) == 1


@pytest.mark.parametrize(("at", "expected"), [(9, 0), (12, 0), (13, 1), (20, 1), (21, 0)])
def test_a_chargeback_turns_the_label_and_a_reversal_turns_it_back(at, expected):
    ledger = records((1, "chargeback", 12, 12), (0, "chargeback", 20, 20))
    assert known(at, transaction(), ledger) == expected


def test_a_record_before_maturity_stays_unknown_until_then():
    ledger = records((1, "file", 2, 2))
    assert known(8, transaction(), ledger) is None
    assert known(9, transaction(), ledger) == 1


def test_the_most_trusted_source_decides_whatever_came_later():
    ledger = records((0, "analyst", None, 9), (1, "chargeback", None, 12))
    assert known(30, transaction(), ledger) == 1
    assert known(30, transaction(), ledger, ("analyst",)) == 0


def test_equal_records_are_decided_by_report_then_by_place():
    assert known(30, transaction(), records((1, "x", 3, 9), (0, "x", 2, 9))) == 1
    assert known(30, transaction(), records((1, "x", 3, 9), (0, "x", None, 9))) == 1
    assert known(30, transaction(), records((1, "x", 3, 9), (0, "x", 3, 9))) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"is_fraud": 1}, [(1, None, day(8))]),
        ({"is_fraud": 1, "reported_at": day(20)}, [(1, day(20), day(20))]),
        ({"is_fraud": 1, "reported_at": day(2)}, [(1, day(2), day(8))]),
        ({"is_fraud": 0, "reported_at": day(20)}, [(0, day(20), day(20))]),
        ({"is_fraud": 0}, []),
        ({"is_fraud": None, "reported_at": day(20)}, []),
    ],
)
def test_which_rows_make_a_record_and_when_it_was_recorded(change, expected):
    ledger = visibility.ledger_from_rows(transaction(**change), DELAY)
    assert ledger.select("is_fraud", "reported_at", "recorded_at").rows() == expected
    assert ledger.schema == pl.Schema(LEDGER)


def test_without_time_every_label_is_known():
    transactions = transaction(is_fraud=1).drop("ts")
    ledger = visibility.ledger_from_rows(transactions, DELAY)
    assert visibility.known_at(transactions, ledger, None, label_delay=DELAY).to_list() == [1]
    assert visibility.known_at(transactions, records(), None, label_delay=DELAY).to_list() == [0]
