"""Estimate the reporting delay of frauds from the frauds known so far.

On any day the frauds with a long delay are not known yet, so the observed delays are too short: they are right-truncated by
the age of their transaction. In reversed time the data are left-truncated, and the product-limit estimator applies. Delays
longer than the age of every transaction cannot be observed; every share here is a share of the frauds that become known
within the horizon.

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
"""Shares with the lower and upper ends of their intervals; NaN if unknown."""

OLDEST = 10
"""Number of transactions that must be older than the horizon; a tenth of all if that is fewer."""

LEAST_COVERAGE = 0.1
"""Share of a week's frauds that must be known for an estimate of the rest."""

_Z = 1.959964  # of intervals of 95 %
_DAY = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class DelayCurve:
    """Cumulative share of frauds known by the time since their transactions.

    Attributes
    ----------
    days
        Float64, ascending: the delays at which the share grows.
    share
        Float64: the share of the frauds known by then, among those known within the horizon.
    deviation
        Float64: standard deviation of the logarithm of the share, by Greenwood's formula.
    horizon
        Days. The longest delay that can be observed; shares from there on are unknown. Infinite without truncation.
    begin
        Days. Shares below it are unknown, because too few old transactions have short delays. Usually 0.
    reports
        Number of delays in the estimate.
    beyond
        Number of further delays, longer than the horizon.
    """

    days: Floats
    share: Floats
    deviation: Floats
    horizon: float
    begin: float
    reports: int
    beyond: int

    def at(self, days: npt.ArrayLike) -> Shares:
        """The share known at these numbers of days after the transaction, with pointwise 95 % intervals."""
        elapsed = np.asarray(days, dtype=np.float64)
        index = np.searchsorted(self.days, elapsed, side="right") - 1
        share = np.where(index < 0, 0.0, np.append(self.share, 0.0)[index])
        spread = np.where(index < 0, 0.0, np.append(self.deviation, 0.0)[index])
        unknown = (elapsed < self.begin) | (elapsed >= self.horizon) | (self.reports == 0)
        low, high = _bounds(share, spread)
        return np.where(unknown, np.nan, share), np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)

    def quantile(self, share: float) -> tuple[float, float, float] | None:
        """Days until a share is known, with a 95 % interval; None if there are no reports."""
        if not self.reports:
            return None
        low, high = _bounds(self.share, self.deviation)
        days = [self.days[np.argmax(curve >= share)] for curve in (self.share, high, low)]
        return float(days[0]), float(days[1]), float(days[2])


def estimate(delay: npt.ArrayLike, age: npt.ArrayLike) -> DelayCurve:
    """Estimate the curve from right-truncated delays: each was observed because it is shorter than its transaction's age.

    The share at a delay is the product, over all longer delays u, of the fraction of the delays at risk at u that are shorter
    than u; at risk at u are the delays of at most u whose transaction is older than u.

    Parameters
    ----------
    delay
        Days from each transaction until it was known as fraud.
    age
        Days from each transaction to now; infinite if every delay would have been observed.

    Raises
    ------
    ValueError
        A delay is negative, or not less than its age.

    Examples
    --------
    Transactions are 2 or 20 days old. Of the older ones, for which long delays can be observed, half had short delays:

    >>> curve = estimate([1, 1, 10, 1], [20, 2, 20, 2])
    >>> curve.share.tolist(), estimate([1, 1, 10, 1], [np.inf] * 4).share.tolist()
    ([0.5, 1.0], [0.75, 1.0])
    """
    delays, ages = (np.asarray(values, dtype=np.float64) for values in (delay, age))
    if ((delays < 0) | (delays >= ages)).any():
        raise ValueError("a delay must be at least 0 and less than the age of its transaction")
    horizon = _horizon(ages)
    within = delays < horizon
    known, known_ages = np.sort(delays[within]), np.sort(ages[within])
    days, counts = np.unique(known, return_counts=True)
    at_risk = np.searchsorted(known, days, side="right") - np.searchsorted(known_ages, days, side="right")
    # where all delays at risk are equal, nothing is known about shorter ones; always so at the shortest delay
    without_shorter = np.flatnonzero(counts == at_risk)
    first = int(without_shorter[-1]) if without_shorter.size else 0
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
    """The records with the time at which each became known, independent of the configured label delay.

    This is `recorded_at`; or `reported_at` if `recorded_at` was set to the end of the label delay because the report came
    earlier. The estimate must not depend on the configured delay.

    Parameters
    ----------
    transactions
        TRANSACTIONS; needs transaction_id and ts.
    ledger
        LEDGER; records of other transactions are left out.
    label_delay
        The delay with which the ledger was created.

    Returns
    -------
    polars.DataFrame
        LEDGER in its order, with `ts` of the transaction and `delay_unknown`: True if only the label delay states the time.
    """
    ids = ledger.lazy().select("transaction_id").unique()
    timed = transactions.lazy().select("transaction_id", "ts").join(ids, on="transaction_id", how="semi")
    records = ledger.join(timed.collect(), on="transaction_id", how="inner", maintain_order="left")
    at_the_delay = pl.col("recorded_at") == pl.col("ts") + label_delay
    return records.with_columns(
        recorded_at=pl.when(at_the_delay).then(pl.coalesce("reported_at", "recorded_at")).otherwise("recorded_at"),
        delay_unknown=at_the_delay & pl.col("reported_at").is_null(),
    )


