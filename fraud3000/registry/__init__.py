"""Model registry: MLflow, in a SQLite file unless MLFLOW_TRACKING_URI names a server or database.

The only package that imports MLflow. `connection.py` opens the store, `models.py` resolves versions to bundles, `runs.py`
records trainings and evaluations.
"""

from fraud3000.registry.connection import STORE, is_installed, is_server, require_trained, require_writable, store
from fraud3000.registry.models import (
    BUNDLE_TAG,
    CHALLENGER,
    CHAMPION,
    registered_model,
    require_registered,
    resolve,
    version_of,
)
from fraud3000.registry.runs import (
    ARTIFACTS,
    LONGEST_DESCRIPTION,
    RunTree,
    TrainingRun,
    log_evaluation,
    log_run_tree,
    log_training,
    logged_evaluation,
)

__all__ = [
    "ARTIFACTS",
    "BUNDLE_TAG",
    "CHALLENGER",
    "CHAMPION",
    "LONGEST_DESCRIPTION",
    "STORE",
    "RunTree",
    "TrainingRun",
    "is_installed",
    "is_server",
    "log_evaluation",
    "log_run_tree",
    "log_training",
    "logged_evaluation",
    "registered_model",
    "require_registered",
    "require_trained",
    "require_writable",
    "resolve",
    "store",
    "version_of",
]
