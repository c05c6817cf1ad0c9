"""From raw card transactions to fraud decisions a risk team can defend.

The names below are the public API. Each is imported at its first use, so that ``import fraud3000`` is fast.

A stage does what the command of its name does, and returns a `Summary`. `prepare_frame`, `featurize_frame` and
`FraudClassifier` take frames of polars, pandas or pyarrow. `load` returns a trained model, whose `score` takes them too.
`measure` computes the metrics of scored rows. `Client` and `AsyncClient` send requests to a running service.

>>> import fraud3000
>>> params = fraud3000.parse_params({"policy": {"cards_per_day": 50}})
>>> params.policy.cards_per_day, params.train.estimator
(50, 'hist_gradient_boosting')
>>> fraud3000.Workspace.from_params(params).scored.as_posix()
'data/processed/scored.parquet'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fraud3000.classifier import FraudClassifier, TimeSplit
    from fraud3000.client import AsyncClient, Client
    from fraud3000.errors import (
        CheckFailed,
        DataError,
        EmptyDataError,
        FraudError,
        LeakageError,
        ParamsError,
        SchemaError,
        ScorerError,
        UnavailableError,
    )
    from fraud3000.frames import PreparedFrames, featurize_frame, prepare_frame
    from fraud3000.metrics.report import measure
    from fraud3000.models.inference.scorer import Scorer
    from fraud3000.params import Params
    from fraud3000.params import load as load_params
    from fraud3000.params import parse as parse_params
    from fraud3000.service.engine.fallback import Fallback
    from fraud3000.stages.backtest import backtest
    from fraud3000.stages.evaluate import evaluate
    from fraud3000.stages.featurize import featurize
    from fraud3000.stages.prepare import prepare
    from fraud3000.stages.promote import promote
    from fraud3000.stages.score_file import score_file
    from fraud3000.stages.shared.model_pointer import load
    from fraud3000.stages.shared.summary import Summary
    from fraud3000.stages.shared.workspace import Workspace
    from fraud3000.stages.simulate import simulate
    from fraud3000.stages.train import train

    __version__: str

__all__ = [
    "AsyncClient",
    "CheckFailed",
    "Client",
    "DataError",
    "EmptyDataError",
    "Fallback",
    "FraudClassifier",
    "FraudError",
    "LeakageError",
    "Params",
    "ParamsError",
    "PreparedFrames",
    "SchemaError",
    "Scorer",
    "ScorerError",
    "Summary",
    "TimeSplit",
    "UnavailableError",
    "Workspace",
    "__version__",
    "backtest",
    "evaluate",
    "featurize",
    "featurize_frame",
    "load",
    "load_params",
    "measure",
    "parse_params",
    "prepare",
    "prepare_frame",
    "promote",
    "score_file",
    "simulate",
    "train",
]

_STAGES = ("backtest", "evaluate", "featurize", "prepare", "promote", "score_file", "simulate", "train")
_MODULES = {
    "AsyncClient": "fraud3000.client",
    "Client": "fraud3000.client",
    "Fallback": "fraud3000.service.engine.fallback",
    "FraudClassifier": "fraud3000.classifier",
    "Params": "fraud3000.params",
    "PreparedFrames": "fraud3000.frames",
    "Scorer": "fraud3000.models.inference.scorer",
    "Summary": "fraud3000.stages.shared.summary",
    "TimeSplit": "fraud3000.classifier",
    "Workspace": "fraud3000.stages.shared.workspace",
    "featurize_frame": "fraud3000.frames",
    "load": "fraud3000.stages.shared.model_pointer",
    "load_params": "fraud3000.params",
    "measure": "fraud3000.metrics.report",
    "parse_params": "fraud3000.params",
    "prepare_frame": "fraud3000.frames",
    **{stage: f"fraud3000.stages.{stage}" for stage in _STAGES},
}
_NAMES = {"load_params": "load", "parse_params": "parse"}
"""Names in their modules, where they differ."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("fraud3000")
    if name not in __all__:
        raise AttributeError(f"module 'fraud3000' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES.get(name, "fraud3000.errors")), _NAMES.get(name, name))


def __dir__() -> list[str]:
    return __all__
