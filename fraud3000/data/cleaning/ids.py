"""Read ids as text, never through floats."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from fraud3000.data.cleaning.missing import WORDS, are_missing, is_missing
from fraud3000.data.cleaning.row_errors import RowError
from fraud3000.errors import SchemaError

_FLOAT_NOTATION = r"^[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$|^[+-]?[0-9]+[eE][+-][0-9]+$"

_HIDDEN = "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
"""Invisible characters, such as control and direction marks: an id that contains one looks like another id."""

_LONGEST_WORD = max(map(len, WORDS))
_FLOAT_NOTATION_REGEX, _HIDDEN_REGEX = re.compile(_FLOAT_NOTATION), re.compile(_HIDDEN)


def problem(text: str) -> str | None:
    r"""Describe what is wrong with one id, by the rules that `read` applies to columns; None if the id is valid.

    Examples
    --------
    >>> problem("C42"), problem("1.23E+15"), problem("C42\u202e")
    (None, 'this is float notation, in which digits may be lost', 'this has a control or direction character')
    >>> problem("NULL")
    'this is a word for a missing value'
    """
    if len(text) <= _LONGEST_WORD and is_missing(text):
        return "this is a word for a missing value"
    if _FLOAT_NOTATION_REGEX.match(text):
        return "this is float notation, in which digits may be lost"
    plain = text.isascii() and text.isprintable()
    return None if plain or not _HIDDEN_REGEX.search(text) else "this has a control or direction character"


def read(columns: Sequence[pl.Series], role: str, *, secret: bool = False) -> tuple[pl.Series, list[RowError]]:
    """Read an id from one column, or from several joined by ``_``.

    Returns
    -------
    tuple
        String ids, null where there is an error, and the errors: ``<role>_missing``, also for words such
        as NULL or n/a (`fraud3000.data.cleaning.missing`), which would combine all such rows into one card;
        ``<role>_not_exact`` for text in float notation, in which digits may already be lost; and
        ``<role>_hidden`` for text with control or direction characters. With `secret` the errors do not
        quote the value.

    Raises
    ------
    SchemaError
        A column contains floats, in which long ids are not exact, or nested or binary values.

    Examples
    --------
    >>> values, errors = read([pl.Series("user", [7, 7]), pl.Series("card", ["0", "1.23E+15"])], "card_id")
    >>> values.to_list(), [(error.code, error.rows.to_list()) for error in errors if len(error.rows)]
    (['7_0', None], [('card_id_not_exact', [1])])
    """
    pieces = [_text(column, role) for column in columns]
    frame = pl.DataFrame([piece.alias(str(index)) for index, piece in enumerate(pieces)])
    missing = frame.select(pl.any_horizontal(pl.all().is_null())).to_series()
    text_columns = [index for index, column in enumerate(columns) if column.dtype == pl.String]
    inexact = _contains(frame, text_columns, _FLOAT_NOTATION)
    hidden = _contains(frame, text_columns, _HIDDEN)
    joined = frame.select(pl.concat_str(pl.all(), separator="_").alias(role)).to_series()
    errors = [
        RowError.with_detail(f"{role}_missing", missing, f"{role} is empty or a word for a missing value")
        if secret
        else RowError.where(f"{role}_missing", missing, role, *columns),
        RowError.with_detail(f"{role}_not_exact", inexact, f"{role} is in float notation")
        if secret
        else RowError.where(f"{role}_not_exact", inexact, role, joined),
        RowError.with_detail(f"{role}_hidden", hidden & ~inexact, f"{role} has a control or direction character"),
    ]
    return joined.set(inexact | hidden, None), errors


def _contains(frame: pl.DataFrame, columns: Sequence[int], pattern: str) -> pl.Series:
    """Whether any of the columns matches the pattern, row by row."""
    matches = (pl.col(str(column)).str.contains(pattern) for column in columns)
    matched = frame.select(pl.any_horizontal(pl.lit(value=False), *matches).fill_null(value=False).alias("matched"))
    if matched.height != frame.height:  # without columns, polars returns a single row
        return pl.Series([False] * frame.height, dtype=pl.Boolean)
    return matched.to_series()


def _text(column: pl.Series, role: str) -> pl.Series:
    kind = column.dtype
    lossy = kind.is_float() or (isinstance(kind, pl.Decimal) and kind.scale != 0)
    if lossy:
        raise SchemaError(
            f"column '{column.name}' is {kind}, so the {role}s in it may have lost digits",
            hint="Export ids as integers or text; in pandas read them with dtype=str.",
        )
    if kind.is_nested() or kind == pl.Binary:
        raise SchemaError(
            f"column '{column.name}' is {kind}, which cannot be read as {role}", hint="Export ids as integers or text."
        )
    text = column.cast(pl.String).str.strip_chars()
    return text.set(are_missing(text), None)


def read_arrival(column: pl.Series) -> tuple[pl.Series, list[RowError]]:
    """Read seq, the number of a row in the order of arrival, as Int64; error ``seq_unreadable``.

    Raises
    ------
    SchemaError
        The column is neither integer nor text.
    """
    if not (column.dtype.is_integer() or column.dtype == pl.String):
        raise SchemaError(
            f"column '{column.name}' is {column.dtype}, not a whole number", hint="Export seq as an integer."
        )
    text_or_int = column.str.strip_chars() if column.dtype == pl.String else column
    seq = text_or_int.cast(pl.Int64, strict=False).alias("seq")
    return seq, [RowError.where("seq_unreadable", seq.is_null(), "seq", column)]
