"""Split transactions by time into train, gap, validation, gap and test; the gaps are at least the label delay."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud3000 import durations
from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.params import Span, SplitParams
from fraud3000.schema import SPLITS
from fraud3000.utc import as_utc

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Boundaries:
    """Half-open spans [first, last) of event time; all None if the split is random.

    Attributes
    ----------
    as_of
        The date as of which labels are known for fit, calibration and threshold. Never after the test span begins, however
        short the gap. None for data without time, in which every label is known.
    burn_in
        The history that a row needs to be used for training.
    """

    train: Span | None = None
    valid: Span | None = None
    test: Span | None = None
    as_of: datetime | None = None
    burn_in: timedelta = timedelta(0)

    def to_dict(self) -> dict[str, Any]:
        spans = {part: [at.isoformat() for at in span] if (span := getattr(self, part)) else None for part in PARTS}
        as_of = self.as_of.isoformat() if self.as_of else None
        return {**spans, "as_of": as_of, "burn_in_seconds": self.burn_in.total_seconds()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Boundaries:
        spans = {part: _span(*map(datetime.fromisoformat, content[part])) if content[part] else None for part in PARTS}
        as_of = datetime.fromisoformat(content["as_of"]) if content["as_of"] else None
        return cls(**spans, as_of=as_of, burn_in=timedelta(seconds=content["burn_in_seconds"]))


@dataclass(frozen=True)
class Split:
    """A split of a data set.

    Attributes
    ----------
    boundaries
        The spans of time, if any.
    counts
        Number of rows of each part, in order.
    """

    boundaries: Boundaries
    counts: dict[str, int]
    _drawn: npt.NDArray[np.uint8] | None

    def split_column(self, rows: pl.DataFrame, start: int = 0) -> pl.Series:
        """The column `split` (String) for some rows.

        Parameters
        ----------
        rows
            TRANSACTIONS, all rows or a slice.
        start
            Index of the first of these rows in the whole data set.
        """
        if self._drawn is not None:
            return pl.Series("split", PARTS).gather(self._drawn[start : start + rows.height])
        return rows.select(_label_rows(self.boundaries)).to_series()


def assign(
    transactions: pl.DataFrame | pl.LazyFrame, params: SplitParams, *, label_delay: timedelta, burn_in: timedelta
) -> Split:
    """Split a data set as the params state.

    By time: the span after burn-in, less the two gaps, is divided by the fractions. By dates: as stated, at
    least the gap apart. Rows before the first span are history; rows between spans and after the last are gap.

    Parameters
    ----------
    transactions
        TRANSACTIONS; if they have times, only the times are read.
    params
        Fractions or dates; the gap defaults to the label delay.
    label_delay, burn_in
        The label delay, and the length of the first span, whose rows have too short a history for training.

    Raises
    ------
    ParamsError
        Spans overlap or are less than the gap apart; a split by time of data without time, or a random
        split of data with time.
    EmptyDataError
        A span contains no transactions.
    """
    rows = transactions.lazy()
    require_columns(rows.collect_schema(), params)
    if params.by == "random":
        drawn = _random(rows, params)
        return Split(Boundaries(), dict(zip(PARTS, np.bincount(drawn).tolist(), strict=True)), drawn)
    gap = label_delay if params.gap is None else params.gap
    bounds = _by_dates(params, gap) if params.by == "dates" else _by_fractions(rows, params, gap, burn_in)
    as_of = min(max(bounds["train"][1], bounds["valid"][1]) + label_delay, bounds["test"][0])
    boundaries = Boundaries(**bounds, as_of=as_of, burn_in=burn_in)
    counted = rows.group_by(_label_rows(boundaries)).agg(pl.len()).collect(engine="streaming")
    counts = dict(counted.iter_rows())
    for part in PARTS:
        if not counts.get(part):
            first, last = bounds[part]
            raise EmptyDataError(
                f"split: no transactions in {part}, [{first:%Y-%m-%d %H:%M}, {last:%Y-%m-%d %H:%M})",
                hint="Choose other dates or fractions under featurize.split.",
            )
    return Split(boundaries, _in_order(counts), None)


def require_columns(columns: Collection[str], params: SplitParams) -> None:
    """Refuse a split that is impossible for data with these columns.

    Raises
    ------
    ParamsError
        A split by time of data without time, or a random split of data with time.
    """
    timed = "ts" in columns
    if timed and params.by == "random":
        raise ParamsError(
            "featurize.split.by: 'random' is only for data without time, but these transactions have times",
            hint="Set it to time or dates: with a random split a model learns from later transactions.",
        )
    if not timed and params.by != "random":
        raise ParamsError(
            f"featurize.split.by: '{params.by}' needs times, but the transactions have none",
            hint="Set featurize.split.by to random.",
        )


def final_boundaries(split: Boundaries, at: datetime, label_delay: timedelta) -> Boundaries:
    """Boundaries for a final model on all known labels: training and validation end where labels are known, without test.

    Validation keeps its length and its gap and moves to the end; if it lies before training, it does not move.

    Parameters
    ----------
    split
        The boundaries by time of the evaluated model.
    at
        The day of training; labels of transactions younger than the label delay are not known.

    Raises
    ------
    ParamsError
        No labels are known beyond the split's own training and validation.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = lambda d: datetime(2024, 1, d, tzinfo=UTC)
    >>> split = Boundaries((day(1), day(10)), (day(12), day(15)), (day(17), day(30)), as_of=day(17))
    >>> moved = final_boundaries(split, day(30), timedelta(days=2))
    >>> [f"{first:%d} to {last:%d}" for first, last in (moved.train, moved.valid)]
    ['01 to 23', '25 to 28']
    """
    assert split.train is not None
    assert split.valid is not None
    end, (first, last) = at - label_delay, split.valid
    if end <= max(last, split.train[1]):
        raise ParamsError(
            f"train --final: labels are known up to {end:%Y-%m-%d %H:%M}, which is not after the split's validation",
            hint="Provide newer data, or set a later evaluate.label_date.",
        )
    if last <= split.train[0]:
        train, valid = (split.train[0], end), split.valid
    else:
        valid = (end - (last - first), end)
        train = (split.train[0], valid[0] - (first - split.train[1]))
    return Boundaries(train, valid, None, as_of=at, burn_in=split.burn_in)


def known_compromised(
    transactions: pl.DataFrame,
    is_fraud: pl.Series,
    boundaries: Boundaries,
    label_delay: timedelta,
    *,
    since: datetime | None = None,
) -> pl.Series:
    """Whether each row's card was known to be compromised before the row's day.

    A card is known to be compromised on a day if it has a fraud in the train span, or between its end and
    `label_delay` before that day; frauds before `since` do not count.

    Parameters
    ----------
    transactions
        TRANSACTIONS, at least from the start of the train span (or from `since`) on.
    is_fraud
        Int8, one for each row, as known at evaluation.
    boundaries, label_delay
        The split's.
    since
        The first day whose frauds count; the default is the start of the train span.

    Returns
    -------
    polars.Series
        Boolean, one for each row; false if the data has no cards or no time.

    References
    ----------
    Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection" (2022), chapter 3.
    """
    if boundaries.train is None or not {"card_id", "ts"} <= set(transactions.columns):
        return pl.repeat(value=False, n=transactions.height, eager=True).alias("compromised")
    first, last = boundaries.train
    first = first if since is None else as_utc(since)
    day = pl.col("ts").dt.truncate("1d")
    in_train = pl.col("ts") < last
    frauds = transactions.filter((is_fraud == 1) & (transactions["ts"] >= first))
    known = frauds.group_by("card_id").agg(
        since=pl.when(in_train).then(first).otherwise(day + timedelta(days=1) + label_delay).min()
    )
    return (
        transactions.select("card_id", day=day)
        .join(known, on="card_id", how="left", maintain_order="left")
        .select(compromised=(pl.col("since") <= pl.col("day")).fill_null(value=False))
        .to_series()
    )


def _by_fractions(
    transactions: pl.LazyFrame, params: SplitParams, gap: timedelta, burn_in: timedelta
) -> dict[str, Span]:
    ends = transactions.select(first=pl.col("ts").min(), last=pl.col("ts").max()).collect(engine="streaming")
    first, last = ends.row(0)
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise EmptyDataError("split: no transactions", hint="Run `fraud3000 prepare` on a file with rows.")
    start, end = first + burn_in, last + timedelta(microseconds=1)
    usable = end - start - 2 * gap
    if usable <= timedelta(0):
        raise ParamsError(
            f"featurize.split: {(end - first) / timedelta(days=1):.1f} days of transactions are too few for a burn-in of "
            f"{durations.text(burn_in)} and two gaps of {durations.text(gap)}",
            hint="Set a shorter featurize.burn_in, prepare.label_delay or featurize.split.gap, or provide more data.",
        )
    train, valid, _ = (_fraction(getattr(params, part)) for part in PARTS)
    train_end = start + usable * train
    valid_end = train_end + gap + usable * valid
    return {"train": (start, train_end), "valid": (train_end + gap, valid_end), "test": (valid_end + gap, end)}


def _by_dates(params: SplitParams, gap: timedelta) -> dict[str, Span]:
    bounds = {part: _span(*getattr(params, part)) for part in PARTS}
    in_order = sorted(bounds, key=lambda part: bounds[part])
    for earlier, later in itertools.pairwise(in_order):
        if bounds[earlier][1] + gap > bounds[later][0]:
            raise ParamsError(
                f"featurize.split: {later} starts {bounds[later][0]:%Y-%m-%d %H:%M}, less than the gap of {durations.text(gap)} "
                f"after {earlier} ends, {bounds[earlier][1]:%Y-%m-%d %H:%M}",
                hint="Move the dates apart, or set featurize.split.gap.",
            )
    if in_order[-1] != "test":
        raise ParamsError("featurize.split: test must be the last span", hint="Move test after train and valid.")
    return bounds


def _label_rows(boundaries: Boundaries) -> pl.Expr:
    bounds = {part: span for part in PARTS if (span := getattr(boundaries, part))}
    begin = min(first for first, _ in bounds.values())
    split = pl.when(pl.col("ts") < begin).then(pl.lit("history")).otherwise(pl.lit("gap"))
    for part, (first, last) in bounds.items():
        split = pl.when(pl.col("ts").is_between(first, last, closed="left")).then(pl.lit(part)).otherwise(split)
    return split.alias("split")


def _random(transactions: pl.LazyFrame, params: SplitParams) -> npt.NDArray[np.uint8]:
    """Assign each row the number of its part by a seeded shuffle of the rows in order of their ids."""
    order = transactions.select(pl.col("transaction_id").arg_sort()).collect().to_series().to_numpy()
    shuffled = np.random.default_rng(params.seed).permutation(order)
    train, valid, _ = (_fraction(getattr(params, part)) for part in PARTS)
    cuts = (np.array([train, train + valid]) * len(shuffled)).round().astype(int)
    split = np.empty(len(shuffled), dtype=np.uint8)
    for number, rows in enumerate(np.split(shuffled, cuts)):
        if not len(rows):
            raise EmptyDataError(f"split: no transactions in {PARTS[number]}", hint="Choose other fractions.")
        split[rows] = number
    return split


def _fraction(part: float | Span) -> float:
    if not isinstance(part, float):
        raise ParamsError(f"featurize.split: {part} is not a fraction", hint="Write a number between 0 and 1.")
    return part


def _span(first: datetime, last: datetime) -> Span:
    return as_utc(first), as_utc(last)


def _in_order(counts: dict[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in SPLITS if name in counts}
