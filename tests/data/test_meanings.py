from __future__ import annotations

import polars as pl
import pytest

from fraud3000.data.cleaning import value_mapping
from fraud3000.params import LabelFormat, StatusFormat


@pytest.mark.parametrize(
    "values",
    [
        pl.Series(["1", "0", ""]),
        pl.Series(["Yes", " no", "NULL"]),
        pl.Series([1, 0, None]),
        pl.Series([1.0, 0.0, None]),
        pl.Series([1.0, 0.0, float("nan")]),
        pl.Series([True, False, None]),
    ],
)
def test_labels_as_data_sets_write_them(values: pl.Series) -> None:
    is_fraud, labelled, faults = value_mapping.read_labels(values, LabelFormat())
    assert is_fraud.to_list() == [1, 0, None]
    assert labelled.to_list() == [True, True, False]
    assert not any(len(fault.rows) for fault in faults)


def test_lists_of_the_mapping_decide_and_1_0_counts_as_1() -> None:
    form = LabelFormat(fraud=("1",), legitimate=("G",), unlabelled=("?",))
    is_fraud, labelled, faults = value_mapping.read_labels(pl.Series(["1.0", "g", "?", "2", None]), form)
    assert is_fraud.to_list() == [1, 0, None, None, None]
    assert labelled.to_list() == [True, True, False, False, False]
    assert faults[0].rows.to_list() == [3, 4]
    assert faults[0].code == "label_unknown_value"


def test_status_values_and_otherwise() -> None:
    values = pl.Series(["Approved", "REVERSED", None, "declined", "refund", "odd"])
    status, faults = value_mapping.read_status(values, StatusFormat())
    assert status.to_list() == ["approved", "approved", "approved", "declined", "refund", None]
    assert faults[0].rows.to_list() == [5]
    assert value_mapping.read_status(values, StatusFormat(otherwise="declined"))[0][5] == "declined"


def test_negative_amounts_are_refunds_unless_declined_and_refunds_are_negative() -> None:
    amount = pl.Series([-5, 5, -5, 5, 0])
    status = pl.Series(["approved", "approved", "declined", "refund", "refund"])
    settled = value_mapping.normalise_refunds(amount, status)
    assert settled[0].to_list() == [-5, 5, -5, -5, 0]
    assert settled[1].to_list() == ["refund", "approved", "declined", "refund", "refund"]
    assert value_mapping.normalise_refunds(amount, None)[1].to_list() == [
        "refund",
        "approved",
        "refund",
        "approved",
        "approved",
    ]