def known_frauds(records: pl.DataFrame, as_of: datetime, precedence: Sequence[str] = ()) -> pl.DataFrame:
    """The frauds known at a time, and the delay of each.

    A transaction counts if the deciding record at that time is fraud, so reversed frauds do not count. The delay ends when
    it was first known as fraud.

    Parameters
    ----------
    records
        Result of `when_known`.
    precedence
        Sources, the most trusted first.

    Returns
    -------
    polars.DataFrame
        `transaction_id, ts, delay, age`, the last two in days, by time. `delay` is null if it is unknown.
    """
    known = records.filter((pl.col("recorded_at") < as_of) & (pl.col("ts") < as_of))
    fraud = pl.col("is_fraud") == 1
    frauds = (
        visibility.changes(known, precedence)
        .group_by("transaction_id", maintain_order=True)
        .agg(since=pl.col("since").filter(fraud).first(), now=fraud.last())
        .filter("now")
    )
    times = known.group_by("transaction_id", "recorded_at").agg(pl.col("ts").first(), pl.col("delay_unknown").all())
    joined = frauds.join(times, left_on=["transaction_id", "since"], right_on=["transaction_id", "recorded_at"])
    delay, age = _days(pl.col("since") - pl.col("ts")).clip(0), _days(as_of - pl.col("ts"))
    return joined.select("transaction_id", "ts", delay=pl.when(~pl.col("delay_unknown")).then(delay), age=age).sort(
        "ts", "transaction_id"
    )


def curve_from_frauds(frauds: pl.DataFrame) -> DelayCurve:
    """Estimate the curve from the `known_frauds` whose delay is known."""
    timed = frauds.filter(pl.col("delay").is_not_null())
    return estimate(timed["delay"].to_numpy(), timed["age"].to_numpy())


def propose_label_delay(curve: DelayCurve, share: float) -> timedelta | None:
    """The label delay, in whole days, after which a share of the frauds is known; None if there are no reports."""
    quantile = curve.quantile(share)
    return None if quantile is None else math.ceil(quantile[0]) * _DAY


