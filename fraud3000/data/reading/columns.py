"""Columns of a raw file: normalised names, and the role that a mapping gives each column."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from fraud3000.errors import LeakageError, ParamsError, SchemaError
from fraud3000.params import ColumnMapping
from fraud3000.schema import SCORED, TRANSACTIONS

_ANSWERS = {"fraud_scenario", "tx_fraud_scenario"}
_RESERVED = {*TRANSACTIONS, *SCORED, "history_days", "split", "evaluated", "currency", "source_file", "source_row"}


@dataclass(frozen=True)
class ColumnLayout:
    """The raw columns from which each part of a transaction is read.

    Attributes
    ----------
    roles
        Role to the raw columns that together fill it.
    numeric, categorical
        Normalised name to raw column.
    dropped, unused
        Raw columns that the mapping drops, and raw columns that it does not mention.
    """

    roles: dict[str, tuple[str, ...]]
    numeric: dict[str, str]
    categorical: dict[str, str]
    dropped: tuple[str, ...]
    unused: tuple[str, ...]


def snake_case(name: str, number: int) -> str:
    """Normalise a column name; a name without letters or digits becomes column_<number>, counted from 1.

    Examples
    --------
    >>> snake_case("Is Fraud?", 1), snake_case("transactionID", 2), snake_case("", 3), snake_case("V1", 4)
    ('is_fraud', 'transaction_id', 'column_3', 'v1')
    """
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    words = re.sub(r"\W+|_+", "_", text).strip("_").lower()
    return re.sub(r"_+", "_", words) or f"column_{number}"


def normalised(columns: Sequence[str]) -> dict[str, str]:
    """Map each raw name to its normalised form, in column order."""
    return {name: snake_case(name, number) for number, name in enumerate(columns, start=1)}


def resolve(
    columns: Sequence[str], mapping: ColumnMapping, *, thing: str, optional: Collection[str] = ()
) -> ColumnLayout:
    """Find the raw columns of every role; the mapping may use raw or normalised names.

    Parameters
    ----------
    columns
        Raw names, in order.
    optional
        Roles that may be missing from the file even though they are mapped.

    Raises
    ------
    SchemaError
        Mapped columns are missing (the message names all), two columns have the same normalised name,
        or a passthrough column has the name of a role.
    LeakageError
        A mapped column contains the label or the kind of fraud.
    ParamsError
        No column is mapped as the amount, or a column is both mapped and dropped.

    Examples
    --------
    >>> mapping = ColumnMapping.model_validate({"columns": {"amount": "amount", "card_id": ["user", "Card"]}})
    >>> resolve(["User", "Card", "Amount", "?"], mapping, thing="a.csv").roles
    {'amount': ('Amount',), 'card_id': ('User', 'Card')}
    """
    names = normalised(columns)
    dropped = _dropped(names, mapping.drop)
    available = {raw: norm for raw, norm in names.items() if raw not in dropped}
    _check_clashes(available, thing)
    mapped = _mapped_names(mapping)
    absent = {role for role in optional if role in mapped and not _any_available(mapped[role], available)}
    mapped = {role: parts for role, parts in mapped.items() if role not in absent}
    requested = dict.fromkeys(
        [*(name for parts in mapped.values() for name in parts), *mapping.numeric, *mapping.categorical]
    )
    columns_by_name = _find(requested, available, dropped, thing)
    roles = {role: tuple(columns_by_name[name] for name in parts) for role, parts in mapped.items()}
    numeric = {available[columns_by_name[name]]: columns_by_name[name] for name in mapping.numeric}
    categorical = {available[columns_by_name[name]]: columns_by_name[name] for name in mapping.categorical}
    used = {*(raw for parts in roles.values() for raw in parts), *numeric.values(), *categorical.values()}
    layout = ColumnLayout(roles, numeric, categorical, dropped, tuple(raw for raw in available if raw not in used))
    check_answers(layout, names, thing)
    _check_passthrough(layout, thing)
    return layout


def _any_available(parts: tuple[str, ...], available: dict[str, str]) -> bool:
    by_normalised = {norm: raw for raw, norm in available.items()}
    return any(_column(name, available, by_normalised) is not None for name in parts)


def _dropped(names: dict[str, str], drop: tuple[str, ...]) -> tuple[str, ...]:
    """The raw columns to leave out; a raw name takes precedence over an equal normalised name."""
    exact = {name for name in drop if name in names}
    loose = {snake_case(name, 0) for name in drop if name not in exact}
    return tuple(raw for raw, norm in names.items() if raw in exact or norm in loose)


def _mapped_names(mapping: ColumnMapping) -> dict[str, tuple[str, ...]]:
    """Each mapped role to the column names that the mapping states for it."""
    stated = {role: value for role, value in mapping.columns.model_dump().items() if value is not None}
    if "amount" not in stated:
        raise ParamsError(
            "prepare.mapping.columns.amount: no column is mapped as the amount",
            hint="Name the column that contains the amounts, for instance `columns: {amount: Amount}`.",
        )
    return {role: (value,) if isinstance(value, str) else tuple(value) for role, value in stated.items()}


def _find(names: Iterable[str], available: dict[str, str], dropped: tuple[str, ...], thing: str) -> dict[str, str]:
    """Map each name of the mapping to its raw column."""
    by_normalised = {norm: raw for raw, norm in available.items()}
    columns = {name: _column(name, available, by_normalised) for name in names}
    missing = [name for name, raw in columns.items() if raw is None]
    both = [name for name in missing if name in dropped or snake_case(name, 0) in normalised(dropped).values()]
    if both:
        raise ParamsError(
            f"prepare.mapping.drop: {_listed(both)} is both mapped and dropped",
            hint="Remove it from prepare.mapping.drop, or do not map it.",
        )
    if missing:
        raise SchemaError.missing_columns(thing, missing, list(dict.fromkeys([*available, *available.values()])))
    return {name: raw for name, raw in columns.items() if raw is not None}


def _column(name: str, available: dict[str, str], by_normalised: dict[str, str]) -> str | None:
    return name if name in available else by_normalised.get(name, by_normalised.get(snake_case(name, 0)))


def _check_clashes(available: dict[str, str], thing: str) -> None:
    first: dict[str, str] = {}
    for raw, norm in available.items():
        if norm in first:
            raise SchemaError(
                f"{thing}: columns '{first[norm]}' and '{raw}' would both be named '{norm}'",
                hint="Rename one, or list one by its exact name under prepare.mapping.drop.",
            )
        first[norm] = raw


def check_answers(layout: ColumnLayout, names: dict[str, str], thing: str) -> None:
    """Refuse a mapping that uses the label, its report or the kind of fraud as an input.

    Raises
    ------
    LeakageError
        The fraud scenario is mapped, or the label or its report is also an input.
    """
    inputs = [*layout.numeric.values(), *layout.categorical.values()]
    mapped = {*inputs, *(raw for parts in layout.roles.values() for raw in parts)}
    answers = [raw for raw in mapped if names[raw] in _ANSWERS]
    if answers:
        raise LeakageError(
            f"{thing}: column {_listed(answers)} states the kind of fraud and is mapped",
            hint="Remove it from the mapping: it is not known at the time of the transaction.",
        )
    label_columns = {raw for role in ("is_fraud", "reported_at") for raw in layout.roles.get(role, ())}
    leaks = [raw for raw in inputs if raw in label_columns]
    if leaks:
        raise LeakageError(
            f"{thing}: column {_listed(leaks)} contains the label or its report and is also mapped as an input",
            hint="Remove it from prepare.mapping.numeric and prepare.mapping.categorical.",
        )


def _check_passthrough(layout: ColumnLayout, thing: str) -> None:
    both = sorted(layout.numeric.keys() & layout.categorical.keys())
    if both:
        raise ParamsError(
            f"prepare.mapping: {_listed(both)} is mapped as numeric and as categorical",
            hint="Remove it from prepare.mapping.numeric or prepare.mapping.categorical.",
        )
    reserved = [raw for norm, raw in {**layout.numeric, **layout.categorical}.items() if norm in _RESERVED]
    if reserved:
        raise SchemaError(
            f"{thing}: column {_listed(reserved)} is passed through under a reserved name",
            hint="Map it to the role of that name, or rename the column.",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
