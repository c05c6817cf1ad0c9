"""Columns that must not be kept: card verification codes, PINs, track data, stray card numbers."""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from fraud3000.data import cards
from fraud3000.data.columns import Layout, normalised
from fraud3000.errors import DataError
from fraud3000.params import Mapping

_SECRETS = {
    *("cvv", "cvv1", "cvv2", "cvc", "cvc1", "cvc2", "cav", "cav2", "csc", "cid"),
    *("pin", "pins", "pinblock", "track", "track1", "track2", "track3", "trackdata", "magstripe"),
}
_AMBIGUOUS = "cid"  # a card's code at one network, a customer's id in many a table
_FLAG = r"^(?:.{0,2}|yes|no|true|false|none|null)$"
_MANY_IDS = 20  # of fewer ids, most may pass Luhn by chance
_ID_ROLES = ("transaction_id", "card_id", "terminal_id")


def refuse(rows: pl.DataFrame | pl.LazyFrame, layout: Layout, *, thing: str) -> None:
    """Refuse a raw file with authentication data, or with card numbers outside the card column.

    Needs the whole file: what a column holds shows in all of its values together. They are looked
    at column by column.

    A column is authentication data if a whole word of its name says so. Where the name has more
    words, a column of mere flags ("used PIN": yes) is let through.

    Raises
    ------
    DataError
        Naming all such columns.

    Examples
    --------
    >>> rows = pl.DataFrame({"Amount": ["1"], "CVV 2": ["123"]})
    >>> refuse(rows, Layout({"amount": ("Amount",)}, {}, {}, (), ("CVV 2",)), thing="a.csv")
    Traceback (most recent call last):
    fraud3000.errors.DataError: a.csv: column 'CVV 2' holds sensitive authentication data (card codes, PINs, track data)
    Hint: It must not be kept after authorisation, not even encrypted: remove it at the source, or list it under \
prepare.mapping.drop.
    """
    whole = rows.lazy()
    schema = whole.collect_schema()
    kept = {raw: norm for raw, norm in normalised(schema.names()).items() if raw not in layout.dropped}
    ids = {raw for role in _ID_ROLES for raw in layout.roles.get(role, ())}
    secrets = [raw for raw, norm in kept.items() if _is_secret(norm, whole, raw, is_id=raw in ids)]
    if secrets:
        raise DataError(
            f"{thing}: column {_listed(secrets)} holds sensitive authentication data (card codes, PINs, track data)",
            hint="It must not be kept after authorisation, not even encrypted: remove it at the source, "
            "or list it under prepare.mapping.drop.",
        )
    others = [raw for raw in kept if raw not in layout.roles.get("card_id", ())]
    suspect = _may_hold_numbers(whole, {raw: schema[raw] for raw in others})
    stray = [raw for raw in suspect if _is_stray(_distinct(whole, raw), is_id=raw in ids)]
    if stray:
        raise DataError(
            f"{thing}: column {_listed(stray)} holds card numbers, and is not mapped as the card",
            hint="Map it as prepare.mapping.columns.card_id, where it is hashed, or list it under prepare.mapping.drop.",
        )


def card_columns(rows: pl.DataFrame | pl.LazyFrame, layout: Layout, mapping: Mapping) -> tuple[str, ...]:
    """The raw columns of the card role whose values are card numbers, declared or found to be in the whole file."""
    parts = layout.roles.get("card_id", ())
    if mapping.card_numbers == "no":
        return ()
    if mapping.card_numbers == "yes" and len(parts) == 1:
        return parts
    holding = tuple(raw for raw in parts if holds(rows.lazy(), raw))
    return holding or (parts if mapping.card_numbers == "yes" else ())


def holds(rows: pl.LazyFrame, raw: str) -> bool:
    """Whether a column of cards holds card numbers, by all of its values."""
    return cards.holds_card_numbers(_distinct(rows, raw))


def _is_secret(name: str, rows: pl.LazyFrame, raw: str, *, is_id: bool) -> bool:
    words = name.split("_")
    joined = {*words, *(first + second for first, second in pairwise(words))}
    said = joined & _SECRETS
    if not said or (is_id and said == {_AMBIGUOUS}):
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
    """The columns in which any value could have eleven digits: a cheap look before the long one."""
    looks = {}
    for name, kind in kinds.items():
        if kind.is_numeric():
            looks[name] = pl.col(name).cast(pl.Float64, strict=False).fill_nan(None).max() >= 1e10
        elif kind == pl.String:
            looks[name] = (pl.col(name).str.len_bytes() >= 11).any()
        elif kind in {pl.Categorical, pl.Enum}:
            looks[name] = pl.lit(value=True)
    if not looks:
        return []
    found = rows.select(**{f"{place}": look for place, look in enumerate(looks.values())}).collect(engine="streaming")
    may = [name for name, any_long in zip(looks, found.row(0), strict=True) if any_long]
    return [name for name in may if kinds[name] != pl.String or _any_number(rows, name)]


def _any_number(rows: pl.LazyFrame, name: str) -> bool:
    """Whether any text is made as a card number is: long ids mostly are not, and need no further look."""
    return bool(rows.select(cards.made_as_number(pl.col(name)).any()).collect(engine="streaming").item())


def _distinct(rows: pl.LazyFrame, name: str) -> pl.Series:
    """Each value of a column once: the questions asked here do not depend on how often it comes."""
    nested = rows.collect_schema()[name].is_nested()
    column = pl.col(name) if nested else pl.col(name).unique()
    return rows.select(column).collect(engine="streaming").to_series()


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
