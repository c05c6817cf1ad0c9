"""A transaction as numbers: its ts, its flags, codes of its texts, steps of its values, coordinates."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from fraud3000.features.formulas import MISSING, in_steps, steps
from fraud3000.features.online.memory_pool import Floats
from fraud3000.features.online.observe import NULL, UNKNOWN
from fraud3000.features.online.plan import APPROVED, COUNTED, FIRST_CONDITION, FLAGS, PRESUMED, TS, Ints, Layout
from fraud3000.features.spec.base import Condition
from fraud3000.schema import APPROVED as IS_APPROVED
from fraud3000.schema import DECLINED, REFUND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Transaction = Mapping[str, Any]


class EventEncoder:
    """Turns transactions into facts, and remembers the code of each text.

    Attributes
    ----------
    row
        The facts of the last transaction that was read alone; coordinates as the bits of a float.
    codes
        For each text column, the texts by order of first arrival.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.codes: dict[str, dict[str, int]] = {column: {} for column in layout.texts}
        self.row: Ints = np.zeros(layout.width, np.int64)
        whole, broken = layout.width - len(layout.places), len(layout.places)
        self._pack = struct.Struct(f"={whole}q{broken}d").pack_into
        self._bytes = self.row.view(np.uint8).data

    def read(self, transaction: Transaction, ts: int, *, learn: bool) -> None:
        """Read one transaction into `row`; new texts get a code if they are to be learned."""
        get = transaction.get
        found: list[float] = [ts, self._flags(transaction)]
        for column, codes in self.codes.items():
            text: Any = get(column)
            code = NULL if text is None else codes.get(text, UNKNOWN)
            if code == UNKNOWN and learn:
                code = codes[text] = len(codes)
            found.append(code)
        found += [_steps(column, get(column)) for column in self._layout.values]
        found += [np.nan if (place := get(column)) is None else place for column in self._layout.places]
        self._pack(self._bytes, 0, *found)

    def _flags(self, transaction: Transaction) -> int:
        status = transaction.get("status") or IS_APPROVED
        labelled = transaction.get("labelled")
        flags = PRESUMED if status != DECLINED and (labelled is None or labelled) else 0
        flags |= (APPROVED if status == IS_APPROVED else 0) | (COUNTED if status != REFUND else 0)
        for bit, condition in enumerate(self._layout.conditions, FIRST_CONDITION):
            found = status if condition.column == "status" else transaction.get(condition.column)
            if found is not None and _satisfies(condition, found):
                flags |= 1 << bit
        return flags

    def of(self, transactions: pl.DataFrame) -> Ints:
        """Read many transactions, one a row; all their texts are learned."""
        facts = np.empty((transactions.height, self._layout.width), np.int64)
        facts[:, TS] = transactions["ts"].dt.epoch("us").to_numpy() if "ts" in transactions.columns else 0
        facts[:, FLAGS] = _all_flags(self._layout.conditions, transactions)
        for column, codes in self.codes.items():
            facts[:, self._layout.fact(column)] = _all_codes(codes, _column(transactions, column, pl.String()))
        for column in self._layout.values:
            facts[:, self._layout.fact(column)] = _all_steps(column, transactions)
        for column in self._layout.places:
            place = _column(transactions, column, pl.Float64()).fill_null(np.nan).to_numpy()
            facts.view(np.float64)[:, self._layout.fact(column)] = place
        return facts


def microseconds(moment: datetime | int) -> int:
    """A moment in microseconds since the epoch.

    Examples
    --------
    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    if isinstance(moment, datetime):
        since = moment - EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return int(moment)


def _steps(column: str, value: float | None) -> int:
    if value is None:
        return MISSING
    return int(value) if column == "amount" else int(steps(float(value)))


def _satisfies(condition: Condition, found: Any) -> bool:
    than: Any = condition.values[0]
    match condition.how:
        case "is":
            return found in condition.values
        case "above":
            return bool(found > than)
        case "at_least":
            return bool(found >= than)
        case "below":
            return bool(found < than)
        case "at_most":
            return bool(found <= than)


def _column(transactions: pl.DataFrame, column: str, kind: pl.DataType) -> pl.Series:
    if column not in transactions.columns:
        return pl.Series(column, [None], kind).new_from_index(0, transactions.height)
    return transactions[column].cast(kind)


def _all_flags(conditions: list[Condition], transactions: pl.DataFrame) -> Ints:
    status = _column(transactions, "status", pl.String()).fill_null(IS_APPROVED)
    labelled = _column(transactions, "labelled", pl.Boolean()).fill_null(value=True)
    flags: Ints = ((status != DECLINED) & labelled).to_numpy() * np.int64(PRESUMED)
    flags |= (status == IS_APPROVED).to_numpy() * np.int64(APPROVED) | (status != REFUND).to_numpy() * np.int64(COUNTED)
    for bit, condition in enumerate(conditions, FIRST_CONDITION):
        if condition.how == "is":
            text = status if condition.column == "status" else _column(transactions, condition.column, pl.String())
            held = text.is_in(condition.values).fill_null(value=False).to_numpy()
        else:
            numbers = _column(transactions, condition.column, pl.Float64()).fill_null(np.nan).to_numpy()
            held = _satisfied(condition, numbers)
        flags |= held * np.int64(1 << bit)
    return flags


def _satisfied(condition: Condition, numbers: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    compare = {"above": np.greater, "at_least": np.greater_equal, "below": np.less, "at_most": np.less_equal}
    return compare[condition.how](numbers, condition.values[0])


def _all_codes(codes: dict[str, int], texts: pl.Series) -> Ints:
    different = texts.drop_nulls().unique(maintain_order=True)
    found = [codes.setdefault(text, len(codes)) for text in different.to_list()]
    return texts.replace_strict(
        different, pl.Series(found, dtype=pl.Int64), default=NULL, return_dtype=pl.Int64
    ).to_numpy()


def _all_steps(column: str, transactions: pl.DataFrame) -> Ints:
    if column == "amount":
        return _column(transactions, column, pl.Int64()).fill_null(MISSING).to_numpy()
    return in_steps(_column(transactions, column, pl.Float64()).fill_null(np.nan).to_numpy())
