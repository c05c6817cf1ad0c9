"""Money as it is written in raw files, read as whole minor units."""

from __future__ import annotations

import polars as pl

from fraud3000.data import decimals
from fraud3000.data.faults import Fault
from fraud3000.errors import DataError
from fraud3000.params import AmountFormat

LARGEST = 10**13
"""The greatest amount, in minor units."""

_SIGN = r"[-−+]"
_CURRENCY = r"(?:[A-Z]{0,3}\p{Sc}|[A-Z]{3})"
_NUMBER = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)"
_SIGNED = rf"^{_SIGN}?\s*{_CURRENCY}?\s*{_SIGN}?\s*{_NUMBER}\s*{_CURRENCY}?\s*{_SIGN}?$"
_IN_BRACKETS = rf"^{_CURRENCY}?\s*\(\s*{_CURRENCY}?\s*{_NUMBER}\s*{_CURRENCY}?\s*\)\s*{_CURRENCY}?$"


def read(values: pl.Series, form: AmountFormat) -> tuple[pl.Series, list[Fault]]:
    """Read amounts as Int64 minor units, exactly; negative ones as they stand.

    Text may carry one currency sign or code, commas between thousands, and a minus before or
    after the sign or at the end, or brackets for it. A comma is never a decimal point.

    Returns
    -------
    tuple
        Int64 amounts, null where a fault is, and the faults: ``amount_missing``,
        ``amount_unreadable``, ``amount_not_finite``, ``amount_decimals`` (more than the currency
        has, or a float that is no such number) and ``amount_too_large``.

    Raises
    ------
    DataError
        The amounts carry signs of several currencies.

    Examples
    --------
    >>> read(pl.Series(["$-12.00", "-$12.00", "(1,234.50)", "0.1"]), AmountFormat())[0].to_list()
    [-1200, -1200, -123450, 10]
    """
    places = form.decimals if form.unit == "major" else 0
    plain = _without_signs(values) if values.dtype == pl.String else values
    minor, problems = decimals.scaled(plain, places, LARGEST)
    faults = [Fault.where(f"amount_{kind}", problems == kind, "amount", values) for kind in decimals.PROBLEMS]
    return minor.alias("amount"), faults


def _without_signs(values: pl.Series) -> pl.Series:
    text = values.str.strip_chars()
    odd = text.filter(~text.str.contains(decimals.PLAIN)).unique()
    frame = odd.alias("x").to_frame()
    x = pl.col("x")
    signed = x.str.contains(_SIGNED) & (x.str.count_matches(_SIGN) <= 1)
    one_currency = x.str.count_matches(_CURRENCY) <= 1
    frame = frame.filter(one_currency & (signed | x.str.contains(_IN_BRACKETS)))
    if frame.is_empty():
        return text
    _check_one_currency(text.filter(text.is_in(frame["x"].implode())))
    minus = pl.when(x.str.contains(r"[-−(]")).then(pl.lit("-")).otherwise(pl.lit(""))
    bare = frame.select("x", bare=minus + x.str.replace_all(r"[^0-9.]", ""))
    return text.replace(bare["x"], bare["bare"])


def _check_one_currency(amounts: pl.Series) -> None:
    signs = amounts.str.extract(r"([A-Z]{0,3}\p{Sc}|[A-Z]{3})").drop_nulls().value_counts(sort=True)
    if signs.height > 1:
        counts = ", ".join(f"'{sign}' ({count:,})" for sign, count in signs.iter_rows())
        raise DataError(
            f"column '{amounts.name}': amounts in several currencies, {counts}",
            hint="Give the currency in a column of its own, map it as 'currency', and state rates.",
        )
