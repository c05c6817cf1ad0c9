"""Which features a model leans on: what it loses when one says nothing of its row.

References
----------
Breiman. Random forests. Machine Learning 45, 2001.
Fisher, Rudin, Dominici. All models are wrong, but many are useful. Journal of Machine Learning
Research 20, 2019.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from fraud3000.metrics.ranking import Curve, corners
from fraud3000.models.encoder import Floats
from fraud3000.models.fit import Labels, Model

MOST_LEGITIMATE = 10_000
SHUFFLES = 3


def permutation(
    model: Model, featured: pl.DataFrame, is_fraud: Labels, *, seed: int, most_legitimate: int = MOST_LEGITIMATE
) -> pl.DataFrame:
    """Measure by how much the average precision falls when a feature has the values of other rows.

    All frauds take part, and of the legitimate rows a seeded draw that stands for all of them, so
    the average precision is that of all rows, and values are drawn as they occur in all rows. Features that say the same share their weight: a
    drop near 0 may mean that another feature says it too. Calibration changes no order and is left out.

    Parameters
    ----------
    featured
        FEATURED, rows with known labels.
    is_fraud
        0 or 1 for each row.
    most_legitimate
        How many legitimate rows take part.

    Returns
    -------
    polars.DataFrame
        feature String; drop, low, high Float64 (mean, least and most of `SHUFFLES` shuffles), the largest
        drop first. Empty without a fraud.
    """
    rows, weight = _drawn(is_fraud, most_legitimate, seed)
    fraud = is_fraud[rows].astype(np.float64)
    if not fraud.any():
        return pl.DataFrame(schema={"feature": pl.String, "drop": pl.Float64, "low": pl.Float64, "high": pl.Float64})
    matrix = model.encoder.matrix(featured[rows])
    whole = _average_precision(model.log_odds_of(matrix), fraud, weight)
    drops = {
        name: whole - _shuffled(model, matrix, place, fraud, weight, seed)
        for place, name in enumerate(model.encoder.columns)
    }
    table = {"feature": list(drops), "drop": [d.mean() for d in drops.values()]}
    ends = {"low": [d.min() for d in drops.values()], "high": [d.max() for d in drops.values()]}
    return pl.DataFrame({**table, **ends}).sort("drop", "feature", descending=[True, False])


def _drawn(is_fraud: Labels, most: int, seed: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Floats]:
    legitimate = np.flatnonzero(is_fraud == 0)
    source = np.random.default_rng([seed, len(legitimate)])
    some = source.choice(legitimate, most, replace=False) if len(legitimate) > most else legitimate
    rows = np.sort(np.concatenate([np.flatnonzero(is_fraud == 1), some]))
    return rows, np.where(is_fraud[rows] == 1, 1.0, len(legitimate) / max(len(some), 1))


def _shuffled(model: Model, matrix: Floats, place: int, fraud: Floats, weight: Floats, seed: int) -> Floats:
    """Average precision with one column drawn anew, once for each shuffle; ndarray of shape (SHUFFLES,)."""
    source, changed = np.random.default_rng([seed, place]), matrix.copy()
    found = np.empty(SHUFFLES)
    for turn in range(SHUFFLES):
        changed[:, place] = source.choice(matrix[:, place], len(matrix), p=weight / weight.sum())
        found[turn] = _average_precision(model.log_odds_of(changed), fraud, weight)
    return found


def _average_precision(score: Floats, fraud: Floats, weight: Floats) -> float:
    order = np.argsort(-score, kind="stable")
    ends = corners(score[order], fraud[order])
    return Curve.sorted(ends, fraud[order], weight[order]).average_precision()
