"""Time of explaining a row: exact contributions of every feature, compared with LightGBM's own and with prediction.

Features of simulated transactions as `featurize` computes them; 200 trees of 31 leaves, forests of depth 16; all cores. LightGBM's
`pred_contrib` explains its own model, which ours must equal; the other models have no reference.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraud3000 import params as params_files
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.labels.splits import Boundaries
from fraud3000.models.inference import contributions
from fraud3000.models.inference.encoder import Encoder, Floats
from fraud3000.models.training import predictor_import
from fraud3000.models.training.estimators import build
from fraud3000.models.training.fit import Labels
from fraud3000.models.training.training_rows import select_rows
from fraud3000.stages.featurize import featurize
from fraud3000.stages.prepare import prepare
from fraud3000.stages.shared.workspace import Workspace, read
from fraud3000.stages.simulate import simulate

ROWS = {
    "lightgbm": "LightGBM, 200 trees of 31 leaves",
    "boosting": "scikit-learn's histogram gradient boosting, 200 trees of 31 leaves",
    "random_forest": "scikit-learn's random forest, 200 trees of depth 16",
}
_MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "lightgbm": ("lightgbm", {"n_estimators": 200, "num_leaves": 31}),
    "boosting": ("hist_gradient_boosting", {"max_iter": 200, "max_leaf_nodes": 31}),
    "random_forest": ("random_forest", {"n_estimators": 200, "max_depth": 16}),
}
_WORLD = """
workspace: data
simulate: {rows: 150000, days: 240, cards: 1500, terminals: 600, seed: 5}
"""
_EXPLAINED, _TURNS = 1_000, 5

Figures = dict[str, dict[str, float]]


def measure(wanted: str | None) -> Figures:
    """Fit on the training weeks, explain rows of the test weeks."""
    world = _world()
    return {f"explain_{name}": _row(name, *world) for name in ROWS if wanted in (None, name)}


def _world() -> tuple[Encoder, Floats, Labels, Floats]:
    """Return training rows with their labels, and rows to explain."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("params.yaml").write_text(_WORLD, encoding="utf-8")
        params = params_files.load()
        simulate(params, None)
        prepare(params)
        featurize(params)
        workspace = Workspace.from_params(params)
        catalogue = Catalogue.from_dict(json.loads(workspace.catalogue.read_bytes()))
        boundaries = Boundaries.from_dict(json.loads(workspace.boundaries.read_bytes()))
        ledger = read(workspace.labels, made_by="prepare")
        train, labels = select_rows(
            pl.read_parquet(workspace.split("train")), ledger, catalogue, boundaries, burn_in=True
        ).known
        test = pl.read_parquet(workspace.split("test")).head(_EXPLAINED)
    encoder = Encoder.learn(train, catalogue.features)
    return encoder, encoder.matrix(train), labels, encoder.matrix(test)


def _row(name: str, encoder: Encoder, matrix: Floats, labels: Labels, rows: Floats) -> dict[str, float]:
    learner, params = _MADE[name]
    pipeline = build(learner, params, encoder, seed=1).fit(matrix, labels)
    predictor = predictor_import.from_pipeline(pipeline, matrix)
    explain = partial(contributions.from_predictor, predictor)
    told = explain(rows)
    calls: dict[str, Callable[[Floats], Any]] = {"explained": explain, "predicted": predictor.log_odds}
    figures = {
        "columns": rows.shape[1],
        "misses_the_score_by": float(np.abs(told.totals - predictor.log_odds(rows)).max()),
    }
    if name == "lightgbm":
        own = partial(pipeline[-1].booster_.predict, pred_contrib=True)
        figures["largest_difference_to_pred_contrib"] = float(np.abs(told.values - own(rows)[:, :-1]).max())
        calls["by_pred_contrib"] = own
    many, one = _in_turns(calls, rows), _in_turns(calls, rows[:1], repeat=50)
    figures |= {f"{what}_us_a_row": round(1e6 * seconds / len(rows), 1) for what, seconds in many.items()}
    figures |= {f"one_row_{what}_us": round(1e6 * seconds, 1) for what, seconds in one.items()}
    figures["times_a_prediction"] = round(many["explained"] / many["predicted"], 1)
    if name == "lightgbm":
        figures["times_pred_contribs_rate"] = round(many["by_pred_contrib"] / many["explained"], 2)
        figures["times_pred_contribs_rate_one_row"] = round(one["by_pred_contrib"] / one["explained"], 2)
    return figures


def _in_turns(calls: dict[str, Callable[[Floats], Any]], rows: Floats, repeat: int = 1) -> dict[str, float]:
    """Return the median seconds of one call of each, run alternately."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_TURNS):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(repeat):
                call(rows)
            seconds[name].append((time.perf_counter() - begin) / repeat)
    return {name: float(np.median(kept)) for name, kept in seconds.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=ROWS)
    print(json.dumps(measure(parser.parse_args().row)))
