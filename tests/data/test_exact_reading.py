"""Texts of amounts, numbers and times: each is read as what it says, or is a fault or counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fraud3000.data.cleaning import amounts, currency, ids, passthrough
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.data.reading import decimals, times
from fraud3000.errors import ParamsError
from fraud3000.params import AmountFormat, ColumnMapping, TimeFormat, validate

OTHER_DIGITS = [
    "５.00",
    "١٢",
    "$１２.50",
    "۵",
    "१२३",
    "1２",
    "$1２.50",
    "(５)",
    "５-",
    "𝟏𝟐.5",
    "²",
    "1½",
    "1e٣",
    "१,२३४.५",
    "Ⅻ",
]
NUMERIC = st.text(st.sampled_from("00112233456789.,+-eE $€()%_'١５²½ \u00a0\u2009\u2212naif"), max_size=12)
TEXTS = st.lists(NUMERIC | st.text(max_size=8), min_size=1, max_size=30)


def faulty(faults: list[Any]) -> set[int]:
    return {row for fault in faults for row in fault.rows}


def stated(text: str) -> Decimal:
    """What an accepted amount says, read without any of the code under test."""
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9.]+[eE][+-]?[0-9]+", text):
        return Decimal(text)
    number = Decimal("".join(re.findall(r"[0-9.]", text)))
    return -number if re.search(r"[-\u2212(]", text) else number


@given(TEXTS)
@example(OTHER_DIGITS)
def test_an_amount_is_what_it_says_or_a_fault(texts: list[str]) -> None:
    read, faults = amounts.read(pl.Series("amount", texts, dtype=pl.String), AmountFormat())
    bad = faulty(faults)
    for row, (text, amount) in enumerate(zip(texts, read, strict=True)):
        assert (amount is None) == (row in bad), text
        assert amount is None or amount == stated(text) * 100, text


@pytest.mark.parametrize("text", OTHER_DIGITS)
def test_digits_of_other_scripts_are_no_amount(text: str) -> None:
    read, faults = amounts.read(pl.Series([text]), AmountFormat())
    assert read.to_list() == [None]
    assert [fault.code for fault in faults if len(fault.rows)] == ["amount_unreadable"]


@given(TEXTS, st.integers(0, 8))
def test_every_null_of_a_number_has_a_problem(texts: list[str], places: int) -> None:
    values, problems = decimals.scaled(pl.Series(texts, dtype=pl.String), places, 10**13)
    assert values.is_null().to_list() == problems.is_not_null().to_list()


BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and not 0x1C <= code <= 0x1F)
"""White space as Unicode defines it; Python also counts four control characters."""


@given(TEXTS)
@example(OTHER_DIGITS)
@example(["\x1f"])
def test_a_number_passed_through_is_what_it_says_or_is_counted(texts: list[str]) -> None:
    read, lost = passthrough.number(pl.Series(texts, dtype=pl.String))
    nothing = [text.strip(BLANKS).lower() in {"", "na", "n/a", "nan", "null", "none"} for text in texts]
    assert read.null_count() - sum(nothing) == lost
    for text, value in zip(texts, read, strict=True):
        assert value is None or (value == float(text) and text.strip().isascii()), text


@given(TEXTS)
@example(OTHER_DIGITS)
def test_a_place_of_arrival_is_what_it_says_or_a_fault(texts: list[str]) -> None:
    read, faults = ids.read_arrival(pl.Series(texts, dtype=pl.String))
    bad = faulty(faults)
    for row, (text, place) in enumerate(zip(texts, read, strict=True)):
        assert (place is None) == (row in bad), text
        assert place is None or (place == int(text) and text.strip().isascii()), text


@pytest.mark.parametrize("form", ["epoch_s", "epoch_ms", "epoch_us"])
@given(TEXTS)
def test_an_epoch_is_what_it_says_or_null(form: str, texts: list[str]) -> None:
    read = times.read([pl.Series(texts, dtype=pl.String)], TimeFormat(format=form))
    scale = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}[form]
    for text, ticks in zip(texts, read.dt.epoch("us"), strict=True):
        assert ticks is None or ticks == Decimal(text.strip()) * scale, text


WRITTEN = {
    "%d/%m/%Y %H:%M": "05/03/2024 10:11",
    "%Y%m%d": "20240305",
    "%Y %m %d %H:%M:%S": "2024 03 05 10:11:12",
    "%m/%d/%Y %I:%M %p": "03/05/2024 10:11 PM",
    "%d.%m.%y": "05.03.24",
}


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """The text with some characters replaced, inserted or removed."""
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        sign = draw(st.sampled_from(["", *"0123456789:/. ５Tx"]))
        text = text[:place] + sign + text[place + draw(st.integers(0, 1)) :]
    return text


@pytest.mark.parametrize("pattern", WRITTEN)
@given(data=st.data())
def test_a_time_by_a_pattern_is_what_python_reads_or_null(pattern: str, data: st.DataObject) -> None:
    text = data.draw(changed(WRITTEN[pattern]))
    read = times.read([pl.Series([text])], TimeFormat(format=pattern))
    if times.outside_range(read, datetime(1970, 1, 1), datetime(2068, 1, 1))[0] is False:
        expected = pattern.replace(" %p", "%p") if re.search(r"[0-9][AP]M", text) else pattern
        assert read[0] == datetime.strptime(text.strip(), expected).replace(tzinfo=UTC), text


@pytest.mark.parametrize("text", ["05.03.2:", "05.03.2", "05.03.024", "0５.03.24", "05.03.24 x", "05.03"])
def test_a_text_that_is_not_the_pattern_is_no_time(text: str) -> None:
    assert times.read([pl.Series([text])], TimeFormat(format="%d.%m.%y")).to_list() == [None]


@pytest.mark.parametrize(
    "text",
    ["20240305T10111", "2024-03-0510:11", "2024-03-05 10:11:12 x", "２024-03-05", "2024-03-05T1０:11", "20240305"],
)
def test_a_text_that_is_not_iso_is_no_time(text: str) -> None:
    assert times.read([pl.Series([text])], TimeFormat()).to_list() == [None]


def test_each_row_of_a_file_is_kept_as_it_says_or_refused(ingest: Callable[..., Ingested]) -> None:
    rows = [f'A{n},2024-01-01 10:{n:02}:00,"{text}"' for n, text in enumerate(["10.00", *OTHER_DIGITS])]
    taken = ingest("\n".join(["id,time,amount", *rows]) + "\n")
    assert taken.transactions["amount"].to_list() == [1000]
    assert taken.quarantine["reason"].to_list() == ["amount_unreadable"] * len(OTHER_DIGITS)


@pytest.mark.parametrize(
    "rates",
    [
        {"USD": [{"since": "2024-01-01", "rate": "１.5"}]},
        {"USD": [{"since": "2024-01-01", "rate": "9" * 20}]},
        {"USD": [{"since": "2024-01-01", "rate": "1"}, {"since": "2024-01-01", "rate": "2"}]},
        {"USD": [{"since": "2024-01-01", "rate": "1"}], "usd": [{"since": "2024-01-01", "rate": "2"}]},
    ],
)
def test_rates_are_plain_and_one_at_a_time(rates: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match="rates"):
        validate(ColumnMapping, {"amount": {"currency": "EUR", "rates": rates}}, thing="prepare.mapping")


def test_the_largest_rate_is_read() -> None:
    form = AmountFormat.model_validate(
        {"currency": "EUR", "rates": {"USD": [{"since": "2024-01-01", "rate": "999999999.99999999"}]}}
    )
    amount, faults = currency.convert(
        pl.Series([1]), pl.Series(["USD"]), pl.Series([datetime(2024, 1, 2, tzinfo=UTC)]), form
    )
    assert amount.to_list() == [1_000_000_000]
    assert not faulty(faults)
