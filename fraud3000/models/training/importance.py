"""Which features a model leans on: what it loses when one says nothing of its row.

References
----------
Breiman. Random forests. Machine Learning 45, 2001.
Fisher, Rudin, Dominici. All models are wrong, but many are useful. Journal of Machine Learning
Research 20, 2019.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud3000.metrics.ranking import Curve, corners
from fraud3000.models.inference.encoder import Floats
from fraud3000.models.training.fit import Labels, Model

Ints = npt.NDArray[np.int64]

MOST_FRAUDS, HIGHEST, MOST_OTHERS = 1_000, 800, 1_200
"""Rows that take part: frauds, the legitimate rows with the highest scores, a draw of the others."""
DRAWS = 2


def permutation_importance(
    model: Model, featured: pl.DataFrame, is_fraud: Labels, score: Floats, *, seed: int
) -> pl.DataFrame:
    """Measure by how much the average precision falls when a feature has the values of other rows.

    A few thousand rows stand for all, each with the weight of those that it stands for: the
    legitimate rows that score highest, since average precision hangs on them, and seeded draws of the frauds and
    of the other legitimate rows. Values are drawn as they occur in all rows. Features that say the
    same share their weight: a fall near 0 may mean that another feature says it too. Calibration
    changes no order and is left out.

    Parameters
    ----------
    featured
        FEATURED, rows with known labels.
    is_fraud
        0 or 1 for each row.
    score
        The model's scores of these rows, shape (n,).

    Returns
    -------
    polars.DataFrame
        feature String; fall, low, high Float64 (mean, least and most of `DRAWS` draws), the largest
        fall first. Empty without a fraud.
    """
    rows, weight = _drawn(is_fraud, score, seed)
    fraud = is_fraud[rows].astype(np.float64)
    if not fraud.any():
        return pl.DataFrame(schema={"feature": pl.String, "fall": pl.Float64, "low": pl.Float64, "high": pl.Float64})
    matrix = model.encoder.matrix(featured[rows])
    whole = _average_precision(model.log_odds_of(matrix), fraud, weight)
    falls = {
        name: whole - _without(model, matrix, place, fraud, weight, seed)
        for place, name in enumerate(model.encoder.columns)
    }
    table = {"feature": list(falls), "fall": [float(f.mean()) for f in falls.values()]}
    ends = {"low": [float(f.min()) for f in falls.values()], "high": [float(f.max()) for f in falls.values()]}
    return pl.DataFrame({**table, **ends}).sort("fall", "feature", descending=[True, False])


def _drawn(is_fraud: Labels, score: Floats, seed: int) -> tuple[Ints, Floats]:
    """Give the rows that take part, and how many rows each stands for."""
    source = np.random.default_rng([seed, len(is_fraud)])
    legitimate = np.flatnonzero(is_fraud == 0)
    falling = legitimate[np.argsort(-score[legitimate], kind="stable")]
    groups = (
        (np.flatnonzero(is_fraud == 1), MOST_FRAUDS),
        (falling[:HIGHEST], HIGHEST),
        (falling[HIGHEST:], MOST_OTHERS),
    )
    taken = [source.choice(rows, most, replace=False) if len(rows) > most else rows for rows, most in groups]
    weight = [np.full(len(some), len(rows) / max(len(some), 1)) for some, (rows, _) in zip(taken, groups, strict=True)]
    return np.concatenate(taken), np.concatenate(weight)


def _without(model: Model, matrix: Floats, place: int, fraud: Floats, weight: Floats, seed: int) -> Floats:
    """Average precision with one column drawn anew, once for each draw; ndarray of shape (DRAWS,)."""
    source, changed = np.random.default_rng([seed, place]), matrix.copy()
    found = np.empty(DRAWS)
    for turn in range(DRAWS):
        changed[:, place] = source.choice(matrix[:, place], len(matrix), p=weight / weight.sum())
        found[turn] = _average_precision(model.log_odds_of(changed), fraud, weight)
    return found


def _average_precision(score: Floats, fraud: Floats, weight: Floats) -> float:
    order = np.argsort(-score, kind="stable")
    ends = corners(score[order], fraud[order])
    return Curve.from_sorted(ends, fraud[order], weight[order]).average_precision()
