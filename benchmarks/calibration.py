"""Compare calibration methods on later weeks: the Handbook's simulated data, the four weeks from 2018-07-04.

Each fold is fitted once, and calibrated by each method on a week before its training. `none` is the model's own
probability, corrected for under-sampling. Means over the four weeks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

from fraud3000 import params as params_files
from fraud3000.evaluation import rolling_backtest
from fraud3000.evaluation.rolling_backtest import FittedFold
from fraud3000.models.inference import calibrate
from fraud3000.models.training import cross_fit
from fraud3000.params import Params
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.shared.backtest_folds import BacktestData, FoldRows, score_test
from fraud3000.stages.shared.workspace import Workspace

ROWS = {
    "boosting": "the default learner",
    "extra_trees": "the learner of params/handbook-p2.yaml, under-sampled",
}
METHODS = ("none", "platt", "beta", "isotonic")
MEASURES = {
    "calibration_slope": "slope",
    "calibration_intercept": "intercept",
    "observed_over_expected_frauds_top_0.01": "observed_over_expected_in_top_1_percent",
    "brier_skill": "brier_skill",
    "average_precision": "average_precision",
    "card_precision_at_100": "card_precision_at_100",
}
_FILE = Path(__file__).parent.parent / "params" / "handbook-p2.yaml"

Figures = dict[str, dict[str, Any]]


def measure(wanted: str | None) -> Figures:
    """Compute the features, then fit, calibrate and evaluate each fold."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as place, chdir(place):
        prepare(_params("extra_trees"))
        featurize(_params("extra_trees"))
        return {
            f"{learner}_{method}": figures
            for learner in ROWS
            if wanted in (None, learner)
            for method, figures in _by_method(_params(learner)).items()
        }


def _params(learner: str) -> Params:
    content = params_files.load(_FILE).model_dump(mode="json", exclude_unset=True)
    content["backtest"] |= {"first": "2018-07-04", "valid": "7d"}
    return params_files.parse({**content, "train": content["train"] if learner == "extra_trees" else {}})


def _by_method(params: Params) -> Figures:
    ground = BacktestData.read(Workspace.from_params(params), params)
    folds = [_fold(FoldRows(ground, fold), params) for fold in ground.plan()]
    return {
        method: {
            said: round(float(np.mean([one[method][name]["value"] for one in folds])), 4)
            for name, said in MEASURES.items()
        }
        for method in METHODS
    }


def _fold(rows: FoldRows, params: Params) -> dict[str, dict[str, Any]]:
    ground, fold, valid = rows.data, rows.fold, rows.valid
    assert valid is not None
    learnt = rolling_backtest.fit_fold(
        fold, rows.train, None, ground.catalogue, ground.split.burn_in, params.train, params.policy
    )
    found = {}
    for method in METHODS:
        told = params.train.model_copy(update={"calibration": "platt" if method == "none" else method})
        settled = cross_fit.calibrate_and_set_threshold(
            learnt.model,
            rows.train,
            valid,
            ground.catalogue,
            fold.boundaries(ground.split.burn_in),
            told,
            params.policy,
        )
        if method == "none":
            settled = cross_fit.CrossFitResult(
                calibrate.Platt(1.0, 0.0), settled.threshold, "", settled.threshold_on, settled.log_odds
            )
        scored = score_test(rows.test, FittedFold(learnt.model, settled))
        found[method] = rolling_backtest.measure_fold(scored, params.policy, params.evaluate, decided=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
