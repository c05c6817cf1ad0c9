"""Tables behind the plots of the report, computed from SCORED rows; useful in notebooks too.

Every function takes the frame that `fraud3000.metrics.report.measure` takes, evaluates the same rows, and returns shares
between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from fraud3000.metrics.calibration import log_odds
from fraud3000.metrics.catalogue import NEEDS
from fraud3000.metrics.intervals import Draw, bootstrap
from fraud3000.metrics.ranking import Curve, corners
from fraud3000.metrics.scored_arrays import FloatArray, ScoredArrays
from fraud3000.params import EvaluateModelParams
from fraud3000.schema import REFUND

POINTS = 200
"""Points of the precision-recall curve."""
BINS = 10
FEWEST_EXPECTED = 5
"""Minimum number of frauds in a calibration bin."""


def missing(scored: pl.DataFrame, *needs: str) -> str | None:
    """Return why a table cannot be computed from these rows; None if nothing is missing.

    Parameters
    ----------
    needs
        Names of `fraud3000.metrics.catalogue.NEEDS`: rows, time, frauds, legitimate, probabilities, money, ...

    Examples
    --------
    >>> rows = pl.DataFrame({"score": [0.5], "alert": [False], "is_fraud": [0], "amount": [100]})
    >>> missing(rows, "rows", "frauds")
    'no known fraud'
    """
    sample = ScoredArrays.from_frame(scored)
    return next((reason for need in needs for holds, reason in [NEEDS[need]] if not holds(sample)), None)


def precision_recall(scored: pl.DataFrame, evaluate: EvaluateModelParams) -> pl.DataFrame:
    """Compute precision against recall with intervals, and for a ranking by amount.

    Returns
    -------
    polars.DataFrame
        recall, precision, low, high, largest_amount, random Float64: `POINTS` rows of equally spaced recall.

    Examples
    --------
    >>> scored = pl.DataFrame({"score": [0.9, 0.5, 0.1], "alert": [True, False, False],
    ...                        "is_fraud": [1, 0, 1], "amount": [5_000, 100, 100]})
    >>> curve = precision_recall(scored, EvaluateModelParams(replicates=20))
    >>> curve.select("recall", "precision").row(-1), curve["precision"][0]
    ((1.0, 0.6666666666666666), 1.0)
    """
    sample = ScoredArrays.from_frame(scored)
    recall = np.arange(1, POINTS + 1) / POINTS
    ends = corners(sample.score, sample.fraud)

    def precision(draw: Draw) -> FloatArray:
        return precision_at(Curve.from_sorted(ends, sample.fraud, draw.weight), recall)

    low, high = _bands(precision, sample, evaluate)
    return pl.DataFrame(
        {
            "recall": recall,
            "precision": precision_at(Curve.from_rows(sample.score, sample.fraud), recall),
            "low": low,
            "high": high,
            "largest_amount": precision_at(Curve.from_rows(sample.amount, sample.fraud), recall),
            "random": np.full(POINTS, sample.frauds / sample.rows),
        },
        nan_to_null=True,
    )


def precision_at(curve: Curve, recall: FloatArray) -> FloatArray:
    """Return the precision at which each recall is reached, shape (m,); NaN without a fraud.

    Examples
    --------
    >>> curve = Curve.from_rows(np.array([0.9, 0.8, 0.7]), np.array([1.0, 0.0, 1.0]))
    >>> precision_at(curve, np.array([0.5, 1.0])).round(3).tolist()
    [1.0, 0.667]
    """
    if not len(curve.frauds) or curve.frauds[-1] <= 0:
        return np.full(len(recall), np.nan)
    frauds, rows = (np.concatenate([[0.0], sums]) for sums in (curve.frauds, curve.rows))
    reached = np.minimum(np.ceil(np.round(recall * frauds[-1], 9)), frauds[-1])
    after = np.clip(np.searchsorted(frauds, reached), 1, len(frauds) - 1)
    before = after - 1
    needed = rows[before] + (reached - frauds[before]) / (frauds[after] - frauds[before]) * (rows[after] - rows[before])
    precision: FloatArray = reached / needed
    return precision


def workload_unit(scored: pl.DataFrame) -> str:
    """Return the unit of alerts: cards or transactions a day, or alerts per 1,000 transactions if there is no time."""
    if "ts" not in scored.columns:
        return "alerts per 1,000 transactions"
    return "cards a day" if "card_id" in scored.columns else "transactions a day"


def workload(scored: pl.DataFrame, evaluate: EvaluateModelParams, *, marks: Sequence[float]) -> pl.DataFrame:
    """Compute the frauds and the money caught for each number of alerts a day.

    One threshold applies to all days, so the number of alerts is a daily average. Alerts are counted over all scored rows
    except refunds, and catches over the evaluated rows.

    Parameters
    ----------
    marks
        Numbers of alerts, in `workload_unit`, that the table includes; the largest ends it.

    Returns
    -------
    polars.DataFrame
        alerts, threshold, frauds, frauds_low, frauds_high, frauds_largest_amount, money, money_low,
        money_high, money_largest_amount Float64; the `largest_amount` columns are for alerts on the largest amounts.

    Examples
    --------
    >>> scored = pl.DataFrame({"score": [0.9, 0.5, 0.1, 0.0], "alert": [True, False, False, False],
    ...                        "is_fraud": [1, 0, 1, 0], "amount": [300, 500, 100, 50]})
    >>> workload(scored, EvaluateModelParams(replicates=20), marks=[250]).filter(alerts=250).select("frauds", "money").row(0)
    (0.5, 0.75)
    """
    sample = ScoredArrays.from_frame(scored)
    rows = scored.filter(pl.col("status").ne_missing(REFUND)) if "status" in scored.columns else scored
    alerts = _grid(rows, marks)
    frauds = np.flatnonzero(sample.fraud)
    columns: dict[str, FloatArray] = {"alerts": alerts, "threshold": _thresholds(rows, "score", alerts)}
    edge, largest = columns["threshold"], _thresholds(rows, "amount", alerts)
    for name, worth in (("frauds", np.ones(len(frauds))), ("money", sample.amount[frauds])):
        score, amount = sample.score[frauds], sample.amount[frauds]

        def caught(draw: Draw, score: FloatArray = score, worth: FloatArray = worth) -> FloatArray:
            return _share_above(score, worth * draw.weight[frauds], edge)

        low, high = _bands(caught, sample, evaluate)
        columns |= {
            name: _share_above(score, worth, edge),
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_largest_amount": _share_above(amount, worth, largest),
        }
    return pl.DataFrame(columns, nan_to_null=True)


def _periods(rows: pl.DataFrame) -> float:
    """Return the number of days, or of thousands of rows if there is no time."""
    return float(rows["ts"].dt.date().n_unique()) if "ts" in rows.columns else rows.height / 1_000


def _claims(rows: pl.DataFrame, by: str) -> FloatArray:
    """Return the highest score of each card and day, or of each row if there are no cards, in descending order."""
    keys = [pl.col("ts").dt.date(), pl.col("card_id")] if {"ts", "card_id"} <= set(rows.columns) else []
    best = rows.group_by(keys).agg(pl.col(by).max())[by] if keys else rows[by]
    return best.cast(pl.Float64).sort(descending=True).to_numpy()


def _grid(rows: pl.DataFrame, marks: Sequence[float]) -> FloatArray:
    most = min(max(marks), len(_claims(rows, "score")) / _periods(rows))
    even = np.linspace(most / 100, most, 100)
    return np.unique(np.append(even, [mark for mark in marks if mark <= most]))


def _thresholds(rows: pl.DataFrame, by: str, alerts: FloatArray) -> FloatArray:
    """Return the lowest threshold that gives at most each number of alerts a day; infinity if there is none."""
    claims = _claims(rows, by)
    last = np.append(np.flatnonzero(np.diff(claims)), len(claims) - 1)
    fit = np.searchsorted(last + 1, np.floor(alerts * _periods(rows) + 1e-9), side="right")
    edges: FloatArray = np.append(np.inf, claims[last])[fit]
    return edges


def _share_above(score: FloatArray, worth: FloatArray, edges: FloatArray) -> FloatArray:
    order = np.argsort(-score, kind="stable")
    so_far = np.append(0.0, np.cumsum(worth[order]))
    above = np.searchsorted(-score[order], -edges, side="right")
    return so_far[above] / so_far[-1] if so_far[-1] > 0 else np.full(len(edges), np.nan)


def calibration(scored: pl.DataFrame) -> pl.DataFrame:
    """Compare scores with the observed fraud rate, in bins.

    Bins have equally many predicted frauds: with equally many rows, nearly every fraud would be in the last bin. There are
    `BINS` bins, or fewer if there are few frauds.

    Returns
    -------
    polars.DataFrame
        rows, frauds Int64, score (mean), observed, low, high Float64, lowest scores first;
        low and high are Wilson's 95 % interval, assuming independent rows. Empty if there are too few
        frauds for two bins of `FEWEST_EXPECTED`.

    References
    ----------
    Wilson. Probable inference, the law of succession, and statistical inference. Journal of the
    American Statistical Association, 1927.

    Examples
    --------
    >>> scored = pl.DataFrame({"score": [0.9] * 20 + [0.1] * 90, "alert": False,
    ...                        "is_fraud": ([1] * 9 + [0]) * 2 + ([0] * 8 + [1]) * 10, "amount": 100})
    >>> calibration(scored).select("rows", "frauds", pl.col("observed").round(3)).rows()
    [(90, 10, 0.111), (20, 18, 0.9)]
    """
    sample = ScoredArrays.from_frame(scored)
    bins = min(BINS, int(min(sample.frauds, sample.score.sum()) // FEWEST_EXPECTED))
    ordered = pl.DataFrame({"score": sample.score, "fraud": sample.fraud.astype(np.int64)}).reverse()
    before = (pl.col("score").cum_sum() - pl.col("score")) / pl.col("score").sum()
    table = (
        ordered.with_columns(bin=(before * max(bins, 1)).floor())
        .with_columns(pl.col("bin").first().over("score"))  # equal scores stay together
        .group_by("bin", maintain_order=True)
        .agg(rows=pl.len().cast(pl.Int64), frauds=pl.col("fraud").sum(), score=pl.col("score").mean())
        .drop("bin")
        .with_columns(observed=pl.col("frauds") / pl.col("rows"))
    )
    low, high = wilson(table["frauds"].to_numpy(), table["rows"].to_numpy())
    return table.with_columns(low=low, high=high).head(table.height if bins >= 2 else 0)


def wilson(part: FloatArray, whole: FloatArray) -> tuple[pl.Series, pl.Series]:
    """Return Wilson's 95 % interval of shares; null if the denominator is 0.

    Examples
    --------
    >>> low, high = wilson(np.array([0.0, 5.0, 0.0]), np.array([10.0, 10.0, 0.0]))
    >>> low.round(3).to_list(), high.round(3).to_list()
    ([0.0, 0.237, None], [0.278, 0.763, None])
    """
    z = 1.959963984540054
    n = np.where(whole > 0, whole, np.nan)
    rate = part / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    ends = (np.clip(middle - half, 0.0, rate), np.clip(middle + half, rate, 1.0))
    return pl.Series(ends[0], nan_to_null=True), pl.Series(ends[1], nan_to_null=True)


def distribution(scored: pl.DataFrame, bins: int = 40) -> pl.DataFrame:
    """Count frauds and legitimate rows by score, in bins of equal width in log-odds.

    Returns
    -------
    polars.DataFrame
        score_from, score_to Float64; frauds, legitimate Int64; frauds_share, legitimate_share
        Float64, shares of all frauds and of all legitimate rows.

    Examples
    --------
    >>> scored = pl.DataFrame({"score": [0.9, 0.1, 0.1], "alert": False, "is_fraud": [1, 0, 0], "amount": 100})
    >>> distribution(scored, bins=2).select("frauds", "legitimate_share").rows()
    [(0, 1.0), (1, 0.0)]
    """
    sample = ScoredArrays.from_frame(scored)
    odds = log_odds(sample.score)
    first, last = float(odds.min()), float(odds.max())
    edges = np.linspace(first, last if last > first else first + 1, bins + 1)
    counts = {
        name: np.histogram(odds[sample.fraud == which], edges)[0] for name, which in (("frauds", 1), ("legitimate", 0))
    }
    shares = {f"{name}_share": count / max(int(count.sum()), 1) for name, count in counts.items()}
    score = 1 / (1 + np.exp(-edges))
    return pl.DataFrame({"score_from": score[:-1], "score_to": score[1:], **counts, **shares})


def _bands(
    statistics: Callable[[Draw], FloatArray], sample: ScoredArrays, evaluate: EvaluateModelParams
) -> tuple[FloatArray, FloatArray]:
    """Return the 95 % interval of each entry of an array; NaN if there is none."""
    intervals = bootstrap(
        lambda draw: {str(index): value for index, value in enumerate(statistics(draw).tolist())},
        sample.keys,
        sample.rows,
        replicates=evaluate.replicates,
        seed=evaluate.seed,
    )
    size = len(statistics(Draw("row", np.ones(sample.rows), np.ones(sample.rows))))
    ends = [intervals.get(str(index)) for index in range(size)]
    low = np.array([interval.low if interval else np.nan for interval in ends])
    return low, np.array([interval.high if interval else np.nan for interval in ends])
