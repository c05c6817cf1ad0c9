"""Files that already are TRANSACTIONS, such as what prepare writes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import polars as pl

from fraud3000.data import cards, passthrough, sensitive
from fraud3000.data.amounts import LARGEST
from fraud3000.data.columns import Layout, check_answers, snake_case
from fraud3000.data.faults import Fault, first_faults
from fraud3000.data.raw import RawFile, RawTable
from fraud3000.data.roles import Cleaned, Cleaner, Rules, card_number_faults
from fraud3000.data.times import outside
from fraud3000.errors import SchemaError
from fraud3000.schema import APPROVED, DECLINED, REFUND, REQUIRED, TRANSACTIONS, check

_NEEDED = ("transaction_id", "ts", "card_id", "terminal_id", "amount", "status", "labelled", "seq")


def is_prepared(schema: Mapping[str, pl.DataType]) -> bool:
    """Whether a schema has every required column of TRANSACTIONS in its type.

    Examples
    --------
    >>> is_prepared({"transaction_id": pl.String(), "amount": pl.Int64()})
    False
    """
    return all(schema.get(name) == TRANSACTIONS[name] for name in REQUIRED)


def cleaner(table: RawTable, rules: Rules) -> Cleaner:
    """Take the columns of TRANSACTIONS as they are, and the passthrough columns that the mapping names.

    Nulls where a value is needed, unknown statuses, times and amounts out of range are faults, as
    in a raw file.

    Raises
    ------
    SchemaError
        A column is of another type than TRANSACTIONS has it in, or a passthrough column is missing.
    """
    thing, schema = table.name, table.schema
    check(pl.DataFrame(schema=schema), TRANSACTIONS, REQUIRED, thing=thing)
    kinds: dict[str, pl.DataType] = {name: pl.Float64() for name in _names(rules.mapping.numeric)}
    kinds |= {name: pl.String() for name in _names(rules.mapping.categorical)}
    missing = [name for name in kinds if name not in schema]
    if missing:
        raise SchemaError.missing_columns(thing, missing, schema.names())
    roles = [name for name in TRANSACTIONS if name in schema]
    unused = tuple(name for name in schema if name not in {*roles, *kinds})
    layout = Layout(
        {name: (name,) for name in roles}, _same(rules.mapping.numeric), _same(rules.mapping.categorical), (), unused
    )
    check_answers(layout, {name: name for name in schema}, thing)
    with table.reading():
        sensitive.refuse(table.rows, layout, thing=thing)
        found = "card_id" in schema and rules.mapping.card_numbers != "no" and sensitive.holds(table.rows, "card_id")
        refused = sensitive.refused_ids(table.rows, layout, rules.mapping, hashed=found)
    columns = [*roles, *kinds]
    return partial(_clean, columns, kinds, rules, refused, unused=unused, card_numbers=found)


def _clean(
    columns: list[str],
    kinds: Mapping[str, pl.DataType],
    rules: Rules,
    refused: Mapping[str, pl.Series],
    raw: RawFile,
    *,
    unused: tuple[str, ...],
    card_numbers: bool,
) -> Cleaned:
    rows, lost = _without_card_numbers(raw.rows.select(columns), kinds)
    faults = first_faults([*_faults(rows, rules), *card_number_faults(rows.to_dict(), refused)])
    if card_numbers:
        rows = rows.with_columns(rules.card_key().names(rows["card_id"]).alias("card_id"))
        return Cleaned(rows, faults, ("card_id",), unused, lost)
    return Cleaned(rows, faults, (), unused, lost)


def _without_card_numbers(rows: pl.DataFrame, kinds: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame, dict[str, int]]:
    """Bring passthrough columns to their types, card numbers taken out; and how many numbers became null by that."""
    read: list[pl.Series] = []
    lost: dict[str, int] = {}
    for name, kind in kinds.items():
        if kind == pl.String:
            read.append(cards.mask_series(rows[name].cast(kind, strict=False)))
        else:
            read.append(passthrough.without_card_numbers(rows[name], rows[name].cast(kind, strict=False)))
            lost[name] = read[-1].null_count() - rows[name].cast(kind, strict=False).null_count()
    return rows.with_columns(read), lost


def _faults(rows: pl.DataFrame, rules: Rules) -> list[Fault]:
    faults = [
        Fault.told(f"{name}_missing", rows[name].is_null(), f"{name} is null") for name in _NEEDED if name in rows
    ]
    if "ts" in rows.columns:
        late = outside(rows["ts"], rules.earliest, rules.latest)
        faults.append(Fault.where("time_out_of_range", late, "time", rows["ts"]))
    too_large = (rows["amount"] > LARGEST) | (rows["amount"] < -LARGEST)
    unknown = ~rows["status"].is_in([APPROVED, DECLINED, REFUND])
    odd_label = ~rows["is_fraud"].is_in([0, 1])
    return [
        *faults,
        Fault.where("amount_too_large", too_large, "amount", rows["amount"]),
        Fault.where("status_unknown_value", unknown, "status", rows["status"]),
        Fault.where("label_unknown_value", odd_label, "label", rows["is_fraud"]),
    ]


def _names(columns: tuple[str, ...]) -> list[str]:
    return [snake_case(name, 0) for name in columns]


def _same(columns: tuple[str, ...]) -> dict[str, str]:
    return {name: name for name in _names(columns)}
