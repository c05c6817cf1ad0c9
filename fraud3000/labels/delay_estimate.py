"""How long it takes until frauds are known, estimated from those that are known so far.

On any day the frauds with a long delay are the ones that are still missing, so the delays that were seen are too short: they
are truncated from the right, by the age of their transaction. Read from the longest delay to the shortest, the same
data are truncated from the left, for which the product-limit estimator is made. What takes longer than any transaction
is old cannot be seen at all: every share here is of the frauds that become known within the horizon.

References
----------
Lagakos, Barraj and De Gruttola, "Nonparametric analysis of truncated survival data, with application to AIDS", Biometrika 75
(1988). Kalbfleisch and Lawless, "Inference based on retrospective ascertainment", JASA 84 (1989). Brookmeyer and Gail,
"AIDS Epidemiology: A Quantitative Approach" (1994), chapter 7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud3000.labels import visibility
from fraud3000.schema import REFUND

Floats = npt.NDArray[np.float64]
Shares = tuple[Floats, Floats, Floats]
"""Shares with the ends of their intervals; not a number where nothing is known."""

OLDEST = 10
"""Transactions that must be older than the horizon, or a tenth of all where that is fewer."""

LEAST_COVERAGE = 0.1
"""Share of a week's frauds that must be known for the rest to be told from them."""

_Z = 1.959964  # of intervals of 95 %
_DAY = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class DelayCurve:
    """Which share of the frauds is known how long after their transactions.

    Attributes
    ----------
    days
        Float64, ascending: the delays at which the share grows.
    share
        Float64: the share of the frauds known by then, among those known within the horizon.
    deviation
        Float64: standard deviation of the logarithm of the share, by Greenwood's formula.
    horizon
        Days. How long delays are seen at all; no share is known from there on. Infinite where nothing is truncated.
    begin
        Days. Below it nothing is known: too few old transactions have short delays. 0 as a rule.
    reports
        How many delays it is made of.
    beyond
        How many more were longer than the horizon.
    """

    days: Floats
    share: Floats
    deviation: Floats
    horizon: float
    begin: float
    reports: int
    beyond: int

    def at(self, days: npt.ArrayLike) -> Shares:
        """The share known so many days after the transaction, with pointwise intervals of 95 %."""
        asked = np.asarray(days, dtype=np.float64)
        place = np.searchsorted(self.days, asked, side="right") - 1
        share = np.where(place < 0, 0.0, np.append(self.share, 0.0)[place])
        spread = np.where(place < 0, 0.0, np.append(self.deviation, 0.0)[place])
        unknown = (asked < self.begin) | (asked >= self.horizon) | (self.reports == 0)
        low, high = _bounds(share, spread)
        return np.where(unknown, np.nan, share), np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)

    def quantile(self, share: float) -> tuple[float, float, float] | None:
        """Days until a share is known, with an interval of 95 %; None where there are no reports."""
        if not self.reports:
            return None
        low, high = _bounds(self.share, self.deviation)
        found = [self.days[np.argmax(by >= share)] for by in (self.share, high, low)]
        return float(found[0]), float(found[1]), float(found[2])


def estimate(delay: npt.ArrayLike, age: npt.ArrayLike) -> DelayCurve:
    """The curve of delays that were seen, each because it is shorter than its transaction is old.

    The share at a delay is the product, over all longer ones, of the part of the delays at risk there that are shorter; at
    risk at u are those of at most u whose transaction is older than u.

    Parameters
    ----------
    delay
        Days from each transaction to when it was known as fraud.
    age
        Days from each transaction to now; infinite where any delay would have been seen.

    Raises
    ------
    ValueError
        A delay is negative, or could not have been seen.

    Examples
    --------
    Two transactions are 2 and 20 days old. Of the older, of which any delay can be seen, half were short:

    >>> curve = estimate([1, 1, 10, 1], [20, 2, 20, 2])
    >>> curve.share.tolist(), estimate([1, 1, 10, 1], [np.inf] * 4).share.tolist()
    ([0.5, 1.0], [0.75, 1.0])
    """
    delays, ages = (np.asarray(given, dtype=np.float64) for given in (delay, age))
    if ((delays < 0) | (delays >= ages)).any():
        raise ValueError("a delay is at least 0 and less than its transaction is old")
    horizon = _horizon(ages)
    within = delays < horizon
    known, seen = np.sort(delays[within]), np.sort(ages[within])
    days, counts = np.unique(known, return_counts=True)
    at_risk = np.searchsorted(known, days, side="right") - np.searchsorted(seen, days, side="right")
    alone = np.flatnonzero(counts == at_risk)  # the shortest one always is; nothing is known below any other
    first = int(alone[-1]) if alone.size else 0
    counts, at_risk = counts[first:], at_risk[first:]
    begin = float(days[first]) if first else 0.0
    return DelayCurve(
        days=days[first:],
        share=_product_beyond(1 - counts / at_risk),
        deviation=np.sqrt(_sum_beyond(_ratio(counts, at_risk * (at_risk - counts)))),
        horizon=horizon,
        begin=begin,
        reports=len(known),
        beyond=len(delays) - len(known),
    )


