"""Section `registry`: names in the model registry."""

from __future__ import annotations

from fraud3000.params.section import Section


class RegistryParams(Section):
    """Where trained models are kept by name; the place itself comes from MLFLOW_TRACKING_URI."""

    name: str = "fraud3000"  # of the registered model
    experiment: str = "fraud3000"  # in which runs are kept
