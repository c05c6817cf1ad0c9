"""Confidence intervals of metrics by a cluster bootstrap.

Transactions of one card, or at one terminal, are correlated, so whole cards and whole
terminals are drawn with replacement. Rows are never copied: a replicate is an array of weights.

References
----------
Field, Welsh. Bootstrapping clustered data. Journal of the Royal Statistical Society B, 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fraud3000.metrics.scored_arrays import FloatArray, IntArray

FEWEST_CLUSTERS = 20
"""A key with fewer cards or terminals than this is not used for drawing."""
COVERAGE = 0.95
FEWEST_FINITE = 0.8
"""Least share of replicates with a value that an interval requires."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One bootstrap replicate: the cluster key (``card``, ``terminal``, ``row``) and the number of copies.

    Attributes
    ----------
    copies
        Copies by code of the cluster.
    weight
        Copies by row, shape (n,).
    """

    by: str
    copies: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class Interval:
    """A percentile interval and the cluster key that it was drawn by."""

    low: float
    high: float
    by: str

    @property
    def width(self) -> float:
        return self.high - self.low


Statistics = Callable[[Draw], Mapping[str, float]]


def draws(clusters: Mapping[str, IntArray], rows: int, *, replicates: int, seed: int) -> Iterator[Draw]:
    """Yield bootstrap replicates: as many clusters as there are, drawn with replacement.

    Parameters
    ----------
    clusters
        Codes by row, shape (n,), for each key; a key with fewer than `FEWEST_CLUSTERS` clusters
        is not used. If no key is left, rows are drawn.
    rows
        Number of rows.
    seed
        The same seed gives the same draws for a key, whatever the other keys.
    """
    codes = usable_keys(clusters, rows)
    for by, copies in draw_clusters(codes, replicates=replicates, seed=seed):
        yield Draw(by, copies, copies[codes[by]])


def draw_clusters(codes: Mapping[str, IntArray], *, replicates: int, seed: int) -> Iterator[tuple[str, FloatArray]]:
    """Draw clusters as `draws` does, without checking their number; yield the key and the copies by code."""
    for by, code in codes.items():
        size = int(code.max(initial=-1)) + 1
        source = np.random.default_rng([seed, *by.encode()])
        for _ in range(replicates):
            yield by, np.bincount(source.integers(size, size=size), minlength=size).astype(np.float64)


def usable_keys(clusters: Mapping[str, IntArray], rows: int) -> dict[str, IntArray]:
    """Return the keys with enough clusters to draw from, or the rows as clusters if there are none."""
    enough = {by: code for by, code in clusters.items() if int(code.max(initial=-1)) + 1 >= FEWEST_CLUSTERS}
    return enough or {"row": np.arange(rows)}


def bootstrap(
    statistics: Statistics,
    clusters: Mapping[str, IntArray],
    rows: int,
    *,
    replicates: int,
    seed: int,
    centres: Mapping[tuple[str, str], float] | None = None,
) -> dict[str, Interval]:
    """Return each metric's 95 % interval, the widest over the keys.

    Parameters
    ----------
    statistics
        Returns each metric by name for a draw; NaN if the draw does not determine it.
    clusters, rows, seed
        As for `draws`.
    replicates
        Draws for each key.
    centres
        By metric and key: the value of a share whose replicates are biased by design. The interval is
        shifted so that their median equals the value, within 0 to 1.

    Returns
    -------
    Intervals by name; none for a metric that too few draws determine.

    Examples
    --------
    >>> fraud = np.array([0.0, 1.0] * 50)
    >>> rate = lambda draw: {"rate": float(draw.weight @ fraud / draw.weight.sum())}
    >>> interval = bootstrap(rate, {}, 100, replicates=200, seed=1)["rate"]
    >>> interval.by, 0.35 < interval.low < 0.45, 0.55 < interval.high < 0.65
    ('row', True, True)
    """
    values: dict[tuple[str, str], list[float]] = {}
    for draw in draws(clusters, rows, replicates=replicates, seed=seed) if rows else ():
        for name, value in statistics(draw).items():
            values.setdefault((name, draw.by), []).append(value)
    widest: dict[str, Interval] = {}
    for (name, by), drawn in values.items():
        interval = _percentiles(np.array(drawn), by, (centres or {}).get((name, by)))
        if interval is not None and (name not in widest or interval.width > widest[name].width):
            widest[name] = interval
    return widest


def _percentiles(drawn: FloatArray, by: str, centre: float | None) -> Interval | None:
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or len(finite) < FEWEST_FINITE * len(drawn):
        return None
    low, middle, high = np.quantile(finite, [(1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2])
    if centre is not None:
        low, high = np.clip([low + centre - middle, high + centre - middle], 0.0, 1.0)
    return Interval(float(low), float(high), by)
