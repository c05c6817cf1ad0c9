"""Deployed tree models compared with the original estimators: one row, and many; random numbers, all cores.

A scikit-learn forest sums its trees in any order when it uses several cores; ours does not.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
from scipy.special import logit
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier

from fraud3000.models.inference import trees
from fraud3000.models.training import tree_import

ROWS = {
    "boosting": "scikit-learn's histogram gradient boosting, 200 trees of 31 leaves",
    "random_forest": "scikit-learn's random forest, 200 trees of depth 16",
    "extra_trees": "scikit-learn's extra trees, 200 of depth 16",
    "lightgbm": "LightGBM, 200 trees of 31 leaves",
}
_MADE: dict[str, Callable[[], Any]] = {
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=31, early_stopping=False),
    "random_forest": lambda: RandomForestClassifier(200, max_depth=16, min_samples_leaf=10, n_jobs=2, random_state=1),
    "extra_trees": lambda: ExtraTreesClassifier(200, max_depth=16, min_samples_leaf=10, n_jobs=2, random_state=1),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=200, num_leaves=31, n_jobs=2, verbosity=-1),
}
_SIZE, _COLUMNS, _TURNS = 100_000, 57, 5

Figures = dict[str, dict[str, float]]


def measure(wanted: str | None) -> Figures:
    """Fit on random numbers with missing values, and predict them."""
    source = np.random.default_rng(1)
    matrix = source.normal(size=(_SIZE, _COLUMNS))
    matrix[source.random(matrix.shape) < 0.05] = np.nan
    there = np.nan_to_num(matrix)
    labels = there[:, 0] + there[:, 1] * there[:, 2] + source.normal(size=_SIZE) > 3
    return {f"predict_{name}": _row(name, matrix, labels) for name in ROWS if wanted in (None, name)}


def _row(name: str, matrix: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> dict[str, float]:
    estimator = _MADE[name]().fit(matrix, labels)
    made, own = tree_import.from_estimator(estimator), _own(estimator)
    difference = float(np.abs(made.log_odds(matrix) - own(matrix)).max())
    ours, theirs = _in_turns(made.log_odds, own, matrix)
    one, one_theirs = _in_turns(made.log_odds, own, matrix[:1], repeat=200)
    return {
        "largest_difference": difference,
        "at_most_difference": trees.AGREE,
        "rows_a_second": round(_SIZE / ours),
        "times_the_estimators_rate": round(theirs / ours, 2),
        "at_least": 1.5,
        "one_row_us": round(1e6 * one, 1),
        "one_row_at_most_us": 100,
        "one_row_by_the_estimator_us": round(1e6 * one_theirs, 1),
    }


def _own(estimator: Any) -> Callable[[np.ndarray[Any, Any]], Any]:
    if isinstance(estimator, HistGradientBoostingClassifier):
        return estimator.decision_function  # type: ignore[no-any-return]
    if isinstance(estimator, lightgbm.LGBMClassifier):
        return lambda rows: estimator.booster_.predict(rows, raw_score=True)
    return lambda rows: logit(trees.SQUEEZE + (1 - 2 * trees.SQUEEZE) * estimator.predict_proba(rows)[:, 1])


def _in_turns(ours: Any, theirs: Any, rows: np.ndarray[Any, Any], repeat: int = 1) -> tuple[float, float]:
    """Return the median seconds of one call of each, run alternately."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TURNS):
        for predict, kept in zip((ours, theirs), seconds, strict=True):
            begin = time.perf_counter()
            for _ in range(repeat):
                predict(rows)
            kept.append((time.perf_counter() - begin) / repeat)
    return float(np.median(seconds[0])), float(np.median(seconds[1]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
