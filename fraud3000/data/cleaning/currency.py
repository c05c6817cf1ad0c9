"""Amounts in other currencies, brought to the base currency by dated rates."""

from __future__ import annotations

import polars as pl

from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.data.cleaning.row_errors import RowError
from fraud3000.data.reading.times import moment
from fraud3000.errors import DataError, ParamsError
from fraud3000.params import AmountFormat

_PLACES = 8
_UNIT = 10**_PLACES


def read(values: pl.Series) -> tuple[pl.Series, list[RowError]]:
    """Read currency codes in capitals; fault ``currency_missing``."""
    codes = values.cast(pl.String).str.strip_chars().str.to_uppercase()
    codes = codes.set((codes == "").fill_null(value=False), None)
    return codes.alias("currency"), [RowError.told("currency_missing", codes.is_null(), "currency is empty")]


def check(codes: pl.Series | pl.LazyFrame, form: AmountFormat) -> None:
    """Refuse currencies that have no rate, all codes together: a series, or a frame of that one column.

    Raises
    ------
    ParamsError
        A currency column is mapped, but the base currency is not stated.
    DataError
        Naming each currency without rates and how many rows have it.

    Examples
    --------
    >>> check(pl.Series(["EUR", "USD", "EUR"]), AmountFormat(currency="EUR"))
    Traceback (most recent call last):
    fraud3000.errors.DataError: amounts in currencies without a rate to EUR: USD (1 row)
    Hint: State dated rates under prepare.mapping.amount.rates, or split the file by currency.
    """
    if form.currency is None:
        raise ParamsError(
            "prepare.mapping.amount.currency: not stated, but a currency column is mapped",
            hint="Write the currency that all amounts are brought to, such as EUR.",
        )
    known = {form.currency.upper(), *(code.upper() for code in form.rates)}
    column = (codes.to_frame().lazy() if isinstance(codes, pl.Series) else codes).select(pl.all().alias("code"))
    foreign = column.filter(pl.col("code").is_not_null() & ~pl.col("code").is_in(list(known)))
    counts = foreign.group_by("code").agg(pl.len().alias("count")).collect(engine="streaming")
    if counts.height:
        counts = counts.sort("count", "code", descending=[True, False])
        listed = ", ".join(f"{code} ({count:,} row{'s' * (count > 1)})" for code, count in counts.iter_rows())
        raise DataError(
            f"amounts in currencies without a rate to {form.currency.upper()}: {listed}",
            hint="State dated rates under prepare.mapping.amount.rates, or split the file by currency.",
        )


def convert(
    amounts: pl.Series, codes: pl.Series, ts: pl.Series | None, form: AmountFormat
) -> tuple[pl.Series, list[RowError]]:
    """Convert minor units by the rate valid at `ts`, exactly, rounding half to even.

    Minor units of every currency have `form.decimals` decimals.

    Returns
    -------
    tuple
        Int64 amounts in the base currency, and the faults ``currency_no_rate`` (before the first
        date of its rates) and ``amount_too_large``.

    Examples
    --------
    >>> form = AmountFormat.model_validate(
    ...     {"currency": "EUR", "rates": {"USD": [{"since": "2024-01-01", "rate": "0.5"}]}})
    >>> ts = pl.Series([moment(form.rates["USD"][0].since)] * 3)
    >>> convert(pl.Series([5, 15, 5]), pl.Series(["USD", "USD", "EUR"]), ts, form)[0].to_list()
    [2, 8, 5]
    """
    base = (form.currency or "").upper()
    foreign = (codes != base).fill_null(value=False)
    if not foreign.any():
        return amounts, []
    if ts is None:
        raise DataError(
            "amounts in several currencies, but no time to choose the rate by",
            hint="Map a time, or split the file by currency.",
        )
    rates = _rates_at(codes, ts, form)
    product = amounts.cast(pl.Int128) * rates.cast(pl.Int128)
    exact = pl.DataFrame({"product": product}).select(_half_even(pl.col("product"))).to_series()
    large = foreign & (exact.abs() > LARGEST)
    faults = [
        RowError.where("currency_no_rate", foreign & rates.is_null() & ts.is_not_null(), "currency", codes),
        RowError.told("amount_too_large", large, "amount is too large in the base currency"),
    ]
    converted = exact.set(large.fill_null(value=False), None).cast(pl.Int64)
    return converted.zip_with(foreign, amounts).alias("amount"), faults


def _rates_at(codes: pl.Series, ts: pl.Series, form: AmountFormat) -> pl.Series:
    """Each row's rate times 10^8, null where none is valid yet."""
    table = [
        (code.upper(), moment(dated.since), _in_units(dated.rate))
        for code, rates in form.rates.items()
        for dated in rates
    ]
    kinds = {"code": pl.String(), "since": ts.dtype, "rate": pl.Int64()}
    rates = pl.DataFrame(table, schema=kinds, orient="row").sort("since")
    asked = pl.DataFrame({"code": codes, "ts": ts}).with_row_index("place").sort("ts")
    found = asked.join_asof(rates, left_on="ts", right_on="since", by="code", check_sortedness=False)
    return found.sort("place")["rate"]


def _in_units(rate: str) -> int:
    whole, _, fraction = rate.partition(".")
    return int(whole + fraction.ljust(_PLACES, "0"))


def _half_even(product: pl.Expr) -> pl.Expr:
    unit = pl.lit(_UNIT, dtype=pl.Int128)
    floor, rest = product // unit, product % unit
    up = (rest * 2 > unit) | ((rest * 2 == unit) & (floor % 2 == 1))
    return floor + up.cast(pl.Int128)
