"""Permutation importance of features: the fall of average precision when a feature is shuffled.

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
from fraud3000.models.inference.model import Model
from fraud3000.models.training.fit import Labels

Ints = npt.NDArray[np.int64]

MOST_FRAUDS, HIGHEST, MOST_OTHERS = 1_000, 800, 1_200
"""Largest numbers of rows measured: frauds, legitimate rows with the highest scores, a sample of the others."""
DRAWS = 2


def permutation_importance(
    model: Model, featured: pl.DataFrame, is_fraud: Labels, score: Floats, *, seed: int
) -> pl.DataFrame:
    """Measure by how much average precision falls when a feature takes the values of other rows.

    A few thousand weighted rows represent all rows: the legitimate rows with the highest scores, on which
    average precision depends most, and seeded samples of the frauds and of the other legitimate rows.
    Values are drawn from their distribution over all rows. Redundant features share their importance: a
    fall near 0 may mean that another feature carries the same information. Calibration is left out because it
    does not change the ranking.

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
        feature String; fall, low, high Float64 (mean, minimum and maximum of `DRAWS` draws), the
        largest fall first. Empty if there is no fraud.
    """
    rows, weight = _sample(is_fraud, score, seed)
    fraud = is_fraud[rows].astype(np.float64)
    if not fraud.any():
        return pl.DataFrame(schema={"feature": pl.String, "fall": pl.Float64, "low": pl.Float64, "high": pl.Float64})
    matrix = model.encoder.matrix(featured[rows])
    unshuffled = _average_precision(model.log_odds_of(matrix), fraud, weight)
    falls = {
        name: unshuffled - _shuffled(model, matrix, index, fraud, weight, seed)
        for index, name in enumerate(model.encoder.columns)
    }
    table = {"feature": list(falls), "fall": [float(f.mean()) for f in falls.values()]}
    ends = {"low": [float(f.min()) for f in falls.values()], "high": [float(f.max()) for f in falls.values()]}
    return pl.DataFrame({**table, **ends}).sort("fall", "feature", descending=[True, False])


def _sample(is_fraud: Labels, score: Floats, seed: int) -> tuple[Ints, Floats]:
    """Return the sampled rows, and the weight of each: how many rows it represents."""
    source = np.random.default_rng([seed, len(is_fraud)])
    legitimate = np.flatnonzero(is_fraud == 0)
    falling = legitimate[np.argsort(-score[legitimate], kind="stable")]
    groups = (
        (np.flatnonzero(is_fraud == 1), MOST_FRAUDS),
        (falling[:HIGHEST], HIGHEST),
        (falling[HIGHEST:], MOST_OTHERS),
    )
    sampled = [source.choice(rows, most, replace=False) if len(rows) > most else rows for rows, most in groups]
    weight = [
        np.full(len(sample), len(rows) / max(len(sample), 1)) for sample, (rows, _) in zip(sampled, groups, strict=True)
    ]
    return np.concatenate(sampled), np.concatenate(weight)


def _shuffled(model: Model, matrix: Floats, index: int, fraud: Floats, weight: Floats, seed: int) -> Floats:
    """Return average precision with one column shuffled, for each draw; ndarray of shape (DRAWS,)."""
    source, changed = np.random.default_rng([seed, index]), matrix.copy()
    precision = np.empty(DRAWS)
    for turn in range(DRAWS):
        changed[:, index] = source.choice(matrix[:, index], len(matrix), p=weight / weight.sum())
        precision[turn] = _average_precision(model.log_odds_of(changed), fraud, weight)
    return precision


def _average_precision(score: Floats, fraud: Floats, weight: Floats) -> float:
    order = np.argsort(-score, kind="stable")
    ends = corners(score[order], fraud[order])
    return Curve.from_sorted(ends, fraud[order], weight[order]).average_precision()
