"""Raw columns: their normalised names, and which plays which role by a mapping."""

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
    """Where each part of a transaction is found in a raw file.

    Attributes
    ----------
    roles
        Role to the raw columns that together play it.
    numeric, categorical
        Normalised name to raw column.
    dropped, unused
        Raw columns that are left out on purpose, and those that nothing was said about.
    """

    roles: dict[str, tuple[str, ...]]
    numeric: dict[str, str]
    categorical: dict[str, str]
    dropped: tuple[str, ...]
    unused: tuple[str, ...]


def snake_case(name: str, place: int) -> str:
    """Normalise a column's name; one with nothing to keep is named by its place, from 1.

    Examples
    --------
    >>> snake_case("Is Fraud?", 1), snake_case("transactionID", 2), snake_case("", 3), snake_case("V1", 4)
    ('is_fraud', 'transaction_id', 'column_3', 'v1')
    """
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    words = re.sub(r"\W+|_+", "_", text).strip("_").lower()
    return re.sub(r"_+", "_", words) or f"column_{place}"


def normalised(columns: Sequence[str]) -> dict[str, str]:
    """Each raw name's normalised form, in the order of the columns."""
    return {name: snake_case(name, place) for place, name in enumerate(columns, start=1)}


def resolve(
    columns: Sequence[str], mapping: ColumnMapping, *, thing: str, optional: Collection[str] = ()
) -> ColumnLayout:
    """Find the raw column of every role; the mapping may use raw or normalised names.

    Parameters
    ----------
    columns
        Raw names, in order.
    optional
        Roles that may be missing from the file even though they are mapped.

    Raises
    ------
    SchemaError
        Mapped columns are missing (all of them are named), two columns have one normalised name,
        or a passthrough column bears the name of a role.
    LeakageError
        A mapped column holds the answer.
    ParamsError
        No column is mapped as the amount, or one is both mapped and dropped.

    Examples
    --------
    >>> mapping = Mapping.model_validate({"columns": {"amount": "amount", "card_id": ["user", "Card"]}})
    >>> resolve(["User", "Card", "Amount", "?"], mapping, thing="a.csv").roles
    {'amount': ('Amount',), 'card_id': ('User', 'Card')}
    """
    names = normalised(columns)
    dropped = _dropped(names, mapping.drop)
    kept = {raw: norm for raw, norm in names.items() if raw not in dropped}
    _check_clashes(kept, thing)
    wanted = _wanted(mapping)
    absent = {role for role in optional if role in wanted and not _any_there(wanted[role], kept)}
    wanted = {role: parts for role, parts in wanted.items() if role not in absent}
    asked = dict.fromkeys(
        [*(name for parts in wanted.values() for name in parts), *mapping.numeric, *mapping.categorical]
    )
    found = _find(asked, kept, dropped, thing)
    roles = {role: tuple(found[name] for name in parts) for role, parts in wanted.items()}
    numeric = {kept[found[name]]: found[name] for name in mapping.numeric}
    categorical = {kept[found[name]]: found[name] for name in mapping.categorical}
    used = {*(raw for parts in roles.values() for raw in parts), *numeric.values(), *categorical.values()}
    layout = ColumnLayout(roles, numeric, categorical, dropped, tuple(raw for raw in kept if raw not in used))
    check_answers(layout, names, thing)
    _check_passthrough(layout, thing)
    return layout


def _any_there(parts: tuple[str, ...], kept: dict[str, str]) -> bool:
    by_normalised = {norm: raw for raw, norm in kept.items()}
    return any(_column(name, kept, by_normalised) is not None for name in parts)


def _dropped(names: dict[str, str], drop: tuple[str, ...]) -> tuple[str, ...]:
    """The raw columns to leave out; a raw name takes precedence over the same normalised one."""
    exact = {name for name in drop if name in names}
    loose = {snake_case(name, 0) for name in drop if name not in exact}
    return tuple(raw for raw, norm in names.items() if raw in exact or norm in loose)


def _wanted(mapping: ColumnMapping) -> dict[str, tuple[str, ...]]:
    """The names that each mapped role asks for."""
    given = {role: value for role, value in mapping.columns.model_dump().items() if value is not None}
    if "amount" not in given:
        raise ParamsError(
            "prepare.mapping.columns.amount: no column is mapped as the amount",
            hint="Name the column that holds the amounts, for instance `columns: {amount: Amount}`.",
        )
    return {role: (value,) if isinstance(value, str) else tuple(value) for role, value in given.items()}


def _find(names: Iterable[str], kept: dict[str, str], dropped: tuple[str, ...], thing: str) -> dict[str, str]:
    """Each name of the mapping to its raw column."""
    by_normalised = {norm: raw for raw, norm in kept.items()}
    found = {name: _column(name, kept, by_normalised) for name in names}
    missing = [name for name, raw in found.items() if raw is None]
    both = [name for name in missing if name in dropped or snake_case(name, 0) in normalised(dropped).values()]
    if both:
        raise ParamsError(
            f"prepare.mapping.drop: {_listed(both)} is both mapped and dropped", hint="Take it out of one of the two."
        )
    if missing:
        raise SchemaError.missing_columns(thing, missing, list(dict.fromkeys([*kept, *kept.values()])))
    return {name: raw for name, raw in found.items() if raw is not None}


def _column(name: str, kept: dict[str, str], by_normalised: dict[str, str]) -> str | None:
    return name if name in kept else by_normalised.get(name, by_normalised.get(snake_case(name, 0)))


def _check_clashes(kept: dict[str, str], thing: str) -> None:
    first: dict[str, str] = {}
    for raw, norm in kept.items():
        if norm in first:
            raise SchemaError(
                f"{thing}: columns '{first[norm]}' and '{raw}' would both be named '{norm}'",
                hint="Rename one, or list one by its exact name under prepare.mapping.drop.",
            )
        first[norm] = raw


def check_answers(layout: ColumnLayout, names: dict[str, str], thing: str) -> None:
    """Refuse a mapping that makes an input of the answer.

    Raises
    ------
    LeakageError
        The fraud's scenario is mapped, or the label or its report is an input too.
    """
    inputs = [*layout.numeric.values(), *layout.categorical.values()]
    mapped = {*inputs, *(raw for parts in layout.roles.values() for raw in parts)}
    answers = [raw for raw in mapped if names[raw] in _ANSWERS]
    if answers:
        raise LeakageError(
            f"{thing}: column {_listed(answers)} says which fraud it is, and is mapped",
            hint="Take it out of the mapping: it is the answer and not known when a transaction comes.",
        )
    told = {raw for role in ("is_fraud", "reported_at") for raw in layout.roles.get(role, ())}
    leaks = [raw for raw in inputs if raw in told]
    if leaks:
        raise LeakageError(
            f"{thing}: column {_listed(leaks)} holds the label or its report and is mapped as an input too",
            hint="Take it out of prepare.mapping.numeric and categorical.",
        )


def _check_passthrough(layout: ColumnLayout, thing: str) -> None:
    both = sorted(layout.numeric.keys() & layout.categorical.keys())
    if both:
        raise ParamsError(
            f"prepare.mapping: {_listed(both)} is mapped as numeric and as categorical", hint="Choose one of the two."
        )
    taken = [raw for norm, raw in {**layout.numeric, **layout.categorical}.items() if norm in _RESERVED]
    if taken:
        raise SchemaError(
            f"{thing}: column {_listed(taken)} is passed through under a name that has a meaning of its own here",
            hint="Map it to that role, or rename it.",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
