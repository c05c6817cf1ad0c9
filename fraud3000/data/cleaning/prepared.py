"""Clean files that already are TRANSACTIONS, such as the output of prepare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import polars as pl

from fraud3000.data.cleaning import column_types, passthrough, sensitive
from fraud3000.data.cleaning.amounts import LARGEST
from fraud3000.data.cleaning.missing import are_missing
from fraud3000.data.cleaning.roles import Cleaned, Cleaner, CleaningRules, card_number_errors
from fraud3000.data.cleaning.row_errors import RowError, first_errors
from fraud3000.data.reading.columns import ColumnLayout, check_answers, snake_case
from fraud3000.data.reading.raw_table import RawFile, RawTable
from fraud3000.data.reading.times import outside_range
from fraud3000.errors import SchemaError
from fraud3000.schema import APPROVED, DECLINED, REFUND, REQUIRED, TRANSACTIONS, check

_NEEDED = ("transaction_id", "ts", "card_id", "terminal_id", "amount", "status", "labelled", "seq")


def is_prepared(schema: Mapping[str, pl.DataType]) -> bool:
    """Whether a schema has every required column of TRANSACTIONS with its type.

    Examples
    --------
    >>> is_prepared({"transaction_id": pl.String(), "amount": pl.Int64()})
    False
    """
    return all(schema.get(name) == TRANSACTIONS[name] for name in REQUIRED)


def make_cleaner(table: RawTable, rules: CleaningRules) -> Cleaner:
    """Check a file of TRANSACTIONS as a whole; return the function that cleans its slices.

    Columns of TRANSACTIONS are used as they are, with the passthrough columns that the mapping names. Nulls
    in required columns, unknown statuses, and times and amounts out of range are errors, as in a raw file.

    Raises
    ------
    SchemaError
        A column has another type than in TRANSACTIONS, or a passthrough column is missing.
    """
    thing, schema = table.name, table.schema
    check(pl.DataFrame(schema=schema), TRANSACTIONS, REQUIRED, thing=thing)
    numeric, categorical = _names(rules.mapping.numeric), _names(rules.mapping.categorical)
    missing = [name for name in (*numeric, *categorical) if name not in schema]
    if missing:
        raise SchemaError.missing_columns(thing, missing, schema.names())
    roles = [name for name in TRANSACTIONS if name in schema]
    unused = tuple(name for name in schema if name not in {*roles, *numeric, *categorical})
    layout = ColumnLayout({name: (name,) for name in roles}, _same(numeric), _same(categorical), (), unused)
    check_answers(layout, {name: name for name in schema}, thing)
    column_types.check(schema, replace(layout, roles={}), thing=thing)
    plain = column_types.as_plain(table.rows)
    with table.reading():
        sensitive.refuse(plain, layout, thing=thing)
        hashed = "card_id" in schema and rules.mapping.card_numbers != "no" and sensitive.holds(plain, "card_id")
        refused = sensitive.refused_ids(plain, layout, rules.mapping, hashed=hashed)
    return partial(_clean, layout, rules, refused, card_numbers=hashed)


def _clean(
    layout: ColumnLayout, rules: CleaningRules, refused: Mapping[str, pl.Series], raw: RawFile, *, card_numbers: bool
) -> Cleaned:
    rows = raw.rows.select(*layout.roles)
    errors = first_errors([*_row_errors(rows, rules), *card_number_errors(rows.to_dict(), refused)])
    passed_through, nulled = passthrough.read(raw.rows, layout)
    rows = rows.with_columns(passed_through)
    if card_numbers:
        rows = rows.with_columns(rules.card_key().names(rows["card_id"]).alias("card_id"))
    return Cleaned(rows, errors, ("card_id",) if card_numbers else (), layout.unused, nulled)


def _row_errors(rows: pl.DataFrame, rules: CleaningRules) -> list[RowError]:
    errors = [
        RowError.with_detail(f"{name}_missing", rows[name].is_null(), f"{name} is null")
        for name in _NEEDED
        if name in rows
    ]
    for name in ("transaction_id", "card_id", "terminal_id"):
        if name in rows:
            word = are_missing(rows[name]) & rows[name].is_not_null()
            errors.append(RowError.where(f"{name}_missing", word, name, rows[name]))
    if "ts" in rows.columns:
        late = outside_range(rows["ts"], rules.earliest, rules.latest)
        errors.append(RowError.where("time_out_of_range", late, "time", rows["ts"]))
    too_large = (rows["amount"] > LARGEST) | (rows["amount"] < -LARGEST)
    unknown = ~rows["status"].is_in([APPROVED, DECLINED, REFUND])
    odd_label = ~rows["is_fraud"].is_in([0, 1])
    return [
        *errors,
        RowError.where("amount_too_large", too_large, "amount", rows["amount"]),
        RowError.where("status_unknown_value", unknown, "status", rows["status"]),
        RowError.where("label_unknown_value", odd_label, "label", rows["is_fraud"]),
    ]


def _names(columns: tuple[str, ...]) -> list[str]:
    return [snake_case(name, 0) for name in columns]


def _same(columns: list[str]) -> dict[str, str]:
    return {name: name for name in columns}
