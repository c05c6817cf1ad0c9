"""Names and types of the columns that the stages exchange.

Each stage reads a frame and writes a new one: TRANSACTIONS -> FEATURED -> SCORED. Labels are separate, in the
LEDGER.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from fraud3000.errors import SchemaError

TIME = pl.Datetime("us", "UTC")

APPROVED, DECLINED, REFUND = "approved", "declined", "refund"

TRANSACTIONS: dict[str, pl.DataType] = {
    "transaction_id": pl.String(),
    "ts": TIME,  # event time; absent if the data has no time
    "card_id": pl.String(),  # absent if the data has no cards
    "terminal_id": pl.String(),  # merchant or terminal; absent if the data has none
    "amount": pl.Int64(),  # minor units of the base currency, negative for refunds
    "status": pl.String(),  # approved, declined or refund, as known when the record arrived
    "is_fraud": pl.Int8(),  # the label in the file, null if there is none; features read the ledger instead
    "reported_at": TIME,  # when the label was reported, null if the file does not state it
    "labelled": pl.Boolean(),  # false if the source has a label column but this row has no label
    "seq": pl.Int64(),  # number in the order of arrival
    "card_lat": pl.Float64(),  # degrees; the four coordinates are present only if they are mapped
    "card_long": pl.Float64(),
    "terminal_lat": pl.Float64(),
    "terminal_long": pl.Float64(),
}
"""Columns with a role. Passthrough columns follow: numeric as Float64, categorical as String."""

REQUIRED = ("transaction_id", "amount", "status", "is_fraud", "reported_at", "labelled", "seq")
"""The columns of TRANSACTIONS that every data set has; prepare fills those that the file lacks."""

LEDGER: dict[str, pl.DataType] = {
    "transaction_id": pl.String(),
    "is_fraud": pl.Int8(),
    "source": pl.String(),
    "reported_at": TIME,  # as stated by the source; may be null
    "recorded_at": TIME,  # from when on the label counts as known; null only in data without time
}
"""Label records in ledger order."""

QUARANTINE: dict[str, pl.DataType] = {
    "source_file": pl.String(),
    "source_row": pl.Int64(),  # the row's number in its file, from 1, header not counted
    "reason": pl.String(),  # a code
    "detail": pl.String(),
    "raw": pl.String(),  # the row as JSON, card numbers masked
}
"""Rejected rows, each with its reason."""

APPROVE, REVIEW, DECLINE = "approve", "review", "decline"
"""The decisions of a policy."""

SPLITS = ("history", "train", "gap", "valid", "test")

SCORED: dict[str, pl.DataType] = {
    "transaction_id": pl.String(),
    "score": pl.Float64(),  # calibrated probability of fraud
    "alert": pl.Boolean(),  # the score is at or above the threshold
    "threshold": pl.Float64(),
    "reason_1": pl.String(),  # the strongest reason in words; null if none was requested or none raises the score
    "reason_2": pl.String(),
    "reason_3": pl.String(),
    "model_version": pl.String(),
    "decision": pl.String(),  # approve, review or decline; alerts are reviewed or declined
}
"""Output of `score-file`: one row for each accepted row, in input order."""


def check(frame: pl.DataFrame, schema: Mapping[str, pl.DataType], required: Iterable[str], *, thing: str) -> None:
    """Refuse a frame that lacks a required column or has a known column with another type.

    Raises
    ------
    SchemaError
        Names all missing columns, or else all columns with the wrong type.

    Examples
    --------
    >>> check(pl.DataFrame({"amount": ["1"]}), TRANSACTIONS, ["amount"], thing="txns")
    Traceback (most recent call last):
    fraud3000.errors.SchemaError: txns: column 'amount' is String, not Int64
    Hint: Run `fraud3000 prepare` on the raw file first.
    """
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise SchemaError.missing_columns(thing, missing, frame.columns)
    wrong = [
        f"column '{name}' is {frame.schema[name]}, not {kind}"
        for name, kind in schema.items()
        if name in frame.columns and frame.schema[name] != kind
    ]
    if wrong:
        raise SchemaError(f"{thing}: " + "; ".join(wrong), hint="Run `fraud3000 prepare` on the raw file first.")
