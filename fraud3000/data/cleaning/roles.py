"""One raw file brought to TRANSACTIONS, slice by slice and role by role."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial

import polars as pl
import polars.selectors as cs

from fraud3000.data.cleaning import amounts, cards, column_types, currency, ids, passthrough, sensitive, value_mapping
from fraud3000.data.cleaning.card_names import CardNames
from fraud3000.data.cleaning.row_errors import RowError, first_faults
from fraud3000.data.reading import files, times
from fraud3000.data.reading.columns import ColumnLayout, resolve
from fraud3000.data.reading.raw_table import RawFile, RawTable
from fraud3000.data.storage import spill
from fraud3000.errors import DataError, SchemaError
from fraud3000.params import ColumnMapping
from fraud3000.schema import TIME

KeyLoader = Callable[[], cards.CardKey | CardNames]


@dataclass(frozen=True)
class Rules:
    """What holds for every file of a run.

    Attributes
    ----------
    earliest, latest
        Times must lie in [earliest, latest).
    card_key
        Gives the key that card numbers are hashed with; called only if there are any.
    optional
        Roles whose columns a file may lack although they are mapped.
    """

    mapping: ColumnMapping
    earliest: datetime
    latest: datetime
    card_key: KeyLoader
    optional: Collection[str] = ()


@dataclass(frozen=True)
class Cleaned:
    """Rows of a file in TRANSACTIONS form, and what is wrong with some of them.

    Attributes
    ----------
    rows
        One row for each row of the raw slice: columns of TRANSACTIONS, without seq where none is
        mapped, with currency where one is mapped; then passthrough columns.
    faults
        Columns row, reason, detail: the first fault of each faulty row.
    hidden
        Raw columns that must not be written anywhere.
    unused
        Raw columns that no mapping names.
    lost
        Passthrough column to the number of its values that became null.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame
    hidden: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    lost: dict[str, int] = field(default_factory=dict)


Cleaner = Callable[[RawFile], Cleaned]


def cleaner(table: RawTable, rules: Rules, stem: Callable[[], str]) -> Cleaner:
    """Look at a raw file as a whole, and give what brings its slices to TRANSACTIONS.

    What is decided for the whole file: which column plays which role, that none must not be kept,
    which hold card numbers, and that amounts are in one currency. All else is decided row by row.

    Parameters
    ----------
    stem
        Gives the first part of made-up transaction ids; called only if there are none.

    Raises
    ------
    DataError
        The file as a whole cannot be taken: columns are missing, of the wrong type or forbidden.
    """
    thing = table.name
    try:
        layout = resolve(table.schema.names(), rules.mapping, thing=thing, optional=rules.optional)
    except SchemaError as error:
        files.check_header(table, error.missing)
        raise
    column_types.check(table.schema, layout, thing=thing)
    rows = column_types.as_plain(table.rows)
    with table.reading():
        sensitive.refuse(rows, layout, thing=thing)
        numbers = sensitive.card_columns(rows, layout, rules.mapping)
        refused = sensitive.refused_ids(rows, layout, rules.mapping, hashed=bool(numbers))
    whole = _Whole(
        layout, numbers, refused, cache(stem), cache(partial(_check_amounts, table, layout.roles["amount"][0]))
    )
    return partial(_clean, whole, rules)


@dataclass(frozen=True)
class _Whole:
    """What is known of the file that a slice comes from.

    Attributes
    ----------
    numbers
        The raw columns that hold card numbers.
    refused_ids
        Role to the ids that contain a card number and are not hashed.
    check_amounts
        Refuses amounts in several currencies; looks once.
    """

    layout: ColumnLayout
    numbers: tuple[str, ...]
    refused_ids: dict[str, pl.Series]
    stem: Callable[[], str]
    check_amounts: Callable[[], None]


def card_number_faults(columns: Mapping[str, pl.Series], refused: Mapping[str, pl.Series]) -> list[RowError]:
    """Faults ``<role>_card_number`` of the rows whose id contains a card number; they do not quote it.

    Parameters
    ----------
    columns
        Role to ids; seq may be a number.
    refused
        Role to the ids that must not be kept.
    """
    return [
        RowError.told(
            f"{role}_card_number",
            columns[role].cast(pl.String).is_in(ids.implode()),
            f"{role} contains a card number",
        )
        for role, ids in refused.items()
    ]


def _check_amounts(table: RawTable, name: str) -> None:
    if table.schema[name] == pl.String:
        amounts.check_one_currency(part.rows.to_series() for part in table.select(name).slices(spill.SLICE))


