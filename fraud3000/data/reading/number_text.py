"""Numbers written as text with other signs than ``1,234.56``: decimal commas, points or spaces between thousands."""

from __future__ import annotations

import re

import polars as pl

from fraud3000.params import CsvFormat

_SPACES = " \u00a0\u2009\u202f"
_ALIKE = {" ": _SPACES, "'": "'\u2019"}
"""Characters that are typed for a sign between thousands."""
_GROUP, _INVALID = "\x00", "\x01"
_GROUPED = r"^[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?$"


def with_points(values: pl.Series, form: CsvFormat) -> pl.Series:
    """Rewrite numbers in the format of a file as ``1,234.56``; a sign that the format does not have makes them invalid.

    Parameters
    ----------
    values
        Text is rewritten; other types are returned as they are.

    Examples
    --------
    >>> german = CsvFormat(decimal=",")
    >>> with_points(pl.Series(["1.234,56", "-0,5", "12 EUR"]), german).to_list()
    ['1,234.56', '-0.5', '12 EUR']
    >>> with_points(pl.Series(["1.5"]), german)[0] == "1.5"
    False
    """
    if values.dtype != pl.String or (form.decimal, form.groups) == (".", ","):
        return values
    text = values
    if form.groups:
        sign = f"([0-9])[{re.escape(_ALIKE.get(form.groups, form.groups))}]([0-9]{{3}})"
        for _ in range(2):  # neighbouring groups overlap
            text = text.str.replace_all(sign, f"${{1}}{_GROUP}${{2}}")
    for sign in {",", "."} - {form.decimal}:
        text = text.str.replace_all(sign, _INVALID, literal=True)
    return text.str.replace_all(form.decimal, ".", literal=True).str.replace_all(_GROUP, ",", literal=True)


def without_groups(values: pl.Series, form: CsvFormat) -> pl.Series:
    """Rewrite numbers in the format of a file as ``1234.56``.

    Signs between thousands are only removed if the format states them: in ``1,234`` the comma may be a decimal sign.

    Examples
    --------
    >>> without_groups(pl.Series(["1.234,56", "1.23,4"]), CsvFormat(decimal=",")).to_list()[0]
    '1234.56'
    >>> without_groups(pl.Series(["1,234"]), CsvFormat()).to_list()
    ['1,234']
    """
    if values.dtype != pl.String or (form.decimal == "." and form.thousands is None):
        return values
    plain = with_points(values, form).str.strip_chars()
    return plain.str.replace_all(",", "", literal=True).zip_with(plain.str.contains(_GROUPED), plain)
