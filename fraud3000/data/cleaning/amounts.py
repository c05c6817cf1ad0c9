"""Read amounts of money in the spellings of raw files as whole minor units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import polars as pl

from fraud3000.data.cleaning.row_errors import RowError
from fraud3000.data.reading import decimals, number_text
from fraud3000.errors import DataError
from fraud3000.params import AmountFormat, CsvFormat

DEFAULT = CsvFormat()

LARGEST = 10**13
"""The largest amount, in minor units."""

_SIGN = r"[-−+]"
_CURRENCY = r"(?:[A-Z]{0,3}\p{Sc}|[A-Z]{3})"
_NUMBER = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_SIGNED = rf"^{_SIGN}?\s*{_CURRENCY}?\s*{_SIGN}?\s*{_NUMBER}\s*{_CURRENCY}?\s*{_SIGN}?$"
_IN_BRACKETS = rf"^{_CURRENCY}?\s*\(\s*{_CURRENCY}?\s*{_NUMBER}\s*{_CURRENCY}?\s*\)\s*{_CURRENCY}?$"


def read(values: pl.Series, form: AmountFormat, text: CsvFormat = DEFAULT) -> tuple[pl.Series, list[RowError]]:
    """Read amounts exactly as Int64 minor units; negative amounts stay negative.

    Text may contain one currency sign or code, commas between thousands, and a minus before or after
    the sign or at the end, or brackets instead of a minus. Decimal sign and sign between thousands are those of `text`.

    Returns
    -------
    tuple
        Int64 amounts, null where there is an error, and the errors: ``amount_missing``,
        ``amount_unreadable``, ``amount_not_finite``, ``amount_decimals`` (more than the currency
        has, or a float that is not such a number) and ``amount_too_large``.

    All amounts of a file must have the sign of the same currency: see `check_one_currency`.

    Examples
    --------
    >>> read(pl.Series(["$-12.00", "-$12.00", "(1,234.50)", "0.1"]), AmountFormat())[0].to_list()
    [-1200, -1200, -123450, 10]
    """
    digits = form.decimals if form.unit == "major" else 0
    plain = _without_signs(number_text.with_points(values, text)) if values.dtype == pl.String else values
    minor, problems = decimals.scaled(plain, digits, LARGEST)
    errors = [RowError.where(f"amount_{kind}", problems == kind, "amount", values) for kind in decimals.PROBLEMS]
    return minor.alias("amount"), errors


def check_one_currency(pieces: Iterable[pl.Series], form: CsvFormat = DEFAULT) -> None:
    """Refuse a column of amounts, passed piece by piece, with the signs of several currencies.

    Raises
    ------
    DataError
        Names each sign and how often it occurs.

    Examples
    --------
    >>> check_one_currency([pl.Series("Amount", ["$1", "7"]), pl.Series("Amount", ["€2", "$3"])])
    Traceback (most recent call last):
    fraud3000.errors.DataError: column 'Amount': amounts in several currencies, '$' (2), '€' (1)
    Hint: Put the currency into a separate column, map it as 'currency', and state rates.
    """
    signs, name = Counter[str](), ""
    for values in pieces:
        if values.dtype != pl.String:
            return
        name, text = values.name, number_text.with_points(values, form).str.strip_chars()
        signed = text.filter(text.is_in(_signed(text).implode()))
        counted = signed.str.extract(r"([A-Z]{0,3}\p{Sc}|[A-Z]{3})").drop_nulls().value_counts(sort=True)
        signs.update(dict(counted.iter_rows()))
    if len(signs) > 1:
        counts = ", ".join(f"'{sign}' ({count:,})" for sign, count in signs.most_common())
        raise DataError(
            f"column '{name}': amounts in several currencies, {counts}",
            hint="Put the currency into a separate column, map it as 'currency', and state rates.",
        )


def _signed(text: pl.Series) -> pl.Series:
    """The distinct texts that are amounts with a sign, currency, comma or bracket."""
    x = pl.col("x")
    signed = x.str.contains(_SIGNED) & (x.str.count_matches(_SIGN) <= 1)
    one_currency = x.str.count_matches(_CURRENCY) <= 1
    odd = text.filter(~text.str.contains(decimals.PLAIN)).unique().alias("x").to_frame()
    return odd.filter(one_currency & (signed | x.str.contains(_IN_BRACKETS))).to_series()


def _without_signs(values: pl.Series) -> pl.Series:
    text = values.str.strip_chars()
    signed = _signed(text)
    if signed.is_empty():
        return text
    x = pl.col("x")
    minus = pl.when(x.str.contains(r"[-−(]")).then(pl.lit("-")).otherwise(pl.lit(""))
    bare = signed.to_frame().select("x", bare=minus + x.str.replace_all(r"[^0-9.]", ""))
    return text.replace(bare["x"], bare["bare"])
