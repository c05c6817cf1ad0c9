"""Values of the label and status columns, and what they mean."""

from __future__ import annotations

import polars as pl

from fraud3000.data.cleaning.row_errors import RowError
from fraud3000.params import LabelFormat, StatusFormat
from fraud3000.schema import APPROVED, DECLINED, REFUND

_UNLABELLED = -1


def read_labels(values: pl.Series, form: LabelFormat) -> tuple[pl.Series, pl.Series, list[RowError]]:
    """Read a label column; a null is compared as the empty text, 1.0 also as 1.

    Returns
    -------
    tuple
        `is_fraud` Int8, null without a label; `labelled` Boolean; and the fault
        ``label_unknown_value``.

    Examples
    --------
    >>> is_fraud, labelled, _ = read_labels(pl.Series(["Yes", "No", None]), LabelFormat())
    >>> is_fraud.to_list(), labelled.to_list()
    ([1, 0, None], [True, True, False])
    """
    said = _meaning(values, {form.fraud: 1, form.legitimate: 0, form.unlabelled: _UNLABELLED}, pl.Int8())
    labelled = said != _UNLABELLED
    faults = [RowError.where("label_unknown_value", said.is_null(), "label", values)]
    return said.set(~labelled, None).alias("is_fraud"), labelled.fill_null(value=False).alias("labelled"), faults


def read_status(values: pl.Series, form: StatusFormat) -> tuple[pl.Series, list[RowError]]:
    """Read a status column as approved, declined or refund; fault ``status_unknown_value``.

    Examples
    --------
    >>> form = StatusFormat(approved=("",), otherwise="declined")
    >>> read_status(pl.Series(["", None, "Bad PIN", "refund"]), form)[0].to_list()
    ['approved', 'approved', 'declined', 'refund']
    """
    said = _meaning(values, {form.approved: APPROVED, form.declined: DECLINED, form.refund: REFUND}, pl.String())
    said = said.fill_null(form.otherwise) if form.otherwise else said
    return said.alias("status"), [RowError.where("status_unknown_value", said.is_null(), "status", values)]


def settle_refunds(amount: pl.Series, status: pl.Series | None) -> tuple[pl.Series, pl.Series]:
    """Make a refund of every negative amount that was not declined, and every refund's amount negative.

    Returns
    -------
    tuple
        Amounts Int64, and status String.

    Examples
    --------
    >>> amount, status = settle_refunds(pl.Series([-5, -5, 5]), pl.Series(["approved", "declined", "refund"]))
    >>> amount.to_list(), status.to_list()
    ([-5, -5, -5], ['refund', 'declined', 'refund'])
    """
    given = pl.Series([APPROVED], dtype=pl.String).new_from_index(0, len(amount)) if status is None else status
    frame = pl.DataFrame({"amount": amount, "status": given}).with_columns(
        status=pl.when((pl.col("amount") < 0) & (pl.col("status") == APPROVED)).then(pl.lit(REFUND)).otherwise("status")
    )
    negated = pl.when(pl.col("status") == REFUND).then(-pl.col("amount").abs()).otherwise("amount")
    settled = frame.select(negated.alias("amount"), "status")
    return settled["amount"], settled["status"]


def _meaning(
    values: pl.Series, meanings: dict[tuple[str, ...], int] | dict[tuple[str, ...], str], kind: pl.DataType
) -> pl.Series:
    """Look each value up, as text without blanks around it and in small letters; no value is the empty text."""
    said = {value.strip().lower(): meaning for listed, meaning in meanings.items() for value in listed}
    given = values.fill_nan(None) if values.dtype.is_float() else values
    distinct = given.drop_nulls().unique()
    folded = distinct.cast(pl.String).str.strip_chars().str.to_lowercase()
    known = [said.get(text, said.get(text.removesuffix(".0"))) for text in folded]
    looked_up = given.replace_strict(distinct, pl.Series(known, dtype=kind), default=None, return_dtype=kind)
    nothing = pl.Series([said.get("")], dtype=kind).new_from_index(0, len(values))
    return looked_up.zip_with(given.is_not_null(), nothing)
