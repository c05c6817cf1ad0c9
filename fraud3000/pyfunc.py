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

    _skip_type_hint_validation = True  # the signature checks the columns; MLflow cannot read our annotations

    def load_context(self, context: Any) -> None:
        self.scorer = Scorer.load(Path(context.artifacts["bundle"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201, ARG002
        """Calibrated probability of fraud for each row of a pandas frame with the model's columns."""
        return self.scorer.score(pl.from_pandas(model_input))


set_model(ScorerModel())
