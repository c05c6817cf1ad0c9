"""Encodes transactions as numbers: ts, flags, codes of texts, integer values, coordinates."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from fraud3000.errors import ParamsError
from fraud3000.features.formulas import MISSING, in_steps, steps
from fraud3000.features.online.memory_pool import Floats
from fraud3000.features.online.observe import NULL, UNKNOWN
from fraud3000.features.online.plan import (
    APPROVED,
    COUNTED,
    FIRST_CONDITION,
    FLAGS,
    MOST_TEXTS,
    PRESUMED,
    TS,
    Ints,
    Layout,
)
from fraud3000.features.spec.base import Condition
from fraud3000.schema import APPROVED as IS_APPROVED
from fraud3000.schema import DECLINED, REFUND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Transaction = Mapping[str, Any]


class EventEncoder:
    """Encodes transactions as int64 fields, and assigns a code to each text.

    Attributes
    ----------
    event
        The last transaction of `encode`; coordinates as the bits of a float.
    codes
        Codes by text for each text column, in order of first arrival.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.codes: dict[str, dict[str, int]] = {column: {} for column in layout.texts}
        self.event: Ints = np.zeros(layout.width, np.int64)
        integers, floats = layout.width - len(layout.coordinates), len(layout.coordinates)
        self._pack = struct.Struct(f"={integers}q{floats}d").pack_into
        self._bytes = self.event.view(np.uint8).data

    def encode(self, transaction: Transaction, ts: int, *, learn: bool) -> None:
        """Encode one transaction into `event`; new texts get a code if `learn`."""
        get = transaction.get
        fields: list[float] = [ts, self._flags(transaction)]
        for column, codes in self.codes.items():
            text: Any = get(column)
            code = NULL if text is None else codes.get(text, UNKNOWN)
            if code == UNKNOWN and learn:
                code = codes[text] = len(codes)
                _require_packable(column, codes)
            fields.append(code)
        fields += [_to_steps(column, get(column)) for column in self._layout.values]
        fields += [np.nan if (coordinate := get(column)) is None else coordinate for column in self._layout.coordinates]
        self._pack(self._bytes, 0, *fields)

    def _flags(self, transaction: Transaction) -> int:
        status = transaction.get("status") or IS_APPROVED
        labelled = transaction.get("labelled")
        flags = PRESUMED if status != DECLINED and (labelled is None or labelled) else 0
        flags |= (APPROVED if status == IS_APPROVED else 0) | (COUNTED if status != REFUND else 0)
        for bit, condition in enumerate(self._layout.conditions, FIRST_CONDITION):
            value = status if condition.column == "status" else transaction.get(condition.column)
            if value is not None and _satisfies(condition, value):
                flags |= 1 << bit
        return flags

    def encode_frame(self, transactions: pl.DataFrame) -> Ints:
        """Encode many transactions, one per row; all their texts get codes."""
        encoded = np.empty((transactions.height, self._layout.width), np.int64)
        encoded[:, TS] = transactions["ts"].dt.epoch("us").to_numpy() if "ts" in transactions.columns else 0
        encoded[:, FLAGS] = _flag_column(self._layout.conditions, transactions)
        for column, codes in self.codes.items():
            encoded[:, self._layout.field_of(column)] = _code_column(codes, _column(transactions, column, pl.String()))
            _require_packable(column, codes)
        for column in self._layout.values:
            encoded[:, self._layout.field_of(column)] = _step_column(column, transactions)
        for column in self._layout.coordinates:
            coordinate = _column(transactions, column, pl.Float64()).fill_null(np.nan).to_numpy()
            encoded.view(np.float64)[:, self._layout.field_of(column)] = coordinate
        return encoded


def microseconds(moment: datetime | int) -> int:
    """Convert a time to microseconds since the epoch; integers stay as they are.

    Examples
    --------
    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    if isinstance(moment, datetime):
        since = moment - EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return int(moment)


def _require_packable(column: str, codes: Mapping[str, int]) -> None:
    if len(codes) > MOST_TEXTS:
        raise ParamsError(
            f"features: column {column} has more than {MOST_TEXTS:,} different texts, the most that the online engine supports",
            hint="Leave out the features that group by it.",
        )


def _to_steps(column: str, value: float | None) -> int:
    if value is None:
        return MISSING
    return int(value) if column == "amount" else int(steps(float(value)))


def _satisfies(condition: Condition, value: Any) -> bool:
    threshold: Any = condition.values[0]
    match condition.how:
        case "is":
            return value in condition.values
        case "above":
            return bool(value > threshold)
        case "at_least":
            return bool(value >= threshold)
        case "below":
            return bool(value < threshold)
        case "at_most":
            return bool(value <= threshold)


def _column(transactions: pl.DataFrame, column: str, kind: pl.DataType) -> pl.Series:
    if column not in transactions.columns:
        return pl.Series(column, [None], kind).new_from_index(0, transactions.height)
    return transactions[column].cast(kind)


def _flag_column(conditions: list[Condition], transactions: pl.DataFrame) -> Ints:
    status = _column(transactions, "status", pl.String()).fill_null(IS_APPROVED)
    labelled = _column(transactions, "labelled", pl.Boolean()).fill_null(value=True)
    flags: Ints = ((status != DECLINED) & labelled).to_numpy() * np.int64(PRESUMED)
    flags |= (status == IS_APPROVED).to_numpy() * np.int64(APPROVED) | (status != REFUND).to_numpy() * np.int64(COUNTED)
    for bit, condition in enumerate(conditions, FIRST_CONDITION):
        if condition.how == "is":
            text = status if condition.column == "status" else _column(transactions, condition.column, pl.String())
            satisfied = text.is_in(condition.values).fill_null(value=False).to_numpy()
        else:
            numbers = _column(transactions, condition.column, pl.Float64()).fill_null(np.nan).to_numpy()
            satisfied = _satisfying(condition, numbers)
        flags |= satisfied * np.int64(1 << bit)
    return flags


def _satisfying(condition: Condition, numbers: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    compare = {"above": np.greater, "at_least": np.greater_equal, "below": np.less, "at_most": np.less_equal}
    return compare[condition.how](numbers, condition.values[0])


def _code_column(codes: dict[str, int], texts: pl.Series) -> Ints:
    distinct = texts.drop_nulls().unique(maintain_order=True)
    new_codes = [codes.setdefault(text, len(codes)) for text in distinct.to_list()]
    return texts.replace_strict(
        distinct, pl.Series(new_codes, dtype=pl.Int64), default=NULL, return_dtype=pl.Int64
    ).to_numpy()


def _step_column(column: str, transactions: pl.DataFrame) -> Ints:
    if column == "amount":
        return _column(transactions, column, pl.Int64()).fill_null(MISSING).to_numpy()
    return in_steps(_column(transactions, column, pl.Float64()).fill_null(np.nan).to_numpy())
