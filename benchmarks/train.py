"""Time of training compared with the bare fit of the same estimator on the same matrix: simulated data, after imports and migrations."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import chdir
from typing import Any

import numpy as np
import polars as pl

from fraud3000 import params as params_files
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.training import estimators
from fraud3000.models.training.training_rows import select_rows
from fraud3000.params import Params, TrainModelParams
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.shared.workspace import Workspace
from fraud3000.stages.simulate import simulate
from fraud3000.stages.train import train

ROWS = {
    "boosting": "train, from reading the features to the registered challenger, over a bare fit of at least 60 s",
    "extra_trees": "the same of a learner that draws by chance, so that three fits of a part tell the deviation between seeds",
}
_WORLD: dict[str, Any] = {"simulate": {"rows": 1_000_000, "days": 240, "cards": 8_000, "terminals": 4_000}}
_LEARNERS: dict[str, dict[str, Any]] = {
    "boosting": {"estimator_params": {"max_iter": 900, "max_leaf_nodes": 31}},
    "extra_trees": {
        "estimator": "extra_trees",
        "estimator_params": {"n_estimators": 100, "max_features": 0.3, "min_samples_leaf": 4},
    },
}
_SHORT = {"estimator_params": {"max_iter": 2}}

Figures = dict[str, dict[str, float]]


def measure(wanted: str | None) -> Figures:
    """Simulate data, fit the bare estimator, then train as the command does."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as place, chdir(place):
        for stage in (simulate, prepare, featurize):
            stage(_params(_SHORT))
        train(_params(_SHORT))  # runs imports, migrations of the registry, and compilation first
        matrix, labels, encoder = _fitted_on(_params(_SHORT))
        return {
            f"train_overhead_{name}": _overhead(_params(learner), matrix, labels, encoder)
            for name, learner in _LEARNERS.items()
            if wanted in {None, name}
        }


def _overhead(params: Params, matrix: Floats, labels: np.ndarray[Any, Any], encoder: Encoder) -> dict[str, float]:
    bare = _seconds(lambda: _bare(params.train, matrix, labels, encoder))
    whole = _seconds(lambda: train(params))
    return {
        "rows": len(labels),
        "columns": matrix.shape[1],
        "bare_fit_s": round(bare, 1),
        "bare_fit_at_least_s": 60,
        "train_s": round(whole, 1),
        "times_the_bare_fit": round(whole / bare, 2),
        "at_most_times": 1.3,
    }


def _params(learner: dict[str, Any]) -> Params:
    return params_files.parse({**_WORLD, "train": learner})


def _fitted_on(params: Params) -> tuple[Floats, Any, Encoder]:
    workspace = Workspace.from_params(params)
    catalogue = Catalogue.from_dict(json.loads(workspace.catalogue.read_bytes()))
    boundaries = Boundaries.from_dict(json.loads(workspace.boundaries.read_bytes()))
    split, ledger = pl.read_parquet(workspace.split("train")), pl.read_parquet(workspace.labels)
    rows, labels = select_rows(split, ledger, catalogue, boundaries, burn_in=True).known
    encoder = Encoder.learn(rows, catalogue.features)
    return encoder.matrix(rows), labels, encoder


def _bare(told: TrainModelParams, matrix: Floats, labels: np.ndarray[Any, Any], encoder: Encoder) -> None:
    pipeline = estimators.build(told.estimator, told.estimator_params, encoder, seed=told.seed)
    if isinstance(pipeline[-1], estimators.FORESTS):
        pipeline[-1].set_params(n_jobs=2)  # as in training; boosting uses both cores by default
    pipeline.fit(matrix, labels)


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
