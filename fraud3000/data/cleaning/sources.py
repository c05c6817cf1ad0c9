"""Column mappings of the known data sets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fraud3000.errors import ParamsError
from fraud3000.params import (
    ColumnMapping,
    ColumnRoles,
    LabelFormat,
    PrepareModelParams,
    StatusFormat,
    TimeFormat,
    validate,
)

_COORDINATES = {name: name for name in ("card_lat", "card_long", "terminal_lat", "terminal_long")}

SIMULATED = ColumnMapping(
    columns=ColumnRoles(
        amount="amount",
        transaction_id="transaction_id",
        ts="ts",
        card_id="card_id",
        terminal_id="terminal_id",
        is_fraud="is_fraud",
        reported_at="reported_at",
        status="status",
        **_COORDINATES,
    ),
    categorical=("category",),
    drop=("fraud_scenario",),
    card_numbers="no",
    card_like_ids=(),
)
"""The output of `fraud3000 simulate`."""

HANDBOOK = ColumnMapping(
    columns=ColumnRoles(
        amount="TX_AMOUNT",
        transaction_id="TRANSACTION_ID",
        ts="TX_DATETIME",
        card_id="CUSTOMER_ID",
        terminal_id="TERMINAL_ID",
        is_fraud="TX_FRAUD",
    ),
    drop=("TX_FRAUD_SCENARIO", "TX_TIME_SECONDS", "TX_TIME_DAYS"),
    card_numbers="no",
    card_like_ids=(),
)
"""The Fraud Detection Handbook's simulated data.

TX_FRAUD_SCENARIO states the kind of fraud; the numeric times repeat TX_DATETIME.
"""

SPARKOV = ColumnMapping(
    columns=ColumnRoles(
        amount="amt",
        transaction_id="trans_num",
        ts="trans_date_trans_time",
        card_id="cc_num",
        terminal_id="merchant",
        is_fraud="is_fraud",
        card_lat="lat",
        card_long="long",
        terminal_lat="merch_lat",
        terminal_long="merch_long",
    ),
    numeric=("city_pop",),
    categorical=("category", "state"),
    drop=("", "first", "last", "gender", "street", "city", "zip", "job", "dob", "unix_time"),
    card_numbers="yes",
    card_like_ids=(),
)
"""Sparkov as Kaggle has it (fraudTrain.csv).

cc_num contains card numbers. Names, gender, street, town, postcode, job and birth date are personal data
and are dropped, and so are the line number and unix_time, which is years before the time. The data do
not state a time zone; UTC is assumed.
"""

TABFORMER = ColumnMapping(
    columns=ColumnRoles(
        amount="Amount",
        ts=("Year", "Month", "Day", "Time"),
        card_id=("User", "Card"),
        terminal_id="Merchant Name",
        is_fraud="Is Fraud?",
        status="Errors?",
    ),
    categorical=("Use Chip", "MCC", "Merchant State"),
    drop=("Merchant City", "Zip"),
    time=TimeFormat(format="%Y %m %d %H:%M"),
    label=LabelFormat(fraud=("Yes",), legitimate=("No",)),
    status=StatusFormat(approved=("",), declined=(), refund=(), otherwise="declined"),
    card_numbers="no",
    card_like_ids=("terminal_id",),  # merchants are random numbers of up to 19 digits
)
"""IBM's TabFormer (card_transaction.v1.csv): no transaction ids, cards are numbered per user, any error is a decline."""

ULB = ColumnMapping(
    columns=ColumnRoles(amount="Amount", ts="Time", is_fraud="Class"),
    numeric=tuple(f"V{number}" for number in range(1, 29)),
    time=TimeFormat(format="seconds_from", start=datetime(2013, 9, 1, tzinfo=UTC)),
    card_numbers="no",
)
"""ULB's creditcard.csv: neither cards nor ids.

Times are seconds since the first row, on an unknown day of September 2013. They are counted from midnight
UTC on the 1st, so the hour of a time is the hours since the first row, not the time of day.
"""

CUSTOM = ColumnMapping()

SOURCES: dict[str, ColumnMapping] = {
    "simulated": SIMULATED,
    "handbook": HANDBOOK,
    "sparkov": SPARKOV,
    "tabformer": TABFORMER,
    "ulb": ULB,
    "custom": CUSTOM,
}


def resolve(params: PrepareModelParams) -> ColumnMapping:
    """The mapping of a source, changed as the params state; lists are replaced, sections are merged.

    Raises
    ------
    ParamsError
        The result is not a valid mapping, or a value has two meanings.

    Examples
    --------
    >>> changes = {"columns": {"card_id": None}, "time": {"zone": "Europe/Brussels"}}
    >>> mapping = resolve(PrepareModelParams(source="handbook", mapping=changes))
    >>> mapping.columns.card_id, mapping.columns.amount, mapping.time.zone
    (None, 'TX_AMOUNT', 'Europe/Brussels')
    """
    if "csv" in params.mapping:
        raise ParamsError(
            "prepare.mapping.csv: the format of CSV files is not part of the mapping", hint="Write it as prepare.csv."
        )
    merged = _merge(SOURCES[params.source].model_dump(), params.mapping) | {"csv": params.csv.model_dump()}
    mapping = validate(ColumnMapping, merged, thing="prepare.mapping")
    _check_meanings("label", [mapping.label.fraud, mapping.label.legitimate, mapping.label.unlabelled])
    _check_meanings("status", [mapping.status.approved, mapping.status.declined, mapping.status.refund])
    if mapping.columns.currency is not None and mapping.amount.currency is None:
        raise ParamsError(
            "prepare.mapping.amount.currency: not stated, but a currency column is mapped",
            hint="State the currency to convert all amounts to, such as EUR.",
        )
    return mapping


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _check_meanings(section: str, lists: list[tuple[str, ...]]) -> None:
    seen: set[str] = set()
    for values in lists:
        folded = {value.strip().lower() for value in values}
        if seen & folded:
            twice = ", ".join(f"'{value}'" for value in sorted(seen & folded))
            raise ParamsError(
                f"prepare.mapping.{section}: {twice} appears in two lists", hint="List each value only once."
            )
        seen |= folded
