"""What is sent, and what is not."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud3000.client import payloads
from fraud3000.errors import DataError


def sent(**fields: Any) -> Any:
    return json.loads(payloads.single("transactions", fields).content)


@pytest.mark.parametrize(
    ("given", "as_sent"),
    [
        (5716, 5716),
        (-5716, -5716),
        (2**80, 2**80),
        (np.int64(5716), 5716),
        (Decimal(5716), 5716),
        ("57.16", "57.16"),
        (None, None),
    ],
)
def test_an_amount_is_an_integer_or_left_to_the_service(given: Any, as_sent: Any) -> None:
    assert sent(amount=given) == {"amount": as_sent}


@pytest.mark.parametrize(
    "given",
    [
        57.16,
        57.0,
        np.float64(57),
        np.float32(57),
        Decimal("57.16"),
        Decimal("57.00"),
        Decimal("5E+2"),
        Decimal("NaN"),
        True,
        [1],
    ],
)
def test_an_amount_that_may_be_of_other_units_is_refused(given: Any) -> None:
    with pytest.raises(DataError, match=r"^transaction 'a': amount: .* is a ") as raised:
        sent(transaction_id="a", amount=given)
    assert raised.value.hint == "Amounts are integers in minor units: 57.16 is sent as 5716."


def test_times_have_an_offset() -> None:
    summer = timezone(timedelta(hours=2))
    assert sent(ts=datetime(2025, 7, 21, 9, 30, 0, 5, summer)) == {"ts": "2025-07-21T09:30:00.000005+02:00"}
    assert sent(ts=datetime(2025, 7, 21, tzinfo=UTC)) == {"ts": "2025-07-21T00:00:00+00:00"}
    assert sent(ts="2025-07-21T09:30:00") == {"ts": "2025-07-21T09:30:00"}, "text is left to the service"
    for naive in (datetime(2025, 7, 21, 9, 30), np.datetime64("2025-07-21T09:30:00")):
        with pytest.raises(DataError, match=r"^the transaction: ts: 2025-07-21 09:30:00 has no UTC offset") as raised:
            sent(ts=naive)
        assert "replace(tzinfo=UTC)" in str(raised.value)


def test_other_fields() -> None:
    fields = {
        "lat": Decimal("48.5"),
        "long": np.float64(2.5),
        "new": np.bool_(True),
        "category": "café ☕",
        "status": None,
    }
    assert sent(**fields) == {"lat": 48.5, "long": 2.5, "new": True, "category": "café ☕", "status": None}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "lat: nan is not a finite number"),
        (Decimal("Infinity"), "lat: Infinity is not a finite number"),
        (date(2025, 7, 21), "lat: a date is not supported"),
        ({"a": 1}, "lat: a dict is not supported"),
        (b"1", "lat: a bytes is not supported"),
        ("\ud800", "contains invalid Unicode"),
    ],
)
def test_what_json_has_no_form_for(value: Any, told: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"transaction 'a' (item 2): {told}")):
        payloads.batches("transactions", [{"transaction_id": "b"}, {"transaction_id": "a", "lat": value}])


def test_what_is_no_item() -> None:
    with pytest.raises(DataError, match="transaction 1 is a str, not a dict"):
        payloads.batches("transactions", "abc")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="label 2 is a tuple, not a dict"):
        payloads.batches("labels", [{}, ("a",)])  # type: ignore[list-item]


def test_rows_of_a_frame() -> None:
    frame = pl.DataFrame(
        {"transaction_id": ["1", "2"], "ts": [datetime(2025, 7, 21, tzinfo=UTC)] * 2, "amount": [1, 2]}
    )
    [piece] = payloads.batches("transactions", frame.iter_rows(named=True))
    assert [one["amount"] for one in json.loads(piece.content)["transactions"]] == [1, 2]


def test_pieces_are_full_and_in_order() -> None:
    rows = [{"transaction_id": str(number)} for number in range(10)]
    by_rows = payloads.batches("transactions", rows, rows=4)
    assert [len(piece.items) for piece in by_rows] == [4, 4, 2]
    assert [one for piece in by_rows for one in json.loads(piece.content)["transactions"]] == rows
    one = len('{"transaction_id":"0"},')
    by_size = payloads.batches("transactions", rows, size=3 * one)
    assert [len(piece.items) for piece in by_size] == [3, 3, 3, 1]
    assert [len(piece.items) for piece in payloads.batches("transactions", rows, size=1)] == [1] * 10, "one goes alone"
    assert payloads.batches("transactions", []) == []
