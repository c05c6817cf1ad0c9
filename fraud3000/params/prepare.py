"""Section `prepare`: where raw files lie, and how their columns map to TRANSACTIONS."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from fraud3000.params.section import Section
from fraud3000.params.values import Columns, Duration, Moment, Several, check_zone


class ColumnRoles(Section):
    """Which column of the raw file plays which role. What is not named is not there."""

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
    """Base currency units for one unit of the foreign currency, valid from a date."""

    since: Moment
    rate: str = Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$")


class AmountFormat(Section):
    """How the raw file writes money."""

    unit: Literal["major", "minor"] = "major"  # minor: the file holds cents already
    decimals: int = Field(2, ge=0, le=4)  # of the currency
    currency: str | None = None  # the base currency, needed only where a currency column is mapped
    rates: dict[str, Several[DatedRate]] = {}  # by currency code

    @field_validator("rates")
    @classmethod
    def _one_rate_at_a_time(cls, value: dict[str, tuple[DatedRate, ...]]) -> dict[str, tuple[DatedRate, ...]]:
        codes = [code.upper() for code in value]
        twice = {code for code in codes if codes.count(code) > 1}
        twice |= {code for code, rates in value.items() if len({rate.since for rate in rates}) < len(rates)}
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} has two rates from the same date, or comes twice")
        return value


TIME_FORMATS = ("iso", "epoch_s", "epoch_ms", "epoch_us", "seconds_from")
"""Names of ways to write time; any other format is a strptime pattern."""


class TimeFormat(Section):
    """How the raw file writes time.

    ``format`` is ``iso``, ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``seconds_from`` (with ``start``)
    or a strptime pattern. Times without an offset are read in ``zone``.
    """

    format: str = "iso"  # see above
    start: Moment | None = None  # of `seconds_from`
    zone: str = "UTC"  # of times without an offset

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return check_zone(value)

    @field_validator("format")
    @classmethod
    def _name_or_pattern(cls, value: str) -> str:
        if value not in TIME_FORMATS and "%" not in value:
            unit = ": state its unit, epoch_s, epoch_ms or epoch_us" if "epoch" in value.lower() else ""
            raise ValueError(f"'{value}' is neither one of {', '.join(TIME_FORMATS)} nor a pattern with %{unit}")
        return value

    @model_validator(mode="after")
    def _start_where_needed(self) -> TimeFormat:
        if (self.format == "seconds_from") != (self.start is not None):
            raise ValueError("format 'seconds_from' needs a start, and only it takes one")
        return self


class LabelFormat(Section):
    """Which values of the label column say what; compared as text, ignoring case."""

    fraud: Several[str] = ("1", "1.0", "true", "yes", "y", "fraud")
    legitimate: Several[str] = ("0", "0.0", "false", "no", "n", "legitimate")
    unlabelled: Several[str] = ("", "null", "none", "na", "unknown")


class StatusFormat(Section):
    """Which values of the status column say what; compared as text, ignoring case.

    A value in none of the lists is ``otherwise``, or quarantined where that is null.
    """

    approved: Several[str] = ("", "approved", "reversed")
    declined: Several[str] = ("declined",)
    refund: Several[str] = ("refund",)
    otherwise: Literal["approved", "declined"] | None = None  # what every other value means


class ColumnMapping(Section):
    """How a raw file becomes TRANSACTIONS."""

    columns: ColumnRoles = ColumnRoles()
    numeric: Several[str] = ()  # columns passed on as numbers
    categorical: Several[str] = ()  # columns passed on as categories
    drop: Several[str] = ()  # columns kept out of every output
    amount: AmountFormat = AmountFormat()
    time: TimeFormat = TimeFormat()
    label: LabelFormat = LabelFormat()
    status: StatusFormat = StatusFormat()
    card_numbers: Literal["detect", "yes", "no"] = "detect"  # does the card column hold card numbers?
    card_like_ids: Several[Literal["transaction_id", "card_id", "terminal_id", "seq"]] | None = (
        None  # roles whose ids look like card numbers by chance and are none; null: detect
    )


class LabelsFile(Section):
    """Label records in a file of their own, joined to the transactions by transaction id."""

    input: str  # a file, a glob or a folder
    transaction_id: str = "transaction_id"  # the column of each part of a record
    is_fraud: str = "is_fraud"
    source: str | None = None  # who said so; all records are of one source without it
    reported_at: str | None = None
    recorded_at: str | None = None  # without it: when reported, but not before the label delay has passed
    time: TimeFormat = TimeFormat()
    label: LabelFormat = LabelFormat()


class PrepareModelParams(Section):
    """Raw files to TRANSACTIONS, quarantine and label ledger."""

    input: str = "{workspace}/raw/transactions.parquet"  # a file, a glob or a folder: CSV, Parquet, JSON lines
    source: Literal["simulated", "handbook", "sparkov", "tabformer", "ulb", "custom"] = "simulated"  # whose files
    mapping: dict[str, Any] = {}  # what differs from the source's own mapping; checked as a Mapping
    labels: LabelsFile | None = None  # label records in a file of their own
    label_delay: Duration = timedelta(days=7)  # how long after a transaction its label can be trusted
    source_precedence: Several[str] = ()  # label sources, the most trusted first; others come last, as equals
    earliest: Moment = datetime(1970, 1, 1)  # rows outside [earliest, latest) are refused
    latest: Moment = datetime(2100, 1, 1)
    publish: str | None = None  # a prefix in S3 under which the files written appear too, as one set

    @field_validator("publish")
    @classmethod
    def _in_s3(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("s3://"):
            raise ValueError("must be a prefix in S3, such as s3://bucket/prepared/")
        return value
