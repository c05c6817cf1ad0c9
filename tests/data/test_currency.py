from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud3000.data.cleaning import currency
from fraud3000.data.cleaning.clean import Ingested
from fraud3000.errors import DataError, ParamsError
from fraud3000.params import AmountFormat

Ingest = Callable[..., Ingested]

RATES = {
    "USD": [{"since": "2024-01-01", "rate": "0.9"}, {"since": "2024-02-01", "rate": "0.8"}],
    "JPY": [{"since": "2024-01-01", "rate": "0.00625"}],
}
EURO = {"currency": "EUR", "rates": RATES}
HEADER = "id,time,amount,money\n"


def test_each_amount_is_converted_by_the_rate_of_its_time(ingest: Ingest) -> None:
    content = (
        HEADER
        + "a,2024-01-31 23:59:59,10.00,usd\nb,2024-02-01,10.00,USD\nc,2024-01-01,10.00,EUR\nd,2024-01-05,-1000,JPY\n"
    )
    ingested = ingest(content, columns={"currency": "money"}, amount=EURO)
    by_id = dict(ingested.transactions.select("transaction_id", "amount").iter_rows())
    assert by_id == {"a": 900, "b": 800, "c": 1000, "d": -625}
    assert "currency" not in ingested.transactions.columns


def test_rows_before_the_first_rate_or_without_currency_are_quarantined(ingest: Ingest) -> None:
    content = HEADER + "a,2023-12-31,1,USD\nb,2024-01-01,1,\nc,2024-01-01,1,EUR\nd,2024-01-01,99999999999,USD\n"
    ingested = ingest(
        content, columns={"currency": "money"}, amount=EURO | {"rates": {"USD": [RATES["USD"][0] | {"rate": "2"}]}}
    )
    assert ingested.quarantine["reason"].to_list() == ["currency_no_rate", "currency_missing", "amount_too_large"]
    assert ingested.transactions["transaction_id"].to_list() == ["c"]


def test_currencies_without_rates_are_refused_with_their_counts(ingest: Ingest) -> None:
    content = HEADER + "a,2024-01-01,1,GBP\nb,2024-01-01,1,CHF\nc,2024-01-01,1,GBP\nd,2024-01-01,1,EUR\n"
    with pytest.raises(DataError, match=r"without a rate to EUR: GBP \(2 rows\), CHF \(1 row\)"):
        ingest(content, columns={"currency": "money"}, amount={"currency": "EUR"})


def test_the_base_currency_must_be_stated() -> None:
    with pytest.raises(ParamsError, match=r"amount\.currency"):
        currency.check(pl.Series(["EUR"]), AmountFormat())


def test_one_currency_needs_no_time_but_several_do(ingest: Ingest) -> None:
    mapped = {"columns": {"currency": "money"}, "amount": EURO}
    assert ingest("id,amount,money\na,1,EUR\n", **mapped).kept == 1
    with pytest.raises(DataError, match=r"raw\.csv: .* no time column to choose the rate by"):
        ingest("id,amount,money\na,1,USD\n", **mapped)


@given(st.integers(-(10**13), 10**13), st.integers(0, 10**12))
def test_conversion_is_exact_and_rounds_half_to_even(amount: int, rate: int) -> None:
    text = f"{rate // 10**8}.{rate % 10**8:08}"
    form = AmountFormat.model_validate({"currency": "EUR", "rates": {"USD": [{"since": "2024-01-01", "rate": text}]}})
    ts = pl.Series([datetime(2024, 1, 1, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC"))
    converted, faults = currency.convert(pl.Series([amount]), pl.Series(["USD"]), ts, form)
    expected = round(Fraction(amount * rate, 10**8))  # Python rounds half to even
    too_large = any(len(fault.rows) for fault in faults)
    assert converted.item() == (None if too_large else expected)
    assert too_large == (abs(expected) > 10**13)