def nowcast(
    curve: DelayCurve, transactions: pl.DataFrame, frauds: pl.DataFrame, as_of: datetime, *, weeks: int = 8
) -> pl.DataFrame:
    """Estimate the frauds of the last weeks, known and still to be reported.

    The share of a week's frauds that is known by now is the mean of the curve over its transactions, as if frauds were evenly
    distributed among them. The known frauds divided by that share estimate all that will be known within the horizon.

    Parameters
    ----------
    transactions
        TRANSACTIONS; needs transaction_id, ts and status. Refunds are left out.
    frauds
        Result of `known_frauds`.

    Returns
    -------
    polars.DataFrame
        One row for each week of seven days up to `as_of`, the oldest first: `first` and `last` Datetime, [first, last);
        `transactions, known` Int64; `coverage`, the share that is known; `expected, low, high`, the total of frauds with a
        95 % interval, null if less than `LEAST_COVERAGE` is known. Weeks without transactions are left out.
    """
    number = ((as_of - pl.col("ts")).dt.total_microseconds() - 1) // (7 * 86_400_000_000)
    recent = (pl.col("ts") < as_of) & (number < weeks)
    rows = (
        transactions.lazy()
        .filter(recent & pl.col("status").ne_missing(REFUND))
        .select("transaction_id", "ts", week=number)
    ).collect()
    share, low, _ = curve.at(_days_of(rows["ts"], as_of))
    complete = _days_of(rows["ts"], as_of) >= curve.horizon
    rows = rows.with_columns(
        coverage=pl.Series(np.where(complete, 1.0, share)).fill_nan(None),
        error=pl.Series(np.where(complete, 0.0, (share - low) / _Z)).fill_nan(None),
        known=pl.col("transaction_id").is_in(frauds["transaction_id"].implode()),
    )
    by_week = (
        rows.group_by("week")
        .agg(
            pl.len().cast(pl.Int64).alias("transactions"),
            pl.col("known").sum().cast(pl.Int64),
            coverage=pl.when(pl.col("coverage").null_count() == 0).then(pl.col("coverage").mean()),
            error=pl.col("error").mean(),
        )
        .sort("week", descending=True)
    )
    covered, known = pl.col("coverage") >= LEAST_COVERAGE, pl.col("known")
    at_least_one = pl.max_horizontal(known, 1)  # with no known fraud, the uncertainty is that of one fraud
    spread = (
        at_least_one * (1 - pl.col("coverage")) + (at_least_one * pl.col("error") / pl.col("coverage")) ** 2
    ).sqrt()
    expected, margin = known / pl.col("coverage"), _Z * spread / pl.col("coverage")
    return by_week.select(
        first=pl.lit(as_of) - (pl.col("week") + 1) * timedelta(days=7),
        last=pl.lit(as_of) - pl.col("week") * timedelta(days=7),
        transactions="transactions",
        known="known",
        coverage="coverage",
        expected=pl.when(covered).then(expected),
        low=pl.when(covered).then(pl.max_horizontal(expected - margin, known.cast(pl.Float64))),
        high=pl.when(covered).then(expected + margin),
    )


def _horizon(ages: Floats) -> float:
    """The age exceeded by the `OLDEST` oldest transactions."""
    if not len(ages):
        return 0.0
    oldest = min(OLDEST, math.ceil(len(ages) / 10))
    return float(np.partition(ages, len(ages) - oldest)[len(ages) - oldest])


def _product_beyond(factors: Floats) -> Floats:
    """For each index the product of all later factors."""
    return np.append(np.cumprod(factors[:0:-1])[::-1], 1.0)[: len(factors)]


def _sum_beyond(terms: Floats) -> Floats:
    return np.append(np.cumsum(terms[:0:-1])[::-1], 0.0)[: len(terms)]


def _ratio(top: npt.NDArray[np.int64], bottom: npt.NDArray[np.int64]) -> Floats:
    """Divide; 0 where the divisor is 0, which happens only at index 0, whose value is not used."""
    return np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)


def _bounds(share: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """95 % interval on the scale log(−log share), which stays between 0 and 1."""
    inside = (share > 0) & (share < 1)
    log = np.log(share, out=np.full(share.shape, -1.0), where=inside)
    reach = np.exp(_Z * deviation / -log)
    low, high = np.exp(log * reach), np.exp(log / reach)
    return np.where(inside, low, share), np.where(inside, high, share)


def _days(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / (_DAY / timedelta(microseconds=1))


def _days_of(ts: pl.Series, as_of: datetime) -> Floats:
    return pl.select(_days(pl.lit(as_of) - ts)).to_series().to_numpy()
