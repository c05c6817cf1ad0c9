from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.data.reading import decimals
from fraud3000.errors import SchemaError

LIMIT = 10**13
MINOR = st.integers(-LIMIT, LIMIT)


def scaled(values: pl.Series, places: int = 2) -> list[int | None]:
    return decimals.scaled(values, places, LIMIT)[0].to_list()


def problem(value: object, dtype: pl.DataType | None = None) -> str | None:
    return decimals.scaled(pl.Series([value], dtype=dtype), 2, LIMIT)[1].item()  # type: ignore[no-any-return]


@given(st.lists(MINOR, min_size=1), st.integers(0, 4))
def test_floats_text_and_decimals_give_back_every_amount(amounts: list[int], places: int) -> None:
    exact = [Decimal(amount).scaleb(-places) for amount in amounts]
    assert scaled(pl.Series([float(amount) for amount in exact]), places) == amounts
    assert scaled(pl.Series([format(amount, "f") for amount in exact]), places) == amounts
    assert scaled(pl.Series([format(amount, "e") for amount in exact]), places) == amounts
    assert scaled(pl.Series(exact, dtype=pl.Decimal(20, places)), places) == amounts


@given(st.lists(st.integers(-(10**11), 10**11), min_size=1))
def test_integers_are_major_units(amounts: list[int]) -> None:
    assert scaled(pl.Series(amounts)) == [amount * 100 for amount in amounts]


@given(st.decimals(-(10**7), 10**7, places=4))
def test_more_decimals_than_there_are_is_a_problem_unless_they_are_zeros(value: Decimal) -> None:
    fits = value == round(value, 2)
    for given_value in (str(value), float(value)):
        assert (problem(given_value) is None) == fits


@pytest.mark.parametrize("amount", [17.13, 0.07, 1.1, 33.33, 24.59, 1.56, 0.47, 1.39, 0.019e3])
def test_the_noise_of_float_arithmetic_is_not_a_decimal(amount: float) -> None:
    noisy = amount * 5
    assert scaled(pl.Series([noisy])) == [round(amount * 500)]
    assert scaled(pl.Series([repr(noisy)])) == [round(amount * 500)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", decimals.MISSING),
        ("  ", decimals.MISSING),
        (None, decimals.MISSING),
        ("twelve", decimals.UNREADABLE),
        ("1,5", decimals.UNREADABLE),
        ("0x10", decimals.UNREADABLE),
        ("1_0", decimals.UNREADABLE),
        (".", decimals.UNREADABLE),
        ("NaN", decimals.NOT_FINITE),
        ("-inf", decimals.NOT_FINITE),
        (float("nan"), decimals.NOT_FINITE),
        (float("inf"), decimals.NOT_FINITE),
        ("0.005", decimals.DECIMALS),
        (0.005, decimals.DECIMALS),
        ("12.34000000000000000001", decimals.DECIMALS),
        ("1e-400", decimals.DECIMALS),
        ("100000000000.01", decimals.TOO_LARGE),
        ("1e400", decimals.TOO_LARGE),
        ("9" * 30, decimals.TOO_LARGE),
        (1e300, decimals.TOO_LARGE),
        (-(2**63), decimals.TOO_LARGE),
    ],
)
def test_each_problem_has_its_name(value: object, found: str) -> None:
    assert problem(value) == found


def test_the_greatest_amount_is_allowed() -> None:
    assert scaled(pl.Series(["100000000000.00", "-100000000000"])) == [LIMIT, -LIMIT]


def test_single_floats_are_read_while_they_are_exact() -> None:
    values = pl.Series([57.16, 83_886.07, 1_000_000.25], dtype=pl.Float32)
    assert scaled(values) == [5716, 8388607, None]


def test_null_columns_are_missing_and_other_types_are_refused() -> None:
    assert decimals.scaled(pl.Series([None]), 2, LIMIT)[1].to_list() == [decimals.MISSING]
    with pytest.raises(SchemaError, match="column 'when' is Date, not a number"):
        decimals.scaled(pl.Series("when", [None], dtype=pl.Date), 2, LIMIT)
