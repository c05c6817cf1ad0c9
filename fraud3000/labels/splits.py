"""Train, gap, validation, gap, test: by time, with the label delay between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud3000 import durations
from fraud3000.errors import EmptyDataError, ParamsError
from fraud3000.params import Span, SplitParams
from fraud3000.schema import SPLITS

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Boundaries:
    """Half-open spans [first, last) of event time, or none where the split is random.

    Attributes
    ----------
    as_of
        The date whose knowledge of labels the model is made with: fit, calibration and threshold.
        Never after the test span begins, however short the gap. None for data without time, where every label is known.
    burn_in
        How much history a row needs before it is trained on.
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
    """Where a data set is cut.

    Attributes
    ----------
    boundaries
        The spans of time, or none.
    counts
        Rows of each split, in order.
    """

    boundaries: Boundaries
    counts: dict[str, int]
    _drawn: npt.NDArray[np.uint8] | None

    def of(self, rows: pl.DataFrame, start: int = 0) -> pl.Series:
        """Each row's `split`, a String.

        Parameters
        ----------
        rows
            TRANSACTIONS, some or all.
        start
            The place of the first of them among all.
        """
        if self._drawn is not None:
            return pl.Series("split", PARTS).gather(self._drawn[start : start + rows.height])
        return rows.select(_label_rows(self.boundaries)).to_series()


def assign(
    transactions: pl.DataFrame | pl.LazyFrame, params: SplitParams, *, label_delay: timedelta, burn_in: timedelta
) -> Split:
    """Say for each transaction which split it belongs to.

    By time: the span after burn-in, less the two gaps, is cut by the fractions. By dates: as they
    are, at least the label delay apart. Rows before the first span are history, rows between spans
    and after the last are gap.

    Parameters
    ----------
    transactions
        TRANSACTIONS; of those with time, only their times are read.
    params
        Fractions or dates; the gap defaults to the label delay.
    label_delay, burn_in
        The label delay, and how much of the first time has too short a history to train on.

    Raises
    ------
    ParamsError
        Dates that overlap or leave less than the gap between them; time asked of data without it,
        or a random split of data that has time.
    EmptyDataError
        A span that holds no transactions.
    """
    rows = transactions.lazy()
    timed = "ts" in rows.collect_schema()
    if params.by == "random":
        if timed:
            raise ParamsError(
                "featurize.split.by: 'random' is for data without time, and these transactions have times",
                hint="Split by time or dates: a random split lets a model learn from what came later.",
            )
        drawn = _random(rows, params)
        return Split(Boundaries(), dict(zip(PARTS, np.bincount(drawn).tolist(), strict=True)), drawn)
    if not timed:
        raise ParamsError(
            f"featurize.split.by: '{params.by}' needs times, and the transactions have none",
            hint="Set featurize.split.by to random.",
        )
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


def final(split: Boundaries, at: datetime, label_delay: timedelta) -> Boundaries:
    """Cut the rows for a model of all that is known: training and validation end where labels are known, nothing is tested.

    Validation keeps its length and its gap and moves to the end; where it lies before training it stays there.

    Parameters
    ----------
    split
        By time: where the model that was judged had its rows.
    at
        The day; what is younger than the label delay has no label to trust.

    Raises
    ------
    ParamsError
        Nothing is newer than the split's own training and validation.

    Examples
    --------
    >>> day = lambda d: datetime(2024, 1, d, tzinfo=UTC)
    >>> split = Boundaries((day(1), day(10)), (day(12), day(15)), (day(17), day(30)), as_of=day(17))
    >>> moved = final(split, day(30), timedelta(days=2))
    >>> [f"{first:%d} to {last:%d}" for first, last in (moved.train, moved.valid)]
    ['01 to 23', '25 to 28']
    """
    assert split.train is not None
    assert split.valid is not None
    end, (first, last) = at - label_delay, split.valid
    if end <= max(last, split.train[1]):
        raise ParamsError(
            f"train --final: labels are known up to {end:%Y-%m-%d %H:%M}, which the split's validation reaches already",
            hint="Bring newer data, or set a later evaluate.label_date.",
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
    """Rows of cards that were known to be compromised before the row's day.

    Known on a day are the cards with a fraud in the train span, or between its end and
    `label_delay` before that day; frauds before `since` do not count.

    Parameters
    ----------
    transactions
        TRANSACTIONS, at least from the start of the train span, or from `since`, on.
    is_fraud
        Int8, one for each row, as known when evaluating.
    boundaries, label_delay
        The split's.
    since
        Where it is not the start of the train span.

    Returns
    -------
    polars.Series
        Boolean, one for each row; false where there are no cards or no time.

    References
    ----------
    Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection" (2022), chapter 3.
    """
    if boundaries.train is None or not {"card_id", "ts"} <= set(transactions.columns):
        return pl.repeat(value=False, n=transactions.height, eager=True).alias("compromised")
    first, last = boundaries.train
    first = first if since is None else _utc(since)
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
        raise EmptyDataError("split: there are no transactions", hint="Run `fraud3000 prepare` on a file with rows.")
    start, end = first + burn_in, last + timedelta(microseconds=1)
    usable = end - start - 2 * gap
    if usable <= timedelta(0):
        raise ParamsError(
            f"featurize.split: {(end - first) / timedelta(days=1):.1f} days of transactions leave nothing after {_said(burn_in)} of burn-in and two gaps of {_said(gap)}",
            hint="Set a shorter featurize.burn_in, prepare.label_delay or featurize.split.gap, or bring more data.",
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
                f"featurize.split: {later} starts {bounds[later][0]:%Y-%m-%d %H:%M}, less than the gap of {_said(gap)} "
                f"after {earlier} ends, {bounds[earlier][1]:%Y-%m-%d %H:%M}",
                hint="Move the dates apart, or set featurize.split.gap.",
            )
    if in_order[-1] != "test":
        raise ParamsError("featurize.split: test must be the last span", hint="Judge a model on what came after it.")
    return bounds


def _label_rows(boundaries: Boundaries) -> pl.Expr:
    bounds = {part: span for part in PARTS if (span := getattr(boundaries, part))}
    begin = min(first for first, _ in bounds.values())
    split = pl.when(pl.col("ts") < begin).then(pl.lit("history")).otherwise(pl.lit("gap"))
    for part, (first, last) in bounds.items():
        split = pl.when(pl.col("ts").is_between(first, last, closed="left")).then(pl.lit(part)).otherwise(split)
    return split.alias("split")


def _random(transactions: pl.LazyFrame, params: SplitParams) -> npt.NDArray[np.uint8]:
    """Give each row its part's number by a seeded shuffle of the rows in order of their ids."""
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


def _said(span: timedelta) -> str:
    return durations.text(int(span.total_seconds()))


def _fraction(part: float | Span) -> float:
    if not isinstance(part, float):
        raise ParamsError(f"featurize.split: {part} is no fraction", hint="Write a number between 0 and 1.")
    return part


def _span(first: datetime, last: datetime) -> Span:
    return _utc(first), _utc(last)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _in_order(counts: dict[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in SPLITS if name in counts}
