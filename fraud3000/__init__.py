"""From raw card transactions to fraud decisions a risk team can defend.

The names below are the public API. Each is imported when it is first used, so that
``import fraud3000`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from fraud3000.params import Params
    from fraud3000.scorer import Scorer
    from fraud3000.stages.evaluate import evaluate
    from fraud3000.stages.featurize import featurize
    from fraud3000.stages.prepare import prepare
    from fraud3000.stages.score_file import score_file
    from fraud3000.stages.simulate import simulate
    from fraud3000.stages.summary import Summary
    from fraud3000.stages.train import train

    __version__: str

__all__ = [
    "CheckFailed",
    "DataError",
    "EmptyDataError",
    "FraudError",
    "LeakageError",
    "Params",
    "ParamsError",
    "SchemaError",
    "Scorer",
    "ScorerError",
    "Summary",
    "UnavailableError",
    "__version__",
    "evaluate",
    "featurize",
    "prepare",
    "score_file",
    "simulate",
    "train",
]

_STAGES = ("evaluate", "featurize", "prepare", "score_file", "simulate", "train")
_PLACES = {
    "Params": "fraud3000.params",
    "Scorer": "fraud3000.scorer",
    "Summary": "fraud3000.stages.summary",
    **{stage: f"fraud3000.stages.{stage}" for stage in _STAGES},
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("fraud3000")
    if name not in __all__:
        raise AttributeError(f"module 'fraud3000' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES.get(name, "fraud3000.errors")), name)


def __dir__() -> list[str]:
    return __all__