def when_known(transactions: pl.DataFrame, ledger: pl.DataFrame, label_delay: timedelta) -> pl.DataFrame:
    """The records of transactions, each with when it was known whatever the label delay is.

    That is `recorded_at`, but where it was set to the label delay because the report came before it, it is `reported_at`:
    what is estimated must not depend on the label delay that was chosen.

    Parameters
    ----------
    transactions
        TRANSACTIONS, of which transaction_id and ts are needed.
    ledger
        LEDGER; records of other transactions are left out.
    label_delay
        With which the ledger was made.

    Returns
    -------
    polars.DataFrame
        LEDGER, in its order, with `ts` of the transaction, and `untold` where only the label delay says when it was known.
    """
    named = ledger.lazy().select("transaction_id").unique()
    timed = transactions.lazy().select("transaction_id", "ts").join(named, on="transaction_id", how="semi")
    found = ledger.join(timed.collect(), on="transaction_id", how="inner", maintain_order="left")
    at_the_delay = pl.col("recorded_at") == pl.col("ts") + label_delay
    return found.with_columns(
        recorded_at=pl.when(at_the_delay).then(pl.coalesce("reported_at", "recorded_at")).otherwise("recorded_at"),
        untold=at_the_delay & pl.col("reported_at").is_null(),
    )


def known_frauds(records: pl.DataFrame, as_of: datetime, precedence: Sequence[str] = ()) -> pl.DataFrame:
    """The frauds known at a moment, and how long each took.

    A transaction is one if the record that decides then says so: a fraud that was reversed is none. Its delay ends when it
    was first known as fraud.

    Parameters
    ----------
    records
        As `when_known` gives them.
    precedence
        Sources, the most trusted first.

    Returns
    -------
    polars.DataFrame
        `transaction_id, ts, delay, age`, the last two in days, by time. `delay` is null where it is untold.
    """
    told = records.filter((pl.col("recorded_at") < as_of) & (pl.col("ts") < as_of))
    fraud = pl.col("is_fraud") == 1
    frauds = (
        visibility.changes(told, precedence)
        .group_by("transaction_id", maintain_order=True)
        .agg(since=pl.col("since").filter(fraud).first(), now=fraud.last())
        .filter("now")
    )
    of_each = told.group_by("transaction_id", "recorded_at").agg(pl.col("ts").first(), pl.col("untold").all())
    found = frauds.join(of_each, left_on=["transaction_id", "since"], right_on=["transaction_id", "recorded_at"])
    delay, age = _days(pl.col("since") - pl.col("ts")).clip(0), _days(as_of - pl.col("ts"))
    return found.select("transaction_id", "ts", delay=pl.when(~pl.col("untold")).then(delay), age=age).sort(
        "ts", "transaction_id"
    )


def curve_of(frauds: pl.DataFrame) -> DelayCurve:
    """The curve of `known_frauds`, of those whose delay is known."""
    timed = frauds.filter(pl.col("delay").is_not_null())
    return estimate(timed["delay"].to_numpy(), timed["age"].to_numpy())


def proposed(curve: DelayCurve, share: float) -> timedelta | None:
    """The label delay by which a share of the frauds is known, in whole days; None where there are no reports."""
    found = curve.quantile(share)
    return None if found is None else math.ceil(found[0]) * _DAY


