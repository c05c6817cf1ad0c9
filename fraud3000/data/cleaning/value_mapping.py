"""Map the values of label and status columns to their meanings."""

from __future__ import annotations

import polars as pl

from fraud3000.data.cleaning.row_errors import RowError
from fraud3000.params import LabelFormat, StatusFormat
from fraud3000.schema import APPROVED, DECLINED, REFUND

_UNLABELLED = -1


def read_labels(values: pl.Series, form: LabelFormat) -> tuple[pl.Series, pl.Series, list[RowError]]:
    """Read a label column; null is looked up as the empty text, 1.0 also as 1.

    Returns
    -------
    tuple
        `is_fraud` Int8, null without a label; `labelled` Boolean; and the error
        ``label_unknown_value``.

    Examples
    --------
    >>> is_fraud, labelled, _ = read_labels(pl.Series(["Yes", "No", None]), LabelFormat())
    >>> is_fraud.to_list(), labelled.to_list()
    ([1, 0, None], [True, True, False])
    """
    label = _look_up(values, {form.fraud: 1, form.legitimate: 0, form.unlabelled: _UNLABELLED}, pl.Int8())
    label = label.fill_null(int(form.otherwise == "fraud")) if form.otherwise else label
    labelled = label != _UNLABELLED
    errors = [RowError.where("label_unknown_value", label.is_null(), "label", values)]
    return label.set(~labelled, None).alias("is_fraud"), labelled.fill_null(value=False).alias("labelled"), errors


def read_status(values: pl.Series, form: StatusFormat) -> tuple[pl.Series, list[RowError]]:
    """Read a status column as approved, declined or refund; error ``status_unknown_value``.

    Examples
    --------
    >>> form = StatusFormat(approved=("",), otherwise="declined")
    >>> read_status(pl.Series(["", None, "Bad PIN", "refund"]), form)[0].to_list()
    ['approved', 'approved', 'declined', 'refund']
    """
    status = _look_up(values, {form.approved: APPROVED, form.declined: DECLINED, form.refund: REFUND}, pl.String())
    status = status.fill_null(form.otherwise) if form.otherwise else status
    return status.alias("status"), [RowError.where("status_unknown_value", status.is_null(), "status", values)]


def normalise_refunds(amount: pl.Series, status: pl.Series | None) -> tuple[pl.Series, pl.Series]:
    """Treat approved negative amounts as refunds, and make the amount of every refund negative.

    Returns
    -------
    tuple
        Amounts Int64, and status String.

    Examples
    --------
    >>> amount, status = normalise_refunds(pl.Series([-5, -5, 5]), pl.Series(["approved", "declined", "refund"]))
    >>> amount.to_list(), status.to_list()
    ([-5, -5, -5], ['refund', 'declined', 'refund'])
    """
    if status is None:
        status = pl.Series([APPROVED], dtype=pl.String).new_from_index(0, len(amount))
    frame = pl.DataFrame({"amount": amount, "status": status}).with_columns(
        status=pl.when((pl.col("amount") < 0) & (pl.col("status") == APPROVED)).then(pl.lit(REFUND)).otherwise("status")
    )
    negated = pl.when(pl.col("status") == REFUND).then(-pl.col("amount").abs()).otherwise("amount")
    normalised = frame.select(negated.alias("amount"), "status")
    return normalised["amount"], normalised["status"]


def _look_up(
    values: pl.Series, meanings: dict[tuple[str, ...], int] | dict[tuple[str, ...], str], kind: pl.DataType
) -> pl.Series:
    """Look up the meaning of each value as stripped lower-case text; null is looked up as the empty text."""
    by_text = {value.strip().lower(): meaning for listed, meaning in meanings.items() for value in listed}
    values = values.fill_nan(None) if values.dtype.is_float() else values
    distinct = values.drop_nulls().unique()
    folded = distinct.cast(pl.String).str.strip_chars().str.to_lowercase()
    matches = [by_text.get(text, by_text.get(text.removesuffix(".0"))) for text in folded]
    looked_up = values.replace_strict(distinct, pl.Series(matches, dtype=kind), default=None, return_dtype=kind)
    for_null = pl.Series([by_text.get("")], dtype=kind).new_from_index(0, len(values))
    return looked_up.zip_with(values.is_not_null(), for_null)
