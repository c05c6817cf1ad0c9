"""Ids as text, never through floats."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fraud3000.data.faults import Fault
from fraud3000.data.missing import are_missing
from fraud3000.errors import SchemaError

_FLOAT_NOTATION = r"^[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$|^[+-]?[0-9]+[eE][+-][0-9]+$"


def read(columns: Sequence[pl.Series], role: str, *, secret: bool = False) -> tuple[pl.Series, list[Fault]]:
    """Read an id from one column, or from several joined by ``_``.

    Returns
    -------
    tuple
        String ids, null where a fault is, and the faults: ``<role>_missing``, also for words such
        as NULL or n/a (`fraud3000.data.missing`), which would make one card of all such rows, and
        ``<role>_not_exact`` for text in float notation, where digits may be lost already. With
        `secret` the faults do not quote what was found.

    Raises
    ------
    SchemaError
        A column holds floats, in which long ids are not exact, or no plain values at all.

    Examples
    --------
    >>> values, faults = read([pl.Series("user", [7, 7]), pl.Series("card", ["0", "1.23E+15"])], "card_id")
    >>> values.to_list(), [(fault.code, fault.rows.to_list()) for fault in faults if len(fault.rows)]
    (['7_0', None], [('card_id_not_exact', [1])])
    """
    pieces = [_text(column, role) for column in columns]
    frame = pl.DataFrame([piece.alias(str(place)) for place, piece in enumerate(pieces)])
    missing = frame.select(pl.any_horizontal(pl.all().is_null())).to_series()
    written = [place for place, column in enumerate(columns) if column.dtype == pl.String]
    float_like = pl.any_horizontal(
        pl.lit(value=False), *(pl.col(str(p)).str.contains(_FLOAT_NOTATION) for p in written)
    )
    inexact = frame.select(float_like.fill_null(value=False).alias("inexact")).to_series()
    if len(inexact) != frame.height:
        inexact = pl.Series([False] * frame.height, dtype=pl.Boolean)
    joined = frame.select(pl.concat_str(pl.all(), separator="_").alias(role)).to_series()
    faults = [
        Fault.told(f"{role}_missing", missing, f"{role} is empty or only a word for it")
        if secret
        else Fault.where(f"{role}_missing", missing, role, *columns),
        Fault.told(f"{role}_not_exact", inexact, f"{role} is in float notation")
        if secret
        else Fault.where(f"{role}_not_exact", inexact, role, joined),
    ]
    return joined.set(inexact, None), faults


def _text(column: pl.Series, role: str) -> pl.Series:
    kind = column.dtype
    lossy = kind.is_float() or (isinstance(kind, pl.Decimal) and kind.scale != 0)
    if lossy:
        raise SchemaError(
            f"column '{column.name}' is {kind}, so the {role}s in it may have lost digits",
            hint="Export ids as integers or text; in pandas read them with dtype=str.",
        )
    if kind.is_nested() or kind == pl.Binary:
        raise SchemaError(f"column '{column.name}' is {kind}, no {role}", hint="Export ids as integers or text.")
    text = column.cast(pl.String).str.strip_chars()
    return text.set(are_missing(text), None)


def read_arrival(column: pl.Series) -> tuple[pl.Series, list[Fault]]:
    """Read the place in the order of arrival as Int64; fault ``seq_unreadable``.

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
    places = text_or_int.cast(pl.Int64, strict=False).alias("seq")
    return places, [Fault.where("seq_unreadable", places.is_null(), "seq", column)]
