"""Read the columns that are passed through to the features: numbers, categories, coordinates.

Values that cannot be read become null and are counted; they do not cause a transaction to be rejected.
"""

from __future__ import annotations

import polars as pl

from fraud3000.data.cleaning import cards, category_text
from fraud3000.data.reading import number_text
from fraud3000.data.reading.columns import ColumnLayout
from fraud3000.errors import SchemaError
from fraud3000.params import CsvFormat

DEFAULT = CsvFormat()
_NOTHING = ("", "na", "n/a", "nan", "null", "none")
LIMITS = {"card_lat": 90.0, "terminal_lat": 90.0, "card_long": 180.0, "terminal_long": 180.0}
"""Largest absolute value of each coordinate, in degrees."""


def read(rows: pl.DataFrame, layout: ColumnLayout, form: CsvFormat = DEFAULT) -> tuple[list[pl.Series], dict[str, int]]:
    """Read all passthrough columns and coordinates.

    Returns
    -------
    tuple
        Coordinates, numbers and categories under their names in TRANSACTIONS, and for each coordinate and number the
        number of values that could not be read and became null.
    """
    columns: list[pl.Series] = []
    nulled: dict[str, int] = {}
    for role in LIMITS:
        for raw in layout.roles.get(role, ()):
            values, nulled[role] = coordinate(rows[raw], role, form)
            columns.append(values.alias(role))
    for name, raw in layout.numeric.items():
        values, nulled[name] = number(rows[raw], form)
        columns.append(values.alias(name))
    columns += [category(rows[raw]).alias(name) for name, raw in layout.categorical.items()]
    return columns, nulled


def number(values: pl.Series, form: CsvFormat = DEFAULT) -> tuple[pl.Series, int]:
    """Read numbers as Float64, null if missing; also counts values that are unreadable, infinite or card numbers.

    Examples
    --------
    >>> values, nulled = number(pl.Series(["1.5", "", "twelve", "inf"]))
    >>> values.to_list(), nulled
    ([1.5, None, None, None], 2)
    """
    if values.dtype == pl.String:
        present = number_text.without_groups(values, form).str.strip_chars()
        present = present.set(present.str.to_lowercase().is_in(_NOTHING), None)
    elif values.dtype.is_numeric() or values.dtype in {pl.Boolean, pl.Null}:
        present = values
    else:
        raise SchemaError(f"column '{values.name}' is {values.dtype}, not a number", hint="Map it as categorical.")
    floats = without_card_numbers(present, present.cast(pl.Float64, strict=False).fill_nan(None))
    floats = floats.set(floats.is_infinite().fill_null(value=False), None)
    not_a_number = int(present.is_nan().sum()) if present.dtype.is_float() else 0
    return floats, floats.null_count() - present.null_count() - not_a_number


def without_card_numbers(original: pl.Series, floats: pl.Series) -> pl.Series:
    """Replace numbers that are card numbers by null.

    Parameters
    ----------
    original
        The values as they are in the file, because long numbers are not exact as floats.
    floats
        The same values as Float64.
    """
    if not (floats.abs() >= 1e12).any():
        return floats
    exact = original.cast(pl.Int128, strict=False)
    rounded = floats.set(floats.is_infinite().fill_null(value=False), None).cast(pl.Int128, strict=False)
    whole = exact.zip_with(exact.is_not_null(), rounded)
    removed = cards.without_card_numbers(whole).is_null() & whole.is_not_null()
    return floats.set(removed, None)


def coordinate(values: pl.Series, role: str, form: CsvFormat = DEFAULT) -> tuple[pl.Series, int]:
    """Read degrees as Float64, null if missing; also counts values that are unreadable or outside the valid range.

    Examples
    --------
    >>> coordinate(pl.Series([48.85, 91.0]), "card_lat")[1]
    1
    """
    degrees, nulled = number(values, form)
    invalid = (degrees.abs() > LIMITS[role]).fill_null(value=False)
    return degrees.set(invalid, None), nulled + int(invalid.sum())


def category(values: pl.Series) -> pl.Series:
    """Read categories as canonical text with card numbers masked; missing values are null.

    Examples
    --------
    >>> category(pl.Series(["food ", "", "paid by 4111 1111 1111 1111"])).to_list()
    ['food', None, 'paid by [card number]']
    >>> category(pl.Series([7995.0, None])).to_list()
    ['7995', None]
    """
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise SchemaError(
            f"column '{values.name}' is {values.dtype}, not a category", hint="List it under prepare.mapping.drop."
        )
    return cards.mask_series(canonical(values))


def canonical(values: pl.Series) -> pl.Series:
    """Return the canonical text of each category, as `fraud3000.data.cleaning.category_text.canonical` does for one value.

    Examples
    --------
    >>> canonical(pl.Series([7995.0, float("nan")])).to_list(), canonical(pl.Series(["7995.0", "0742"])).to_list()
    (['7995', None], ['7995', '0742'])
    """
    text = _to_text(values).str.strip_chars()
    text = text.str.replace(category_text.TRAILING_ZEROS, "${1}${2}").replace(category_text.BOOLEANS)
    return text.set(text.is_in(category_text.MISSING).fill_null(value=False), None)


def _to_text(values: pl.Series) -> pl.Series:
    """Convert values to text; decimals without trailing zeros, tiny floats as Python writes them."""
    text = values.cast(pl.String)
    if values.dtype.is_decimal():
        return text.str.replace(r"(\.[0-9]*?)0+$", "${1}").str.strip_chars_end(".")
    if values.dtype.is_float():
        tiny = (values.abs() < 1e-4) & (values != 0)
        rows = tiny.fill_null(value=False).arg_true()
        return text.scatter(rows, [repr(number) for number in text.gather(rows).cast(pl.Float64)])
    return text
