"""Columns that are passed through to the features: numbers, categories, coordinates.

What cannot be read there becomes null and is counted: a side column is no reason to lose a transaction.
"""

from __future__ import annotations

import polars as pl

from fraud3000.data.cleaning import cards, category_text
from fraud3000.data.reading.columns import ColumnLayout
from fraud3000.errors import SchemaError

_NOTHING = ("", "na", "n/a", "nan", "null", "none")
LIMITS = {"card_lat": 90.0, "terminal_lat": 90.0, "card_long": 180.0, "terminal_long": 180.0}
"""Greatest absolute value of each coordinate, in degrees."""


def read(rows: pl.DataFrame, layout: ColumnLayout) -> tuple[list[pl.Series], dict[str, int]]:
    """Read all columns that are passed through.

    Returns
    -------
    tuple
        Coordinates, numbers and categories under their names in TRANSACTIONS, and for each coordinate and number the
        count of values that could not be read and became null.
    """
    columns: list[pl.Series] = []
    lost: dict[str, int] = {}
    for role in LIMITS:
        for raw in layout.roles.get(role, ()):
            values, lost[role] = coordinate(rows[raw], role)
            columns.append(values.alias(role))
    for name, raw in layout.numeric.items():
        values, lost[name] = number(rows[raw])
        columns.append(values.alias(name))
    columns += [category(rows[raw]).alias(name) for name, raw in layout.categorical.items()]
    return columns, lost


def number(values: pl.Series) -> tuple[pl.Series, int]:
    """Read numbers as Float64; null where there is none, and how many were given but unreadable, infinite or card numbers.

    Examples
    --------
    >>> values, lost = number(pl.Series(["1.5", "", "twelve", "inf"]))
    >>> values.to_list(), lost
    ([1.5, None, None, None], 2)
    """
    if values.dtype == pl.String:
        given = values.str.strip_chars()
        given = given.set(given.str.to_lowercase().is_in(_NOTHING), None)
    elif values.dtype.is_numeric() or values.dtype in {pl.Boolean, pl.Null}:
        given = values
    else:
        raise SchemaError(f"column '{values.name}' is {values.dtype}, not a number", hint="Map it as categorical.")
    floats = without_card_numbers(given, given.cast(pl.Float64, strict=False).fill_nan(None))
    floats = floats.set(floats.is_infinite().fill_null(value=False), None)
    not_a_number = int(given.is_nan().sum()) if given.dtype.is_float() else 0
    return floats, floats.null_count() - given.null_count() - not_a_number


def without_card_numbers(given: pl.Series, floats: pl.Series) -> pl.Series:
    """Set numbers to null that are card numbers.

    Parameters
    ----------
    given
        The values as they are in the file: long numbers are not exact as floats.
    floats
        The same values as Float64.
    """
    if not (floats.abs() >= 1e12).any():
        return floats
    exact = given.cast(pl.Int128, strict=False)
    rounded = floats.set(floats.is_infinite().fill_null(value=False), None).cast(pl.Int128, strict=False)
    whole = exact.zip_with(exact.is_not_null(), rounded)
    removed = cards.without_card_numbers(whole).is_null() & whole.is_not_null()
    return floats.set(removed, None)


def coordinate(values: pl.Series, role: str) -> tuple[pl.Series, int]:
    """Read degrees as Float64; null where there are none, and how many were unreadable or off the globe.

    Examples
    --------
    >>> coordinate(pl.Series([48.85, 91.0]), "card_lat")[1]
    1
    """
    degrees, lost = number(values)
    off = (degrees.abs() > LIMITS[role]).fill_null(value=False)
    return degrees.set(off, None), lost + int(off.sum())


def category(values: pl.Series) -> pl.Series:
    """Read categories as canonical text, card numbers masked; missing values are null.

    Examples
    --------
    >>> category(pl.Series(["food ", "", "paid by 4111 1111 1111 1111"])).to_list()
    ['food', None, 'paid by [card number]']
    >>> category(pl.Series([7995.0, None])).to_list()
    ['7995', None]
    """
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise SchemaError(f"column '{values.name}' is {values.dtype}, not a category", hint="Drop it.")
    return cards.mask_series(canonical(values))


def canonical(values: pl.Series) -> pl.Series:
    """Return the canonical text of each category, as `fraud3000.data.cleaning.category_text.canonical` does for one value.

    Examples
    --------
    >>> canonical(pl.Series([7995.0, float("nan")])).to_list(), canonical(pl.Series(["7995.0", "0742"])).to_list()
    (['7995', None], ['7995', '0742'])
    """
    text = _written(values).str.strip_chars()
    text = text.str.replace(category_text.TRAILING_ZEROS, "${1}${2}").replace(category_text.BOOLEANS)
    return text.set(text.is_in(category_text.MISSING).fill_null(value=False), None)


def _written(values: pl.Series) -> pl.Series:
    """Write values as text; a decimal without the zeros that fill up its scale, a tiny float as Python writes it."""
    text = values.cast(pl.String)
    if values.dtype.is_decimal():
        return text.str.replace(r"(\.[0-9]*?)0+$", "${1}").str.strip_chars_end(".")
    if values.dtype.is_float():
        tiny = (values.abs() < 1e-4) & (values != 0)
        rows = tiny.fill_null(value=False).arg_true()
        return text.scatter(rows, [repr(number) for number in text.gather(rows).cast(pl.Float64)])
    return text
