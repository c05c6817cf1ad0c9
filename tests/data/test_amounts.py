from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.data.cleaning import amounts
from fraud3000.errors import DataError
from fraud3000.params import AmountFormat


def minor(text: str, **form: object) -> int | None:
    return amounts.read(pl.Series([text]), AmountFormat.model_validate(form))[0].item()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$134.09", 13409),
        ("$-12.00", -1200),
        ("-$12.00", -1200),
        ("(12.00)", -1200),
        ("$(12.00)", -1200),
        ("($12.00)", -1200),
        ("12.00-", -1200),
        ("\u221212.00", -1200),
        ("+12", 1200),
        ("$1,234,567.8", 123456780),
        ("€ 5", 500),
        ("5 €", 500),
        ("US$5", 500),
        ("EUR 5.10", 510),
        ("5.10 USD", 510),
        ("-.5", -50),
        (" 7. ", 700),
    ],
)
def test_money_is_read_however_it_is_written(text: str, expected: int) -> None:
    assert minor(text) == expected


@pytest.mark.parametrize("text", ["1,23", "12,50", "1,2345.00", "--1", "-(1)", "$", "1 2", "1.2.3", "$1$", "(1", "abc"])
def test_what_is_no_amount_is_unreadable(text: str) -> None:
    values, faults = amounts.read(pl.Series([text]), AmountFormat())
    assert values.to_list() == [None]
    assert [fault.code for fault in faults if len(fault.rows)] == ["amount_unreadable"]


@given(st.integers(-(10**13), 10**13))
def test_grouped_and_signed_text_gives_back_every_amount(amount: int) -> None:
    whole, cents = divmod(abs(amount), 100)
    sign = "-" if amount < 0 else ""
    assert minor(f"{sign}${whole:,}.{cents:02}") == amount
    assert minor(f"${sign}{whole}.{cents:02}") == amount
    if amount < 0:
        assert minor(f"({whole:,}.{cents:02})") == amount


def test_minor_units_are_taken_as_they_are() -> None:
    assert minor("5716", unit="minor") == 5716
    assert minor("57.16", unit="minor") is None


def test_signs_of_several_currencies_are_refused_with_their_counts() -> None:
    with pytest.raises(DataError, match=r"several currencies, '\$' \(2\), '€' \(1\)"):
        amounts.check_one_currency([pl.Series(["$1", "$2"]), pl.Series(["€3", "4"])])
