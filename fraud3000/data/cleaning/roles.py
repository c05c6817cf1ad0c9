"""Clean one raw file into TRANSACTIONS, slice by slice and role by role."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial, reduce
from operator import and_

import polars as pl
import polars.selectors as cs

from fraud3000.data.cleaning import amounts, cards, column_types, currency, ids, passthrough, sensitive, value_mapping
from fraud3000.data.cleaning.card_names import CardNames
from fraud3000.data.cleaning.missing import are_missing
from fraud3000.data.cleaning.row_errors import RowError, first_errors
from fraud3000.data.reading import files, times
from fraud3000.data.reading.columns import ColumnLayout, resolve
from fraud3000.data.reading.raw_table import RawFile, RawTable
from fraud3000.data.storage import spill
from fraud3000.errors import DataError, FraudError, SchemaError
from fraud3000.params import ColumnMapping, CsvFormat
from fraud3000.schema import TIME

KeyLoader = Callable[[], cards.CardKey | CardNames]


@dataclass(frozen=True)
class CleaningRules:
    """How the raw files of a run are read.

    Attributes
    ----------
    earliest, latest
        Times must lie in [earliest, latest).
    card_key
        Returns the key with which card numbers are hashed; called only if there are card numbers.
    optional
        Roles whose columns may be missing from a file even though they are mapped.
    """

    mapping: ColumnMapping
    earliest: datetime
    latest: datetime
    card_key: KeyLoader
    optional: Collection[str] = ()


@dataclass(frozen=True)
class Cleaned:
    """Cleaned rows of a file, with the errors of the invalid rows.

    Attributes
    ----------
    rows
        One row for each row of the raw slice: columns of TRANSACTIONS, without seq unless it is mapped,
        with currency if it is mapped; then passthrough columns.
    errors
        Columns row, reason, detail: the first error of each invalid row.
    hidden
        Raw columns that must not be written anywhere.
    unused
        Raw columns that the mapping does not mention.
    nulled
        Passthrough column to the number of its values that became null.
    """

    rows: pl.DataFrame
    errors: pl.DataFrame
    hidden: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    nulled: dict[str, int] = field(default_factory=dict)


Cleaner = Callable[[RawFile], Cleaned]


def make_cleaner(table: RawTable, rules: CleaningRules, stem: Callable[[], str]) -> Cleaner:
    """Check a raw file as a whole; return the function that cleans its slices into TRANSACTIONS.

    Checked for the whole file: the column of each role, columns that must not be stored, columns with card
    numbers, and that amounts are in one currency. Everything else is checked row by row.

    Parameters
    ----------
    stem
        Returns the prefix of generated transaction ids; called only if the file has no ids.

    Raises
    ------
    DataError
        The file cannot be used: columns are missing, have the wrong type or are forbidden.
    """
    thing = table.name
    try:
        layout = resolve(table.schema.names(), rules.mapping, thing=thing, optional=rules.optional)
    except SchemaError as error:
        files.check_header(table, error.missing, rules.mapping.csv)
        raise
    column_types.check(table.schema, layout, thing=thing)
    rows = column_types.as_plain(table.rows)
    with table.reading():
        sensitive.refuse(rows, layout, thing=thing)
        numbers = sensitive.card_columns(rows, layout, rules.mapping)
        refused = sensitive.refused_ids(rows, layout, rules.mapping, hashed=bool(numbers))
    context = _FileContext(
        layout,
        numbers,
        refused,
        cache(stem),
        cache(partial(_check_amounts, table, layout.roles["amount"][0], rules.mapping.csv)),
    )
    return partial(_clean, context, rules)


@dataclass(frozen=True)
class RoleErrors:
    """Every error of the rows of a sample, of all roles.

    Attributes
    ----------
    rows
        The errors of rows; a row may have several.
    whole
        Role to the error because of which it could not be read at all.
    columns
        The roles that could be read.
    nulled
        Column to the number of its values that could not be read and became null.
    """

    rows: list[RowError]
    whole: dict[str, FraudError]
    columns: dict[str, pl.Series]
    nulled: dict[str, int]


def find_errors(raw: RawFile, layout: ColumnLayout, rules: CleaningRules) -> RoleErrors:
    """Read every role of a sample and collect all errors, instead of the first error of each row."""
    numbers = sensitive.card_columns(raw.rows, layout, rules.mapping)
    refused = sensitive.refused_ids(raw.rows, layout, rules.mapping, hashed=bool(numbers))
    context = _FileContext(layout, numbers, refused, lambda: "sample", lambda: _check_sample(raw, layout, rules))
    reader = _Reader(replace(raw, rows=raw.rows.with_columns(cs.time().dt.to_string("iso"))), context, rules)
    whole: dict[str, FraudError] = {}
    for role, step in reader.steps().items():
        if role == "amount" and role not in layout.roles:
            continue
        try:
            step()
        except FraudError as error:
            whole[role] = error
    return RoleErrors(reader.errors, whole, reader.columns, reader.nulled)


def _check_sample(raw: RawFile, layout: ColumnLayout, rules: CleaningRules) -> None:
    amount = raw.rows[layout.roles["amount"][0]]
    if amount.dtype == pl.String:
        amounts.check_one_currency([amount], rules.mapping.csv)


@dataclass(frozen=True)
class _FileContext:
    """Findings about the whole file that the cleaning of its slices needs.

    Attributes
    ----------
    numbers
        The raw columns that contain card numbers.
    refused_ids
        Role to the ids that contain a card number and are not hashed.
    check_amounts
        Refuses amounts in several currencies; reads the file at the first call only.
    """

    layout: ColumnLayout
    numbers: tuple[str, ...]
    refused_ids: dict[str, pl.Series]
    stem: Callable[[], str]
    check_amounts: Callable[[], None]


def card_number_errors(columns: Mapping[str, pl.Series], refused: Mapping[str, pl.Series]) -> list[RowError]:
    """Errors ``<role>_card_number`` for the rows whose id contains a card number; they do not quote the id.

    Parameters
    ----------
    columns
        Role to ids; seq may be numeric.
    refused
        Role to the ids that must be rejected.
    """
    return [
        RowError.with_detail(
            f"{role}_card_number",
            columns[role].cast(pl.String).is_in(ids.implode()),
            f"{role} contains a card number",
        )
        for role, ids in refused.items()
    ]


def _check_amounts(table: RawTable, name: str, form: CsvFormat) -> None:
    if table.schema[name] == pl.String:
        amounts.check_one_currency((part.rows.to_series() for part in table.select(name).slices(spill.SLICE)), form)


def _clean(context: _FileContext, rules: CleaningRules, raw: RawFile) -> Cleaned:
    layout, numbers = context.layout, context.numbers
    exact = raw.rows.with_columns(cs.time().dt.to_string("iso"))  # a cast to text would drop fractions of a second
    reader = _Reader(replace(raw, rows=exact), context, rules)
    try:
        reader.read()
    except DataError as error:
        raise type(error)(f"{raw.name}: {error.message}", hint=error.hint) from error
    rows = pl.DataFrame(reader.columns)
    hidden = (*layout.dropped, *(layout.roles["card_id"] if numbers else ()))
    return Cleaned(rows, first_errors(reader.errors), hidden, layout.unused, reader.nulled)


class _Reader:
    """Reads one role after the other; the order determines the columns and which error of a row is first."""

    def __init__(self, raw: RawFile, context: _FileContext, rules: CleaningRules) -> None:
        self._raw, self._context, self._layout, self._rules = raw, context, context.layout, rules
        self.columns: dict[str, pl.Series] = {}
        self.errors: list[RowError] = []
        self.nulled: dict[str, int] = {}

    def read(self) -> None:
        for step in self.steps().values():
            step()

    def steps(self) -> dict[str, Callable[[], None]]:
        """The functions that read the roles, in order, each by its first role."""
        return {
            "transaction_id": self._read_transaction_ids,
            "ts": self._read_times,
            "card_id": self._read_other_ids,
            "amount": self._read_amounts,
            "is_fraud": self._read_labels,
            "seq": self._read_arrival,
            "numeric": self._read_passthrough,
            "card_numbers": self._find_card_numbers,
        }

    def _parts(self, role: str) -> list[pl.Series]:
        return [self._raw.rows[name] for name in self._layout.roles.get(role, ())]

    def _constant(self, value: object, kind: pl.DataType) -> pl.Series:
        return pl.Series([value], dtype=kind).new_from_index(0, self._raw.rows.height)

    def _read_transaction_ids(self) -> None:
        parts = self._parts("transaction_id")
        if parts:
            self.columns["transaction_id"], errors = ids.read(parts, "transaction_id")
            self.errors += errors
        else:
            row_numbers = pl.lit(self._raw.row_numbers).cast(pl.String)
            self.columns["transaction_id"] = pl.select(pl.lit(f"{self._context.stem()}-") + row_numbers).to_series()

    def _read_times(self) -> None:
        parts = self._parts("ts")
        if parts:
            ts = times.read(parts, self._rules.mapping.time)
            outside = times.outside_range(ts, self._rules.earliest, self._rules.latest)
            self.errors.append(RowError.where("time_out_of_range", outside, "time", *parts))
            self.errors.append(RowError.where("time_unreadable", ts.is_null(), "time", *parts))
            self.columns["ts"] = ts

    def _find_card_numbers(self) -> None:
        self.errors += card_number_errors(self.columns, self._context.refused_ids)

    def _read_other_ids(self) -> None:
        numbers = self._context.numbers
        for role in ("card_id", "terminal_id"):
            parts = self._parts(role)
            if not parts:
                continue
            secret = role == "card_id" and bool(numbers)
            self.columns[role], errors = ids.read(parts, role, secret=secret)
            self.errors += errors
            if secret:
                hashed = [self._hash(part) if part.name in numbers else part for part in parts]
                self.columns[role], _ = ids.read(hashed, role)

    def _hash(self, part: pl.Series) -> pl.Series:
        return self._rules.card_key().names(part).alias(part.name)

    def _read_amounts(self) -> None:
        form = self._rules.mapping.amount
        self._context.check_amounts()
        amount, errors = amounts.read(self._parts("amount")[0], form, self._rules.mapping.csv)
        self.errors += errors
        codes = self._parts("currency")
        if codes:
            self.columns["currency"], errors = currency.read(codes[0])
            self.errors += errors
        status: pl.Series | None = None
        parts = self._parts("status")
        if parts:
            status, errors = value_mapping.read_status(parts[0], self._rules.mapping.status)
            self.errors += errors
        self.columns["amount"], self.columns["status"] = value_mapping.normalise_refunds(amount, status)

    def _read_labels(self) -> None:
        parts = self._parts("is_fraud")
        if parts:
            is_fraud, labelled, errors = value_mapping.read_labels(parts[0], self._rules.mapping.label)
            self.errors += errors
        else:
            is_fraud, labelled = self._constant(None, pl.Int8()), self._constant(True, pl.Boolean())
        self.columns["is_fraud"], self.columns["labelled"] = is_fraud, labelled
        self.columns["reported_at"] = self._read_report_times()

    def _read_report_times(self) -> pl.Series:
        """Read report times; one that cannot be used becomes null and is counted, and its transaction stays.

        Otherwise, a wrong format of report times would remove all frauds.
        """
        parts = self._parts("reported_at")
        if not parts:
            return self._constant(None, TIME)
        mapping = self._rules.mapping
        form, key = (mapping.report_time, "report_time") if mapping.report_time else (mapping.time, "time")
        values = times.read(parts, form, f"prepare.mapping.{key}")
        values = values.set(times.outside_range(values, self._rules.earliest, self._rules.latest), None)
        absent = reduce(and_, (are_missing(part.cast(pl.String)) for part in parts))
        self.nulled["reported_at"] = int((values.is_null() & ~absent).sum())
        return values

    def _read_arrival(self) -> None:
        parts = self._parts("seq")
        if parts:
            self.columns["seq"], errors = ids.read_arrival(parts[0])
            self.errors += errors

    def _read_passthrough(self) -> None:
        columns, nulled = passthrough.read(self._raw.rows, self._layout, self._rules.mapping.csv)
        self.columns |= {column.name: column for column in columns}
        self.nulled |= nulled
