"""Section `prepare`: the raw files, and how their columns map to TRANSACTIONS."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fraud3000.params.section import Section
from fraud3000.params.values import Columns, Duration, Flag, Moment, Several, Zone


class ColumnRoles(Section):
    """The column of the raw file for each role; null if the file has none."""

    amount: str | None = None
    transaction_id: Columns | None = None
    ts: Columns | None = None
    card_id: Columns | None = None
    terminal_id: Columns | None = None
    is_fraud: str | None = None
    reported_at: Columns | None = None
    status: str | None = None
    currency: str | None = None
    seq: str | None = None
    card_lat: str | None = None
    card_long: str | None = None
    terminal_lat: str | None = None
    terminal_long: str | None = None


class DatedRate(Section):
    """Exchange rate: units of the base currency for one unit of the foreign currency, valid from a date."""

    since: Moment
    rate: str = Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$")


class AmountFormat(Section):
    """Format of amounts in the raw file."""

    unit: Literal["major", "minor"] = "major"  # minor: the amounts are in minor units, such as cents
    decimals: int = Field(2, ge=0, le=4)  # of the currency
    currency: str | None = None  # the base currency; needed only if a currency column is mapped
    rates: dict[str, Several[DatedRate]] = {}  # dated exchange rates, by currency code

    @field_validator("rates")
    @classmethod
    def _check_rates(cls, value: dict[str, tuple[DatedRate, ...]]) -> dict[str, tuple[DatedRate, ...]]:
        codes = [code.upper() for code in value]
        twice = {code for code in codes if codes.count(code) > 1}
        twice |= {code for code, rates in value.items() if len({rate.since for rate in rates}) < len(rates)}
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} has two rates from the same date, or appears twice")
        return value


TIME_FORMATS = ("iso", "epoch_s", "epoch_ms", "epoch_us", "seconds_from")
"""Names of time formats; any other format is a strptime pattern."""


class TimeFormat(Section):
    """Format of times in the raw file.

    ``format`` is ``iso``, ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``seconds_from`` (with ``start``)
    or a strptime pattern. Times without an offset are read in ``zone``.
    """

    format: str = "iso"  # see above
    start: Moment | None = None  # the time from which `seconds_from` counts
    zone: Zone = "UTC"  # time zone of times without an offset

    @field_validator("format")
    @classmethod
    def _check_format(cls, value: str) -> str:
        if value not in TIME_FORMATS and "%" not in value:
            unit = ": state its unit, epoch_s, epoch_ms or epoch_us" if "epoch" in value.lower() else ""
            raise ValueError(f"'{value}' is neither one of {', '.join(TIME_FORMATS)} nor a pattern with %{unit}")
        return value

    @model_validator(mode="after")
    def _check_start(self) -> TimeFormat:
        if (self.format == "seconds_from") != (self.start is not None):
            raise ValueError("start is required with format 'seconds_from' and not allowed with other formats")
        return self


class LabelFormat(Section):
    """The meanings of the values in the label column; values are compared as text, ignoring case."""

    fraud: Several[str] = ("1", "1.0", "true", "yes", "y", "fraud")
    legitimate: Several[str] = ("0", "0.0", "false", "no", "n", "legitimate")
    unlabelled: Several[str] = ("", "null", "none", "na", "unknown")
    otherwise: Literal["fraud", "legitimate"] | None = None  # meaning of all other values; null: the row is quarantined


class StatusFormat(Section):
    """The meanings of the values in the status column; values are compared as text, ignoring case.

    A value in none of the lists is read as ``otherwise``; if that is null, the row is quarantined.
    """

    approved: Several[str] = ("", "approved", "reversed")
    declined: Several[str] = ("declined",)
    refund: Several[str] = ("refund",)
    otherwise: Literal["approved", "declined"] | None = None  # meaning of all other values


class CsvFormat(Section):
    """Format of CSV files, and of numbers that are written as text."""

    separator: str = ","  # one character between the fields; "\\t" for tabs
    decimal: Literal[".", ","] = "."  # decimal sign of numbers
    thousands: Literal[".", ",", "'", " ", ""] | None = None  # sign between thousands; null: the other one of . and ,
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252"] = "utf-8"  # utf-8 with or without a byte order mark
    quote: str = '"'  # character around fields with separators; "" if fields are never quoted
    comment: str = ""  # lines that begin with this text are ignored
    skip: int = Field(0, ge=0, le=1000)  # lines above the header
    header: Flag = True  # false: the file has no line with column names
    names: Several[str] = ()  # column names for a file without a header; empty: column_1, column_2, ...
    footer: int = Field(0, ge=0, le=1000)  # lines at the end that are not rows, such as a total

    @field_validator("separator", "quote")
    @classmethod
    def _check_character(cls, value: str, info: ValidationInfo) -> str:
        value = "\t" if value == "\\t" else value
        least = 1 if info.field_name == "separator" else 0
        if not least <= len(value) <= 1 or not value.isascii() or value in {"\n", "\r"} or value.isalnum():
            raise ValueError(f"'{value}' is not a single character that can separate or quote fields")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> CsvFormat:
        if self.separator == self.quote:
            raise ValueError("separator and quote are the same character")
        if self.thousands == self.decimal:
            raise ValueError("decimal and thousands are the same character")
        if self.names and self.header:
            raise ValueError("names are for a file without a header: set header to false")
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice or "" in self.names:
            raise ValueError("names are empty or appear twice")
        return self

    @property
    def groups(self) -> str:
        """The sign between thousands; empty if there is none."""
        if self.thousands is not None:
            return self.thousands
        return "," if self.decimal == "." else "."


class ColumnMapping(Section):
    """How the columns of a raw file map to TRANSACTIONS."""

    columns: ColumnRoles = ColumnRoles()
    numeric: Several[str] = ()  # columns passed through as numbers
    categorical: Several[str] = ()  # columns passed through as categories
    drop: Several[str] = ()  # columns excluded from every output
    amount: AmountFormat = AmountFormat()
    time: TimeFormat = TimeFormat()
    report_time: TimeFormat | None = None  # format of reported_at; null: as time
    label: LabelFormat = LabelFormat()
    status: StatusFormat = StatusFormat()
    csv: CsvFormat = CsvFormat()  # stated as prepare.csv
    card_numbers: Literal["detect", "yes", "no"] = "detect"  # whether the card column contains card numbers
    card_like_ids: Several[Literal["transaction_id", "card_id", "terminal_id", "seq"]] | None = (
        None  # roles whose ids only look like card numbers by chance; null: detect
    )


class LabelsFile(Section):
    """Label records in separate files, joined to the transactions by transaction id."""

    input: str  # a file, a glob or a folder
    transaction_id: str = "transaction_id"  # column of the transaction id
    is_fraud: str | None = "is_fraud"  # column of the label; null: every record is a fraud
    source: str | None = (
        None  # column of the label's source, such as chargeback; null: all records have the same source
    )
    reported_at: str | None = None  # column of the report time
    recorded_at: str | None = (
        None  # column of the time from which the label counts; null: reported_at, after the label delay
    )
    time: TimeFormat = TimeFormat()
    label: LabelFormat = LabelFormat()
    csv: CsvFormat = CsvFormat()  # format of CSV files


class PrepareModelParams(Section):
    """How raw files are cleaned into TRANSACTIONS, quarantine and label ledger."""

    input: str = "{workspace}/raw/transactions.parquet"  # a file, a glob or a folder: CSV, Parquet, JSON lines
    source: Literal["simulated", "handbook", "sparkov", "tabformer", "ulb", "custom"] = "simulated"  # kind of files
    mapping: dict[str, Any] = {}  # changes to the mapping of the source; validated later
    csv: CsvFormat = CsvFormat()  # format of CSV files
    labels: LabelsFile | None = None  # label records in separate files
    label_delay: Duration = timedelta(days=7)  # time after which no fraud report means legitimate
    source_precedence: Several[str] = ()  # label sources, the most trusted first; all others rank equally after them
    earliest: Moment = datetime(1970, 1, 1)  # rows with times outside [earliest, latest) are quarantined
    latest: Moment = datetime(2100, 1, 1)
    rejected_frauds: float = Field(
        0.02, ge=0, le=1
    )  # largest share of frauds that may be rejected if other rows are rejected less often
    publish: str | None = None  # an S3 prefix to which the output files are also written, all or none

    @field_validator("publish")
    @classmethod
    def _check_s3(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("s3://"):
            raise ValueError("must be a prefix in S3, such as s3://bucket/prepared/")
        return value
