from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.data.cleaning import ids
from fraud3000.errors import SchemaError


def codes(*columns: pl.Series) -> list[str]:
    return [fault.code for fault in ids.read(columns, "card_id")[1] if len(fault.rows)]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_keep_every_digit(values: list[int]) -> None:
    expected = [str(value) for value in values]
    assert ids.read([pl.Series(values, dtype=pl.Int64)], "card_id")[0].to_list() == expected
    assert ids.read([pl.Series(expected)], "card_id")[0].to_list() == expected


@given(st.text("0123456789abcdef", min_size=8, max_size=32).filter(lambda text: not text.isspace()))
def test_hex_hashes_are_ids_even_when_they_look_like_powers(text: str) -> None:
    assert ids.read([pl.Series([text])], "card_id")[0].to_list() == [text]


@pytest.mark.parametrize("text", ["1.23E+15", "1.23e15", "123.0", "4E+15", "-1.5", ".5"])
def test_text_in_float_notation_is_not_exact(text: str) -> None:
    assert codes(pl.Series([text])) == ["card_id_not_exact"]


@pytest.mark.parametrize(
    "text", ["C4\x002", "C42\u202e", "\u200fC42", "C\ufeff42", "C4\x1b[2J", "C\n42", "C\xad42", "C4\u20662", "\x7fC42"]
)
def test_characters_that_are_not_seen_have_no_place_in_an_id(text: str) -> None:
    assert codes(pl.Series([text])) == codes(pl.Series(["7"]), pl.Series([text])) == ["card_id_hidden"]
    assert ids.read([pl.Series([text, "C42"])], "card_id")[0].to_list() == [None, "C42"]


@given(st.text(min_size=1, max_size=12) | st.from_regex(r"[+-]?[0-9]*\.?[0-9]*(e[+-]?[0-9]+)?", fullmatch=True))
def test_one_id_is_read_as_a_column_is(text: str) -> None:
    wrong = {"card_id_missing", "card_id_not_exact", "card_id_hidden"} & {*codes(pl.Series([text]))}
    assert (ids.problem(pl.Series([text]).str.strip_chars()[0]) is not None) == bool(wrong)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_no_id_is_missing(value: str | None) -> None:
    assert codes(pl.Series([value], dtype=pl.String)) == ["card_id_missing"]
    assert codes(pl.Series(["7"]), pl.Series([value], dtype=pl.String)) == ["card_id_missing"]


def test_several_columns_are_joined() -> None:
    assert ids.read([pl.Series([7]), pl.Series([" b "])], "card_id")[0].to_list() == ["7_b"]


@pytest.mark.parametrize("values", [pl.Series("cc", [4.1e15]), pl.Series("cc", [Decimal("1.5")])])
def test_columns_that_lost_digits_are_refused_by_name(values: pl.Series) -> None:
    with pytest.raises(SchemaError, match=r"column 'cc' is .*may have lost digits"):
        ids.read([values], "card_id")


def test_nested_columns_are_refused() -> None:
    with pytest.raises(SchemaError, match="column 'cc' is List"):
        ids.read([pl.Series("cc", [[1]])], "card_id")


def test_secret_ids_are_never_quoted() -> None:
    _, faults = ids.read([pl.Series(["4.111E+15"])], "card_id", secret=True)
    assert [list(fault.details) for fault in faults if len(fault.rows)] == [["card_id is in float notation"]]


def test_arrival_numbers() -> None:
    places, faults = ids.read_arrival(pl.Series(["12", " 7", "x", None, "1.0"]))
    assert places.to_list() == [12, 7, None, None, None]
    assert faults[0].rows.to_list() == [2, 3, 4]
    with pytest.raises(SchemaError, match="not a whole number"):
        ids.read_arrival(pl.Series([1.0]))
