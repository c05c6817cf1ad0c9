"""The column types from which each role can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from fraud3000.data.reading.columns import ColumnLayout
from fraud3000.errors import SchemaError

_NUMBERS = frozenset({"text", "integer", "float", "decimal", "null"})
_IDS = _NUMBERS | {"boolean", "date", "datetime", "time"}  # numbers that are not whole are refused when they are read
_MOMENT = _NUMBERS | {"date", "datetime"}
_WORDS = _NUMBERS | {"boolean"}

_ROLES: dict[str, tuple[frozenset[str], str]] = {
    **dict.fromkeys(("transaction_id", "card_id", "terminal_id"), (_IDS, "Export ids as integers or text.")),
    **dict.fromkeys(("ts", "reported_at"), (_MOMENT, "Export it as a timestamp, a date or text.")),
    "recorded_at": (_MOMENT, "Export it as a timestamp, a date or text."),
    "amount": (_NUMBERS, "Export it as a number or as text."),
    "seq": (frozenset({"text", "integer"}), "Export seq as an integer."),
    **dict.fromkeys(("is_fraud", "status", "currency", "source"), (_WORDS, "Export it as text.")),
    **dict.fromkeys(("card_lat", "card_long", "terminal_lat", "terminal_long"), (_NUMBERS, "Export it as a number.")),
    "numeric": (_WORDS, "Export it as a number, or map it as categorical."),
    "categorical": (_WORDS | {"date", "datetime", "time"}, "Export it as text, or remove it from the mapping."),
}
"""For each role the kinds of column that can be read, and the hint for other kinds."""


def kind_of(declared: pl.DataType) -> str:
    """The kind of a column type, by which roles accept or refuse it.

    Examples
    --------
    >>> kind_of(pl.Decimal(10, 2)), kind_of(pl.Duration("ms")), kind_of(pl.List(pl.Int64))
    ('decimal', 'other', 'other')
    """
    if declared.is_integer():
        return "integer"
    if declared.is_float():
        return "float"
    if isinstance(declared, pl.Decimal):
        return "decimal" if declared.scale else "whole decimal"
    if isinstance(declared, pl.Datetime):
        return "datetime"
    named = {pl.String: "text", pl.Boolean: "boolean", pl.Date: "date", pl.Time: "time", pl.Null: "null"}
    return next((kind for type_, kind in named.items() if declared == type_), "other")


def check(schema: Mapping[str, pl.DataType], layout: ColumnLayout, *, thing: str) -> None:
    """Refuse a file in which a mapped column has a type from which its role cannot be read.

    Raises
    ------
    SchemaError
        Names all such columns with their types and roles.

    Examples
    --------
    >>> layout = ColumnLayout({"amount": ("Amount",)}, {}, {"kind": "Kind"}, (), ())
    >>> check({"Amount": pl.Duration("us"), "Kind": pl.Binary()}, layout, thing="a.parquet")
    Traceback (most recent call last):
    fraud3000.errors.SchemaError: a.parquet: column 'Amount' is Duration(time_unit='us'), which cannot be read as amount; \
column 'Kind' is Binary, which cannot be read as categorical
    Hint: Export it as a number or as text.
    """
    roles = {
        **layout.roles,
        "numeric": tuple(layout.numeric.values()),
        "categorical": tuple(layout.categorical.values()),
    }
    check_roles(schema, roles, thing=thing)


def check_roles(schema: Mapping[str, pl.DataType], roles: Mapping[str, Iterable[str]], *, thing: str) -> None:
    """Refuse columns by their roles; see `check`."""
    wrong = [
        (role, name)
        for role, names in roles.items()
        for name in names
        if not _readable(schema[name], role, several=len(tuple(names)) > 1)
    ]
    if wrong:
        problems = (f"column '{name}' is {schema[name]}, which cannot be read as {role}" for role, name in wrong)
        raise SchemaError(f"{thing}: {'; '.join(problems)}", hint=_ROLES[wrong[0][0]][1])


def _readable(declared: pl.DataType, role: str, *, several: bool) -> bool:
    kind, kinds = kind_of(declared), _ROLES[role][0]
    if kinds >= _NUMBERS:
        kinds |= {"whole decimal"}
    if several and role in {"ts", "reported_at"}:
        kinds |= {"time"}  # joined with a date column as text
    return kind in kinds


def as_plain(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Convert columns of unsupported types to text, so that checks of values work on every column.

    Durations are written out; binary and nested values become a description of their kind.

    Examples
    --------
    >>> as_plain(pl.LazyFrame({"a": [b"x", None], "b": [[1], [2]], "c": [1, 2]})).collect().rows()
    [('binary value', 'nested value', 1), (None, 'nested value', 2)]
    """
    return rows.with_columns(
        pl.col(name).dt.to_string()
        if isinstance(declared, pl.Duration)
        else pl.when(pl.col(name).is_not_null()).then(pl.lit(_describe(declared))).alias(name)
        for name, declared in rows.collect_schema().items()
        if kind_of(declared) == "other" and not isinstance(declared, pl.Categorical | pl.Enum)
    )


def _describe(declared: pl.DataType) -> str:
    return "binary value" if declared == pl.Binary else "nested value" if declared.is_nested() else f"{declared} value"
