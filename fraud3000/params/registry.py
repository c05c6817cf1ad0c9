"""Section `registry`: names in the model registry."""

from __future__ import annotations

from fraud3000.params.section import Section


class RegistryParams(Section):
    """Names in the MLflow registry; its address comes from MLFLOW_TRACKING_URI."""

    name: str = "fraud3000"  # of the registered model
    experiment: str = "fraud3000"  # of the runs
