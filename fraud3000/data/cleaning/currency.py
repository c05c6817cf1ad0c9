"""Convert amounts in other currencies to the base currency by dated rates."""

from __future__ import annotations

import polars as pl

from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.data.cleaning.row_errors import RowError
from fraud3000.data.reading.times import to_utc
from fraud3000.errors import DataError, ParamsError
from fraud3000.params import AmountFormat

_PLACES = 8
_UNIT = 10**_PLACES


def read(values: pl.Series) -> tuple[pl.Series, list[RowError]]:
    """Read currency codes as upper-case text; error ``currency_missing``."""
    codes = values.cast(pl.String).str.strip_chars().str.to_uppercase()
    codes = codes.set((codes == "").fill_null(value=False), None)
    return codes.alias("currency"), [RowError.with_detail("currency_missing", codes.is_null(), "currency is empty")]


def check(codes: pl.Series | pl.LazyFrame, form: AmountFormat) -> None:
    """Refuse currencies without a rate, all at once.

    Parameters
    ----------
    codes
        Currency codes, as a series or as a lazy frame of one column.

    Raises
    ------
    ParamsError
        A currency column is mapped, but the base currency is not stated.
    DataError
        Names each currency without rates and how many rows have it.

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
            hint="State the currency to convert all amounts to, such as EUR.",
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
    """Convert minor units exactly by the rate valid at `ts`, rounding half to even.

    Minor units of every currency have `form.decimals` decimals.

    Returns
    -------
    tuple
        Int64 amounts in the base currency, and the errors ``currency_no_rate`` (before the first
        date of its rates) and ``amount_too_large``.

    Examples
    --------
    >>> form = AmountFormat.model_validate(
    ...     {"currency": "EUR", "rates": {"USD": [{"since": "2024-01-01", "rate": "0.5"}]}})
    >>> ts = pl.Series([to_utc(form.rates["USD"][0].since)] * 3)
    >>> convert(pl.Series([5, 15, 5]), pl.Series(["USD", "USD", "EUR"]), ts, form)[0].to_list()
    [2, 8, 5]
    """
    base = (form.currency or "").upper()
    foreign = (codes != base).fill_null(value=False)
    if not foreign.any():
        return amounts, []
    if ts is None:
        raise DataError(
            "amounts in several currencies, but no time column to choose the rate by",
            hint="Map a column as ts, or split the file by currency.",
        )
    rates = _rates_at(codes, ts, form)
    product = amounts.cast(pl.Int128) * rates.cast(pl.Int128)
    exact = pl.DataFrame({"product": product}).select(_half_even(pl.col("product"))).to_series()
    large = foreign & (exact.abs() > LARGEST)
    errors = [
        RowError.where("currency_no_rate", foreign & rates.is_null() & ts.is_not_null(), "currency", codes),
        RowError.with_detail("amount_too_large", large, "amount is too large in the base currency"),
    ]
    converted = exact.set(large.fill_null(value=False), None).cast(pl.Int64)
    return converted.zip_with(foreign, amounts).alias("amount"), errors


def _rates_at(codes: pl.Series, ts: pl.Series, form: AmountFormat) -> pl.Series:
    """Each row's rate times 10^8; null before the first date of a rate."""
    table = [
        (code.upper(), to_utc(dated.since), _in_units(dated.rate))
        for code, rates in form.rates.items()
        for dated in rates
    ]
    kinds = {"code": pl.String(), "since": ts.dtype, "rate": pl.Int64()}
    rates = pl.DataFrame(table, schema=kinds, orient="row").sort("since")
    rows = pl.DataFrame({"code": codes, "ts": ts}).with_row_index("row").sort("ts")
    joined = rows.join_asof(rates, left_on="ts", right_on="since", by="code", check_sortedness=False)
    return joined.sort("row")["rate"]


def _in_units(rate: str) -> int:
    whole, _, fraction = rate.partition(".")
    return int(whole + fraction.ljust(_PLACES, "0"))


def _half_even(product: pl.Expr) -> pl.Expr:
    unit = pl.lit(_UNIT, dtype=pl.Int128)
    floor, rest = product // unit, product % unit
    up = (rest * 2 > unit) | ((rest * 2 == unit) & (floor % 2 == 1))
    return floor + up.cast(pl.Int128)
