"""Find columns that must not be stored: card verification codes, PINs, track data, card numbers in other columns."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import polars as pl

from fraud3000.data.cleaning import cards
from fraud3000.data.reading.columns import ColumnLayout, normalised
from fraud3000.errors import DataError
from fraud3000.params import ColumnMapping
from fraud3000.redact import MAYBE, mask

_SECRETS = {
    *("cvv", "cvv1", "cvv2", "cvc", "cvc1", "cvc2", "cav", "cav2", "csc", "cid"),
    *("pin", "pins", "pinblock", "track", "track1", "track2", "track3", "trackdata", "magstripe"),
}
_AMBIGUOUS = "cid"  # a card's verification code at one network, a customer id in many tables
_FLAG = r"^(?:.{0,2}|yes|no|true|false|none|null)$"
_MANY_IDS = 20  # with fewer ids, most may pass Luhn by chance
ID_ROLES: tuple[Literal["transaction_id", "card_id", "terminal_id", "seq"], ...] = (
    "transaction_id",
    "card_id",
    "terminal_id",
    "seq",
)


def refuse(rows: pl.DataFrame | pl.LazyFrame, layout: ColumnLayout, *, thing: str) -> None:
    """Refuse a raw file with authentication data, or with card numbers outside the card column.

    Reads the whole file column by column, because only all values of a column together show what it
    contains. A column is authentication data if a whole word of its name says so. If the name has further
    words, a column that contains only flags ("used PIN": yes) is accepted.

    Raises
    ------
    DataError
        Names all such columns.

    Examples
    --------
    >>> rows = pl.DataFrame({"Amount": ["1"], "CVV 2": ["123"]})
    >>> refuse(rows, ColumnLayout({"amount": ("Amount",)}, {}, {}, (), ("CVV 2",)), thing="a.csv")
    Traceback (most recent call last):
    fraud3000.errors.DataError: a.csv: column 'CVV 2' holds sensitive authentication data (card codes, PINs, track data)
    Hint: It must not be stored after authorisation, not even encrypted: remove it at the source, or list it under \
