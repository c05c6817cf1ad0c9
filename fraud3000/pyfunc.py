"""The registered model as MLflow loads it, from this code and the bundle beside it: no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from fraud3000.scorer import Scorer


class ScorerModel(PythonModel):
    """Scores a table of features through MLflow's own interface."""

    def load_context(self, context: Any) -> None:
        self.scorer = Scorer.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow's signature
        """Calibrated probability of fraud for each row of a pandas frame with the model's columns."""
        return self.scorer.score(pl.from_pandas(model_input))


set_model(ScorerModel())
