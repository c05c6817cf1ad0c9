"""SCORED rows as arrays sorted by score, for metrics under many weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud3000.errors import DataError, SchemaError
from fraud3000.schema import DECLINE, REFUND

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NEEDED = ("score", "is_fraud", "amount", "alert")


@dataclass(frozen=True, eq=False)
class ScoredArrays:
    """The measured rows, highest score first.

    Attributes
    ----------
    score, fraud, amount
        Arrays of shape (n,): any finite number; 0 or 1; minor units, at least 0.
    alert, decline
        Whether the policy alerted the row (review or decline), and whether it declined the row; shape (n,).
    time_rank
        Order of time, shape (n,): the row's rank by (ts, seq), or its index in the frame.
    keys
        Codes of ``card`` and ``terminal``, shape (n,), if the data has them.
        Codes follow the order of the ids; each row without an id has its own code.
    day
        Codes of the UTC days, in order of time; None for data without time.
    """

    score: FloatArray
    fraud: FloatArray
    amount: FloatArray
    alert: BoolArray
    decline: BoolArray
    time_rank: IntArray
    keys: dict[str, IntArray]
    day: IntArray | None

    @classmethod
    def from_frame(cls, scored: pl.DataFrame) -> ScoredArrays:
        """Build from the measured rows of a SCORED frame; see `counted`.

        Raises
        ------
        SchemaError
            A required column is missing.
        DataError
            A score is null, NaN or infinite.
        """
        missing = [name for name in NEEDED if name not in scored.columns]
        if missing:
            raise SchemaError.missing_columns("the scored rows", missing, scored.columns, hint="Score them first.")
        rows = scored.filter(counted(scored))
        unusable = rows.height - int(rows["score"].is_finite().fill_null(value=False).sum())
        if unusable:
            raise DataError(
                f"the scored rows: {unusable} of {rows.height} scores are null, NaN or infinite",
                hint="Correct the scores: metrics of such scores would mislead.",
            )
        keys = {key: codes(rows[f"{key}_id"]) for key in ("card", "terminal") if f"{key}_id" in rows.columns}
        return cls(
            score=rows["score"].cast(pl.Float64).to_numpy(),
            fraud=rows["is_fraud"].cast(pl.Float64).to_numpy(),
            amount=rows["amount"].clip(lower_bound=0).cast(pl.Float64).to_numpy(),
            alert=rows["alert"].to_numpy(),
            decline=_declined(rows),
            time_rank=_time_rank(rows),
            keys=keys,
            day=codes(rows["ts"].dt.date()) if "ts" in rows.columns else None,
        ).sort_by_score()

    def with_scores(self, score: FloatArray, alert: BoolArray) -> ScoredArrays:
        """Return the same rows with other scores and alerts, none declined; arrays in this sample's order."""
        none = np.zeros(self.rows, dtype=np.bool_)
        return ScoredArrays(
            score, self.fraud, self.amount, alert, none, self.time_rank, self.keys, self.day
        ).sort_by_score()

    @property
    def rows(self) -> int:
        return len(self.score)

    @property
    def frauds(self) -> int:
        return int(self.fraud.sum())

    @property
    def days(self) -> int:
        """Number of days that have rows; 0 for data without time."""
        return 0 if self.day is None or not len(self.day) else int(self.day.max()) + 1

    def sort_by_score(self) -> ScoredArrays:
        """Return the rows sorted by score, highest first, ties in order of time."""
        order = np.lexsort((self.time_rank, -self.score))
        return ScoredArrays(
            self.score[order],
            self.fraud[order],
            self.amount[order],
            self.alert[order],
            self.decline[order],
            self.time_rank[order],
            {key: code[order] for key, code in self.keys.items()},
            None if self.day is None else self.day[order],
        )


def counted(scored: pl.DataFrame) -> pl.Series:
    """Return which rows are measured: known label, not a refund, and not left out by ``evaluated``.

    Examples
    --------
    >>> scored = pl.DataFrame({"is_fraud": [1, None, 0], "status": ["approved", "approved", "refund"]})
    >>> counted(scored).to_list()
    [True, False, False]
    """
    rule = pl.col("is_fraud").is_not_null()
    if "status" in scored.columns:
        rule &= pl.col("status").ne_missing(REFUND)
    if "evaluated" in scored.columns:
        rule &= pl.col("evaluated")
    return scored.select(rule.alias("counted")).to_series()


def codes(values: pl.Series) -> IntArray:
    """Number the distinct values 0, 1, … in sorted order; each null gets its own number.

    Examples
    --------
    >>> codes(pl.Series(["b", None, "a", "b"])).tolist()
    [1, 2, 0, 1]
    """
    distinct = values.drop_nulls().unique().sort()
    known = pl.DataFrame({"value": distinct}).with_row_index("code")
    matched = pl.DataFrame({"value": values}).join(known, on="value", how="left", maintain_order="left")["code"]
    null = matched.is_null().to_numpy()
    filled: NDArray[Any] = matched.fill_null(0).cast(pl.Int64).to_numpy().copy()
    filled[null] = np.arange(len(distinct), len(distinct) + int(null.sum()))
    return filled


def _declined(rows: pl.DataFrame) -> BoolArray:
    """Return the declined rows; without a column of decisions none is declined, and all alerts are reviews."""
    if "decision" not in rows.columns:
        return np.zeros(rows.height, dtype=np.bool_)
    return (rows["decision"] == DECLINE).to_numpy()


def _time_rank(rows: pl.DataFrame) -> IntArray:
    by = [name for name in ("ts", "seq") if name in rows.columns]
    time_rank = np.arange(rows.height, dtype=np.int64)
    if by:
        order = rows.select(pl.arg_sort_by(by, maintain_order=True)).to_series().to_numpy()
        time_rank[order] = np.arange(rows.height)
    return time_rank