def _clean(whole: _Whole, rules: Rules, raw: RawFile) -> Cleaned:
    layout, numbers = whole.layout, whole.numbers
    exact = raw.rows.with_columns(cs.time().dt.to_string("iso"))  # a cast to text would cut fractions of a second off
    reader = _Reader(replace(raw, rows=exact), whole, rules)
    try:
        reader.read()
    except DataError as error:
        raise type(error)(f"{raw.name}: {error.message}", hint=error.hint) from error
    rows = pl.DataFrame(reader.columns)
    hidden = (*layout.dropped, *(layout.roles["card_id"] if numbers else ()))
    return Cleaned(rows, first_faults(reader.faults), hidden, layout.unused, reader.lost)


class _Reader:
    """Reads role after role; columns and faults add up in that order."""

    def __init__(self, raw: RawFile, whole: _Whole, rules: Rules) -> None:
        self._raw, self._whole, self._layout, self._rules = raw, whole, whole.layout, rules
        self.columns: dict[str, pl.Series] = {}
        self.faults: list[RowError] = []
        self.lost: dict[str, int] = {}

    def read(self) -> None:
        self._transaction_ids()
        self._times()
        self._other_ids(self._whole.numbers)
        self._money()
        self._labels()
        self._arrival()
        self._passthrough()
        self.faults += card_number_faults(self.columns, self._whole.refused_ids)

    def _parts(self, role: str) -> list[pl.Series]:
        return [self._raw.rows[name] for name in self._layout.roles.get(role, ())]

    def _filled(self, value: object, kind: pl.DataType) -> pl.Series:
        return pl.Series([value], dtype=kind).new_from_index(0, self._raw.rows.height)

    def _transaction_ids(self) -> None:
        parts = self._parts("transaction_id")
        if parts:
            self.columns["transaction_id"], faults = ids.read(parts, "transaction_id")
            self.faults += faults
        else:
            made = pl.select(pl.lit(f"{self._whole.stem()}-") + pl.lit(self._raw.places).cast(pl.String)).to_series()
            self.columns["transaction_id"] = made

    def _times(self) -> None:
        parts = self._parts("ts")
        if parts:
            read = self._time(parts, "time")
            self.faults.append(RowError.where("time_unreadable", read.is_null(), "time", *parts))
            self.columns["ts"] = read

    def _time(self, parts: list[pl.Series], word: str) -> pl.Series:
        read = times.read(parts, self._rules.mapping.time)
        outside = times.outside(read, self._rules.earliest, self._rules.latest)
        self.faults.append(RowError.where(f"{word}_out_of_range", outside, word, *parts))
        return read

    def _other_ids(self, numbers: tuple[str, ...]) -> None:
        for role in ("card_id", "terminal_id"):
            parts = self._parts(role)
            if not parts:
                continue
            secret = role == "card_id" and bool(numbers)
            self.columns[role], faults = ids.read(parts, role, secret=secret)
            self.faults += faults
            if secret:
                hashed = [self._hashed(part) if part.name in numbers else part for part in parts]
                self.columns[role], _ = ids.read(hashed, role)

    def _hashed(self, part: pl.Series) -> pl.Series:
        return self._rules.card_key().names(part).alias(part.name)

    def _money(self) -> None:
        form = self._rules.mapping.amount
        self._whole.check_amounts()
        amount, faults = amounts.read(self._parts("amount")[0], form)
        self.faults += faults
        codes = self._parts("currency")
        if codes:
            self.columns["currency"], faults = currency.read(codes[0])
            self.faults += faults
        status: pl.Series | None = None
        given = self._parts("status")
        if given:
            status, faults = value_mapping.read_status(given[0], self._rules.mapping.status)
            self.faults += faults
        self.columns["amount"], self.columns["status"] = value_mapping.settle_refunds(amount, status)

    def _labels(self) -> None:
        given = self._parts("is_fraud")
        if given:
            is_fraud, labelled, faults = value_mapping.read_labels(given[0], self._rules.mapping.label)
            self.faults += faults
        else:
            is_fraud, labelled = self._filled(None, pl.Int8()), self._filled(True, pl.Boolean())
        self.columns["is_fraud"], self.columns["labelled"] = is_fraud, labelled
        self.columns["reported_at"] = self._reports()

    def _reports(self) -> pl.Series:
        parts = self._parts("reported_at")
        if not parts:
            return self._filled(None, TIME)
        read = self._time(parts, "reported_at")
        given = pl.DataFrame([part.cast(pl.String).alias(str(place)) for place, part in enumerate(parts)])
        there = given.select(pl.any_horizontal(pl.all().str.strip_chars().fill_null("") != "")).to_series()
        self.faults.append(RowError.where("reported_at_unreadable", read.is_null() & there, "reported_at", *parts))
        return read

    def _arrival(self) -> None:
        parts = self._parts("seq")
        if parts:
            self.columns["seq"], faults = ids.read_arrival(parts[0])
            self.faults += faults

    def _passthrough(self) -> None:
        columns, self.lost = passthrough.read(self._raw.rows, self._layout)
        self.columns |= {column.name: column for column in columns}