prepare.mapping.drop.
    """
    frame = rows.lazy()
    schema = frame.collect_schema()
    refuse_names(schema.names(), thing=thing)
    used = {raw: norm for raw, norm in normalised(schema.names()).items() if raw not in layout.dropped}
    ids = {raw for role in ID_ROLES for raw in layout.roles.get(role, ())}
    secrets = [raw for raw, norm in used.items() if _is_secret(norm, frame, raw, is_id=raw in ids)]
    if secrets:
        raise DataError(
            f"{thing}: column {_listed(secrets)} holds sensitive authentication data (card codes, PINs, track data)",
            hint="It must not be stored after authorisation, not even encrypted: remove it at the source, "
            "or list it under prepare.mapping.drop.",
        )
    others = [raw for raw in used if raw not in layout.roles.get("card_id", ())]
    suspect = _may_hold_numbers(frame, {raw: schema[raw] for raw in others})
    stray = [raw for raw in suspect if _is_stray(_distinct(frame, raw), is_id=raw in ids)]
    if stray:
        raise DataError(
            f"{thing}: column {_listed(stray)} holds card numbers but is not mapped as the card",
            hint="Map it as prepare.mapping.columns.card_id, where it is hashed, or list it under prepare.mapping.drop.",
        )


def refuse_names(names: Iterable[str], *, thing: str) -> None:
    """Refuse a file with card numbers in column names, because messages, models and reports repeat the names.

    Raises
    ------
    DataError
        Names the columns, with card numbers masked.

    Examples
    --------
    >>> refuse_names(["4111111111111111", "57.16"], thing="a.csv")
    Traceback (most recent call last):
    fraud3000.errors.DataError: a.csv: the name of column '[card number]' contains a card number
    Hint: Add a header line to the file, or rename the column.
    """
    masked = [mask(name) for name in names if mask(name) != name]
    if masked:
        raise DataError(
            f"{thing}: the name of column {_listed(masked)} contains a card number",
            hint="Add a header line to the file, or rename the column.",
        )


def refused_ids(
    rows: pl.DataFrame | pl.LazyFrame, layout: ColumnLayout, mapping: ColumnMapping, *, hashed: bool
) -> dict[str, pl.Series]:
    """The ids of each role that must be rejected because they contain a card number.

    One in ten ids that only look like card numbers passes the check digit. A column in which no more do is accepted, and so
    are the roles that `prepare.mapping.card_like_ids` names.

    Parameters
    ----------
    hashed
        Whether the card column is replaced by hashes.

    Returns
    -------
    dict
        Role to String ids, as `ids.read` joins them; roles without such ids are absent.
    """
    refused = {}
    for role in searched_roles(layout.roles, mapping, hashed=hashed):
        accepted = None if mapping.card_like_ids is None else False
        ids = cards.refused_ids(_card_like_ids(rows.lazy(), layout.roles[role]), accepted=accepted)
        if len(ids):
            refused[role] = ids
    return refused


def card_like_roles(transactions: pl.DataFrame, mapping: ColumnMapping) -> tuple[str, ...]:
    """The roles whose ids look like card numbers by chance: as the mapping states, else by all ids of TRANSACTIONS."""
    if mapping.card_like_ids is not None:
        return mapping.card_like_ids
    present = [role for role in ID_ROLES if role in transactions.columns]
    matches = {role: _card_like_ids(transactions.lazy(), (role,)) for role in present}
    by_chance = {role for role, ids in matches.items() if ids["passes"].any() and cards.pass_by_chance(ids)}
    stated = {"card_id"} if mapping.card_numbers == "no" else set()
    return tuple(role for role in ID_ROLES if role in by_chance | stated)


def searched_roles(roles: Iterable[str], mapping: ColumnMapping, *, hashed: bool) -> list[str]:
    """The roles, of `roles`, whose ids are searched for card numbers.

    `card_numbers: no` excludes the card, unless `card_like_ids` states which roles to exclude.
    """
    excluded = {*(mapping.card_like_ids or ())}
    if hashed or (mapping.card_numbers == "no" and mapping.card_like_ids is None):
        excluded.add("card_id")
    return [role for role in ID_ROLES if role in roles and role not in excluded]


def _card_like_ids(rows: pl.LazyFrame, parts: tuple[str, ...]) -> pl.DataFrame:
    """Result of `cards.find_in_ids` for an id of one or several columns; empty for columns that cannot be ids."""
    schema = rows.collect_schema()
    if any(schema[part].is_nested() or schema[part].is_float() or schema[part] == pl.Binary for part in parts):
        return cards.find_in_ids(pl.Series([], dtype=pl.String))
    joined = pl.concat_str([pl.col(part).cast(pl.String).str.strip_chars() for part in parts], separator="_")
    may = rows.select(id=joined).filter(pl.col("id").str.contains(MAYBE)).unique()
    return cards.find_in_ids(may.collect(engine="streaming")["id"])


def card_columns(rows: pl.DataFrame | pl.LazyFrame, layout: ColumnLayout, mapping: ColumnMapping) -> tuple[str, ...]:
    """The raw columns of the card role whose values are card numbers, as declared or as detected in the whole file."""
    parts = layout.roles.get("card_id", ())
    if mapping.card_numbers == "no":
        return ()
    if mapping.card_numbers == "yes" and len(parts) == 1:
        return parts
    holding = tuple(raw for raw in parts if holds(rows.lazy(), raw))
    return holding or (parts if mapping.card_numbers == "yes" else ())


def holds(rows: pl.LazyFrame, raw: str) -> bool:
    """Whether a column of card ids contains card numbers, by all of its values."""
    return cards.holds_card_numbers(_distinct(rows, raw))


def _is_secret(name: str, rows: pl.LazyFrame, raw: str, *, is_id: bool) -> bool:
    words = name.split("_")
    joined = {*words, *(first + second for first, second in pairwise(words))}
    matched = joined & _SECRETS
    if not matched or (is_id and matched == {_AMBIGUOUS}):
        return False
    return "".join(words) in _SECRETS or not _is_flag(_distinct(rows, raw))


def _is_flag(values: pl.Series) -> bool:
    if values.dtype == pl.Boolean:
        return True
    text = values.drop_nulls().cast(pl.String, strict=False).str.to_lowercase().str.strip_suffix(".0")
    return bool(text.str.contains(_FLAG).all())


def _is_stray(distinct: pl.Series, *, is_id: bool) -> bool:
    return (not is_id or len(distinct) >= _MANY_IDS) and cards.looks_like_card_numbers(distinct)


def _may_hold_numbers(rows: pl.LazyFrame, kinds: dict[str, pl.DataType]) -> list[str]:
    """The columns in which a value could have eleven digits: a cheap filter before the full check."""
    checks = {}
    for name, kind in kinds.items():
        if kind.is_numeric():
            checks[name] = pl.col(name).cast(pl.Float64, strict=False).fill_nan(None).max() >= 1e10
        elif kind == pl.String:
            checks[name] = (pl.col(name).str.len_bytes() >= 11).any()
        elif kind in {pl.Categorical, pl.Enum}:
            checks[name] = pl.lit(value=True)
    if not checks:
        return []
    results = rows.select(**{f"{n}": check for n, check in enumerate(checks.values())}).collect(engine="streaming")
    candidates = [name for name, any_long in zip(checks, results.row(0), strict=True) if any_long]
    return [name for name in candidates if kinds[name] != pl.String or _any_number(rows, name)]


def _any_number(rows: pl.LazyFrame, name: str) -> bool:
    """Whether any text consists of digits as a card number does; most long ids do not and need no full check."""
    return bool(rows.select(cards.is_long_number(pl.col(name)).any()).collect(engine="streaming").item())


def _distinct(rows: pl.LazyFrame, name: str) -> pl.Series:
    """The distinct values of a column; no check here depends on how often a value occurs."""
    nested = rows.collect_schema()[name].is_nested()
    column = pl.col(name) if nested else pl.col(name).unique()
    return rows.select(column).collect(engine="streaming").to_series()


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
