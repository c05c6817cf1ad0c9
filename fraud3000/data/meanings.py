"""Values of the label and status columns, and what they mean."""

from __future__ import annotations

import polars as pl

from fraud3000.data.faults import Fault
from fraud3000.params import LabelFormat, StatusFormat
from fraud3000.schema import APPROVED, DECLINED, REFUND

_UNLABELLED = -1


def read_labels(values: pl.Series, form: LabelFormat) -> tuple[pl.Series, pl.Series, list[Fault]]:
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
    text = _folded(values)
    said = _meaning(text, {form.fraud: 1, form.legitimate: 0, form.unlabelled: _UNLABELLED}).cast(pl.Int8)
    labelled = said != _UNLABELLED
    faults = [Fault.where("label_unknown_value", said.is_null(), "label", text)]
    return said.set(~labelled, None).alias("is_fraud"), labelled.fill_null(value=False).alias("labelled"), faults


def read_status(values: pl.Series, form: StatusFormat) -> tuple[pl.Series, list[Fault]]:
    """Read a status column as approved, declined or refund; fault ``status_unknown_value``.

    Examples
    --------
    >>> form = StatusFormat(approved=("",), otherwise="declined")
    >>> read_status(pl.Series(["", None, "Bad PIN", "refund"]), form)[0].to_list()
    ['approved', 'approved', 'declined', 'refund']
    """
    text = _folded(values)
    said = _meaning(text, {form.approved: APPROVED, form.declined: DECLINED, form.refund: REFUND})
    said = said.cast(pl.String).fill_null(form.otherwise) if form.otherwise else said.cast(pl.String)
    return said.alias("status"), [Fault.where("status_unknown_value", said.is_null(), "status", text)]


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


def _folded(values: pl.Series) -> pl.Series:
    return values.cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("")


def _meaning(text: pl.Series, meanings: dict[tuple[str, ...], int] | dict[tuple[str, ...], str]) -> pl.Series:
    said = {value.strip().lower(): meaning for values, meaning in meanings.items() for value in values}
    distinct = text.unique()
    known = [said.get(value, said.get(value.removesuffix(".0"))) for value in distinct]
    return text.replace_strict(distinct, pl.Series(known, dtype=pl.Int64 if _is_number(meanings) else pl.String))


def _is_number(meanings: dict[tuple[str, ...], int] | dict[tuple[str, ...], str]) -> bool:
    return all(isinstance(meaning, int) for meaning in meanings.values())
