"""Paired cluster bootstrap of the difference in a metric between two models.

Both models scored the same rows, so the same draw of clusters weights the rows of both, and variation that
both share cancels in the difference. All replicates of a key are computed at once: rows of
one cluster between the same two frauds in the order of scores are summed, so average precision is
a product of a sparse matrix and the draws.

References
----------
Field, Welsh. Bootstrapping clustered data. Journal of the Royal Statistical Society B, 2007.
Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics, 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from fraud3000.errors import DataError
from fraud3000.metrics.cost import Costs, savings
from fraud3000.metrics.intervals import FEWEST_FINITE, Interval, draw_clusters, usable_keys
from fraud3000.metrics.scored_arrays import BoolArray, FloatArray, IntArray, ScoredArrays, counted
from fraud3000.params import PolicyParams

MEASURES = ("average_precision", "savings")
"""Metrics that can be compared."""
_CELLS = 4_000_000
"""Clusters times replicates that are held in memory at once."""


@dataclass(frozen=True, eq=False)
class PairedDifference:
    """A metric of two models on the same rows, and bootstrap draws of its difference.

    Attributes
    ----------
    challenger, champion
        The values; NaN if the rows do not determine them.
    draws
        By cluster key: challenger minus champion, for each replicate that determines both; None if
        too few do.
    """

    challenger: float
    champion: float
    draws: Mapping[str, FloatArray | None]

    @property
    def difference(self) -> float:
        return self.challenger - self.champion

    def interval(self, level: float) -> Interval | None:
        """Return one-sided bounds of this level each, by the cluster key with the lowest lower bound.

        Examples
        --------
        >>> draws = {"card": np.linspace(0, 1, 101), "terminal": np.linspace(-1, 2, 101)}
        >>> PairedDifference(0.9, 0.4, draws).interval(0.75)
        Interval(low=-0.25, high=1.25, by='terminal')
        """
        intervals: list[Interval] = []
        for by, values in self.draws.items():
            if values is not None:
                low, high = np.quantile(values, [1 - level, level]).tolist()
                intervals.append(Interval(low, high, by))
        complete = len(intervals) == len(self.draws) and np.isfinite(self.difference)
        return min(intervals, key=lambda interval: interval.low) if complete else None

    def p_value(self, margin: float) -> float | None:
        """Return the p-value of "the challenger is worse by no more than the margin", the largest over the cluster keys.

        Examples
        --------
        >>> PairedDifference(0.4, 0.6, {"card": np.linspace(-0.4, 0, 99)}).p_value(0.1)
        0.26
        """
        if not np.isfinite(self.difference) or any(values is None for values in self.draws.values()):
            return None
        shares = [(1 + int((v >= -margin).sum())) / (1 + len(v)) for v in self.draws.values() if v is not None]
        return max(shares)


def paired_bootstrap(
    challenger: pl.DataFrame,
    champion: pl.DataFrame,
    *,
    policy: PolicyParams,
    replicates: int,
    seed: int,
    segments: Mapping[str, pl.Series] | None = None,
) -> dict[str, PairedDifference]:
    """Compare two models on the rows that both scored.

    Parameters
    ----------
    challenger, champion
        SCORED frames of the same rows in the same order, with transaction_id String; otherwise as for `report.measure`.
    policy
        Costs in minor units.
    replicates
        Draws for each key; see `intervals.draws`.
    segments
        By name, which rows belong to the segment: Boolean, one per row of the frames.

    Returns
    -------
    The metrics of `MEASURES` over all rows, and by segment name the average precision within the segment.

    Raises
    ------
    DataError
        The rows or labels of the frames differ, or a score is null, NaN or infinite.

    Examples
    --------
    >>> scored = pl.DataFrame({"transaction_id": list("abcd"), "score": [0.9, 0.2, 0.6, 0.1], "amount": 4_000,
    ...                        "alert": [True, False, True, False], "is_fraud": [1, 0, 0, 1]})
    >>> better = scored.with_columns(score=pl.Series([0.9, 0.2, 0.6, 0.7]))
    >>> results = paired_bootstrap(better, scored, policy=PolicyParams(), replicates=100, seed=1)
    >>> results["average_precision"].difference, results["savings"].difference
    (0.25, 0.0)
    """
    _require_same(challenger, champion)
    sides = [
        _frame_order(ScoredArrays.from_frame(scored.drop("ts", "seq", strict=False)))
        for scored in (challenger, champion)
    ]
    known = counted(challenger)
    within = {name: mask.filter(known).to_numpy() for name, mask in (segments or {}).items()}
    keys = usable_keys(sides[0].keys, sides[0].rows)
    statistics = {key: _statistics(sides, within, policy, code) for key, code in keys.items()}
    differences: dict[str, dict[str, list[FloatArray]]] = {key: {} for key in keys}
    for key, copies in _blocks(keys, replicates, seed):
        for name, (ours, theirs) in statistics[key].items():
            differences[key].setdefault(name, []).append(ours(copies) - theirs(copies))
    first = next(iter(keys))
    once = np.ones((int(keys[first].max(initial=-1)) + 1, 1))
    compared = {}
    for name, (ours, theirs) in statistics[first].items():
        draws = {key: _finite_draws(differences[key].get(name, [])) for key in keys}
        compared[name] = PairedDifference(float(ours(once)[0]), float(theirs(once)[0]), draws)
    return compared


def holm(p_values: Mapping[str, float], level: float) -> tuple[str, ...]:
    """Return the hypotheses rejected by Holm's procedure, which bounds the probability of any false rejection.

    Examples
    --------
    >>> holm({"night": 0.03, "day": 0.001, "new cards": 0.02}, 0.05)
    ('day', 'new cards', 'night')
    >>> holm({"night": 0.03, "day": 0.04}, 0.05)
    ()
    """
    rejected: list[str] = []
    for index, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        if p_values[name] > level / (len(p_values) - index):
            break
        rejected.append(name)
    return tuple(rejected)


class _Statistic(Protocol):
    """A metric of one model for many draws at once."""

    def __call__(self, copies: FloatArray) -> FloatArray:
        """Return values, shape (replicates,), from the copies of each cluster, shape (clusters, replicates)."""


class _Ranking:
    """Average precision as in `ranking.Curve`; arrays of shape (n,)."""

    def __init__(self, score: FloatArray, fraud: FloatArray, code: IntArray, clusters: int) -> None:
        corners = np.unique(-score[fraud > 0])
        corner = np.searchsorted(corners, -score)
        counts = corner < len(corners)  # rows that score below every fraud do not matter
        self._rows, self._frauds = (
            csr_array((np.ones(int(some.sum())), (corner[some], code[some])), shape=(len(corners), clusters))
            for some in (counts, fraud > 0)
        )

    def __call__(self, copies: FloatArray) -> FloatArray:
        gained: FloatArray = self._frauds @ copies
        if not len(gained):
            return np.full(copies.shape[1], np.nan)
        frauds, rows = np.cumsum(gained, axis=0), np.cumsum(self._rows @ copies, axis=0)
        precision = np.divide(frauds, rows, out=np.zeros_like(rows), where=rows > 0)
        average = np.full(copies.shape[1], np.nan)
        np.divide((gained * precision).sum(axis=0), frauds[-1], out=average, where=frauds[-1] > 0)
        return average


class _Savings:
    """Savings as in `cost.savings`."""

    def __init__(self, sample: ScoredArrays, policy: PolicyParams, code: IntArray, clusters: int) -> None:
        costs = Costs.from_rows(sample.fraud, sample.amount, policy)
        columns = (costs.paid(sample.alert, sample.decline), costs.reviewed, costs.approved)
        self._sums = np.stack([np.bincount(code, column, minlength=clusters) for column in columns])

    def __call__(self, copies: FloatArray) -> FloatArray:
        return np.array([savings(*totals) for totals in (self._sums @ copies).T.tolist()])


def _statistics(
    sides: list[ScoredArrays], within: Mapping[str, BoolArray], policy: PolicyParams, code: IntArray
) -> dict[str, tuple[_Statistic, _Statistic]]:
    clusters = int(code.max(initial=-1)) + 1
    rankings = {"average_precision": np.ones(sides[0].rows, dtype=np.bool_), **within}
    challenger, champion = sides
    statistics: dict[str, tuple[_Statistic, _Statistic]] = {
        "savings": (_Savings(challenger, policy, code, clusters), _Savings(champion, policy, code, clusters))
    }
    for name, rows in rankings.items():
        statistics[name] = (_ranking(challenger, rows, code, clusters), _ranking(champion, rows, code, clusters))
    return statistics


def _ranking(side: ScoredArrays, rows: BoolArray, code: IntArray, clusters: int) -> _Ranking:
    return _Ranking(side.score[rows], side.fraud[rows], code[rows], clusters)


def _blocks(keys: Mapping[str, IntArray], replicates: int, seed: int) -> Iterator[tuple[str, FloatArray]]:
    """Yield blocks of draws of one key, as large as memory allows."""
    for key, code in keys.items():
        several = max(1, _CELLS // (int(code.max(initial=0)) + 1))
        copies = (draw for _, draw in draw_clusters({key: code}, replicates=replicates, seed=seed))
        while block := list(islice(copies, several)):
            yield key, np.stack(block, axis=1)


def _finite_draws(blocks: list[FloatArray]) -> FloatArray | None:
    values = np.concatenate(blocks) if blocks else np.empty(0)
    finite = values[np.isfinite(values)]
    return finite if len(finite) and len(finite) >= FEWEST_FINITE * len(values) else None


def _frame_order(sample: ScoredArrays) -> ScoredArrays:
    """Return the rows in the order of the frame."""
    order = np.argsort(sample.time_rank)
    columns = {name: column[order] for name, column in vars(sample).items() if isinstance(column, np.ndarray)}
    return replace(sample, **columns, keys={key: code[order] for key, code in sample.keys.items()})


def _require_same(challenger: pl.DataFrame, champion: pl.DataFrame) -> None:
    for name in ("transaction_id", "is_fraud", "amount", "status", "evaluated"):
        here, there = (scored[name] if name in scored.columns else pl.Series() for scored in (challenger, champion))
        if not here.equals(there):
            raise DataError(
                f"the two models: their scored rows differ in {name}",
                hint="Score the same rows by both, in the same order and with the same labels.",
            )