def nowcast(
    curve: DelayCurve, transactions: pl.DataFrame, frauds: pl.DataFrame, as_of: datetime, *, weeks: int = 8
) -> pl.DataFrame:
    """The frauds of the last weeks, known and still to be reported.

    Of a week's frauds the share known by now is that of its transactions by their ages, as if frauds came evenly among them.
    The known ones over that share are all that will be known within the horizon.

    Parameters
    ----------
    transactions
        TRANSACTIONS, of which ts and status are needed; refunds are left out.
    frauds
        As `known_frauds` gives them.

    Returns
    -------
    polars.DataFrame
        One row for each week of seven days up to `as_of`, the oldest first: `first` and `last` Datetime, [first, last);
        `transactions, known` Int64; `coverage`, the share that is known; `expected, low, high`, frauds in all with an
        interval of 95 %, null where less than `LEAST_COVERAGE` is known. A week without transactions is left out.
    """
    number = ((as_of - pl.col("ts")).dt.total_microseconds() - 1) // (7 * 86_400_000_000)
    recent = (pl.col("ts") < as_of) & (number < weeks)
    rows = (
        transactions.lazy()
        .filter(recent & pl.col("status").ne_missing(REFUND))
        .select("transaction_id", "ts", week=number)
    ).collect()
    share, low, _ = curve.at(_days_of(rows["ts"], as_of))
    whole = _days_of(rows["ts"], as_of) >= curve.horizon
    rows = rows.with_columns(
        coverage=pl.Series(np.where(whole, 1.0, share)).fill_nan(None),
        doubt=pl.Series(np.where(whole, 0.0, (share - low) / _Z)).fill_nan(None),
        known=pl.col("transaction_id").is_in(frauds["transaction_id"].implode()),
    )
    by_week = (
        rows.group_by("week")
        .agg(
            pl.len().cast(pl.Int64).alias("transactions"),
            pl.col("known").sum().cast(pl.Int64),
            coverage=pl.when(pl.col("coverage").null_count() == 0).then(pl.col("coverage").mean()),
            doubt=pl.col("doubt").mean(),
        )
        .sort("week", descending=True)
    )
    told, known = pl.col("coverage") >= LEAST_COVERAGE, pl.col("known")
    least = pl.max_horizontal(known, 1)  # where none is known, the doubt is that of one
    spread = (least * (1 - pl.col("coverage")) + (least * pl.col("doubt") / pl.col("coverage")) ** 2).sqrt()
    expected, margin = known / pl.col("coverage"), _Z * spread / pl.col("coverage")
    return by_week.select(
        first=pl.lit(as_of) - (pl.col("week") + 1) * timedelta(days=7),
        last=pl.lit(as_of) - pl.col("week") * timedelta(days=7),
        transactions="transactions",
        known="known",
        coverage="coverage",
        expected=pl.when(told).then(expected),
        low=pl.when(told).then(pl.max_horizontal(expected - margin, known.cast(pl.Float64))),
        high=pl.when(told).then(expected + margin),
    )


def _horizon(ages: Floats) -> float:
    """The age that the oldest transactions exceed."""
    if not len(ages):
        return 0.0
    oldest = min(OLDEST, math.ceil(len(ages) / 10))
    return float(np.partition(ages, len(ages) - oldest)[len(ages) - oldest])


def _product_beyond(factors: Floats) -> Floats:
    """For each place the product of all that come after it."""
    return np.append(np.cumprod(factors[:0:-1])[::-1], 1.0)[: len(factors)]


def _sum_beyond(terms: Floats) -> Floats:
    return np.append(np.cumsum(terms[:0:-1])[::-1], 0.0)[: len(terms)]


def _ratio(top: npt.NDArray[np.int64], bottom: npt.NDArray[np.int64]) -> Floats:
    """Of the first place, which nothing reads, 0 stands for a division by 0."""
    return np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)


def _bounds(share: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """Ends of 95 % on the scale log(−log share), which stay between 0 and 1."""
    inside = (share > 0) & (share < 1)
    log = np.log(share, out=np.full(share.shape, -1.0), where=inside)
    reach = np.exp(_Z * deviation / -log)
    low, high = np.exp(log * reach), np.exp(log / reach)
    return np.where(inside, low, share), np.where(inside, high, share)


def _days(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / (_DAY / timedelta(microseconds=1))


def _days_of(ts: pl.Series, as_of: datetime) -> Floats:
    return pl.select(_days(pl.lit(as_of) - ts)).to_series().to_numpy()
