"""MLflow pyfunc model: loads the scorer from this code and the logged bundle; no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from mlflow.models import Model, set_model
from mlflow.pyfunc.model import PythonModel

from fraud3000.errors import ScorerError
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.registry import BUNDLE_TAG


class ScorerModel(PythonModel):
    """Score a table of features through MLflow's model interface."""

    _skip_type_hint_validation = True  # the signature checks the columns; MLflow cannot read our annotations

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["bundle"])
        if bundle.fingerprint(folder) != _logged_hash(folder.parents[1]):
            raise ScorerError(
                f"{folder}: not the bundle that this model was logged with",
                hint="Find out who changed the artifacts. Restore them, or train again.",
            )
        self.scorer = Scorer.load(folder)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201, ARG002
        """Return the calibrated probability of fraud for each row of a pandas frame with the model's columns."""
        return self.scorer.probabilities(pl.from_pandas(model_input))


def _logged_hash(model: Path) -> Any:
    """Return the SHA-256 of the bundle that a logged model refers to."""
    return (Model.load(str(model)).metadata or {}).get(BUNDLE_TAG)


set_model(ScorerModel())
