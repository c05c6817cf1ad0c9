"""How far a metric could lie off: intervals by a clustered bootstrap.

Transactions of one card, or at one terminal, stand or fall together, so whole cards and whole
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
"""With fewer cards or terminals than this, drawing among them says little: the key is not used."""
COVERAGE = 0.95
FEWEST_FINITE = 0.8
"""The least share of replicates that must have a value; below it there is no interval."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One bootstrap replicate: what was drawn (``card``, ``terminal``, ``row``) and how often.

    Attributes
    ----------
    copies
        By code of the cluster.
    weight
        By row, shape (n,).
    """

    by: str
    copies: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class Interval:
    """A percentile interval and the cluster that it was drawn by."""

    low: float
    high: float
    by: str

    @property
    def width(self) -> float:
        return self.high - self.low


Statistics = Callable[[Draw], Mapping[str, float]]


def draws(clusters: Mapping[str, IntArray], rows: int, *, replicates: int, seed: int) -> Iterator[Draw]:
    """Draw clusters with replacement, as many as there are, replicate by replicate.

    Parameters
    ----------
    clusters
        Codes by row, shape (n,), for each key; of a key with fewer than `FEWEST_CLUSTERS` clusters
        nothing is drawn. Where no key is left, rows are drawn.
    rows
        Number of rows.
    seed
        The same seed gives the same draws, for each key whatever other keys there are.
    """
    codes = usable_keys(clusters, rows)
    for by, copies in draw_clusters(codes, replicates=replicates, seed=seed):
        yield Draw(by, copies, copies[codes[by]])


def draw_clusters(codes: Mapping[str, IntArray], *, replicates: int, seed: int) -> Iterator[tuple[str, FloatArray]]:
    """Draw clusters as `draws` does, of keys that are known to have enough; how often each was drawn, by its code."""
    for by, code in codes.items():
        size = int(code.max(initial=-1)) + 1
        source = np.random.default_rng([seed, *by.encode()])
        for _ in range(replicates):
            yield by, np.bincount(source.integers(size, size=size), minlength=size).astype(np.float64)


def usable_keys(clusters: Mapping[str, IntArray], rows: int) -> dict[str, IntArray]:
    """Give the keys with enough clusters to draw from; else the rows themselves."""
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
    """Give each metric's 95 % interval, the widest over the keys.

    Parameters
    ----------
    statistics
        Takes a draw, gives each metric by name; NaN where the draw does not determine it.
    clusters, rows, seed
        As for `draws`.
    replicates
        Draws for each key.
    centres
        By metric and key: a share whose replicates lie off the value by design, and the value. Their
        spread is kept and their median moved to the value, within 0 to 1.

    Returns
    -------
    Intervals by name. A metric that most draws do not determine has none.

    Examples
    --------
    >>> fraud = np.array([0.0, 1.0] * 50)
    >>> rate = lambda draw: {"rate": float(draw.weight @ fraud / draw.weight.sum())}
    >>> found = bootstrap(rate, {}, 100, replicates=200, seed=1)["rate"]
    >>> found.by, 0.35 < found.low < 0.45, 0.55 < found.high < 0.65
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
