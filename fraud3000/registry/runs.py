"""Log MLflow runs: trainings, backtests, searches, and evaluations in a training's run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from fraud3000.metrics.evaluation import Evaluation
from fraud3000.models.inference import bundle
from fraud3000.params import RegistryParams
from fraud3000.registry.connection import require_trained, store
from fraud3000.registry.models import BUNDLE_TAG, CHALLENGER, version_of

ARTIFACTS = "mlartifacts"
LONGEST_DESCRIPTION = 5_000
"""Longest version description that MLflow's stores accept."""


@dataclass(frozen=True)
class TrainingRun:
    """Content of a training run.

    Attributes
    ----------
    bundle
        Folder of the saved scorer.
    params
        The params, nested as in the file.
    metrics
        Metrics on validation rows.
    tags
        Tags to find the run by: fingerprint of the data, hash of the catalogue.
    columns
        The model's input columns with their kinds: integer, numeric, boolean or categorical.
    """

    bundle: Path
    params: dict[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunTree:
    """A run with child runs: a backtest and its folds, a search and its trials.

    Attributes
    ----------
    name
        Name of the run and of the folder of its report.
    params
        Nested as in the file.
    below
        Params and metrics of each child run, by its name.
    report
        The full report, JSON-ready.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    children: Mapping[str, tuple[Mapping[str, Any], Mapping[str, float]]]
    report: Mapping[str, Any]


def log_training(training: TrainingRun, registry: RegistryParams) -> str:
    """Log a training and register its bundle as a new version with the alias challenger.

    Returns
    -------
    str
        The version. If logging fails or is interrupted, nothing stays registered.

    Raises
    ------
    UnavailableError
        The store cannot be reached or written.
    """
    with store(write=True) as client:
        import mlflow

        tags = {**training.tags, BUNDLE_TAG: bundle.fingerprint(training.bundle)}
        with mlflow.start_run(experiment_id=_experiment(client, registry.experiment), tags=tags) as run:
            mlflow.log_params(_flat(training.params))
            mlflow.log_metrics(dict(training.metrics))
            logged = _log_model(training)
            return _register(client, registry.name, logged, run.info.run_id, tags)


def log_run_tree(run_tree: RunTree, registry: RegistryParams) -> None:
    """Log a run with its child runs.

    Raises
    ------
    UnavailableError
        The store cannot be reached or written.
    """
    with store(write=True) as client:
        import mlflow

        experiment = _experiment(client, registry.experiment)
        with mlflow.start_run(experiment_id=experiment, run_name=run_tree.name, tags=dict(run_tree.tags)) as run:
            mlflow.log_params(_flat(run_tree.params))
            mlflow.log_metrics(dict(run_tree.metrics))
            client.log_dict(run.info.run_id, dict(run_tree.report), f"{run_tree.name}/metrics.json")
            for name, (params, metrics) in run_tree.children.items():
                with mlflow.start_run(experiment_id=experiment, run_name=name, nested=True):
                    mlflow.log_params(_flat(params))
                    mlflow.log_metrics(dict(metrics))


def log_evaluation(
    version: str,
    evaluation: Evaluation,
    registry: RegistryParams,
    *,
    texts: Mapping[str, str] | None = None,
    description: str | None = None,
) -> None:
    """Log an evaluation and its metrics (if they could be computed) in the version's run.

    Parameters
    ----------
    texts
        Further text artifacts by their path in the run.
    description
        Description of the version; truncated to `LONGEST_DESCRIPTION` characters.

    Raises
    ------
    ScorerError
        There is no such version.
    UnavailableError
        The store cannot be reached or written.
    """
    with store(write=True) as client:
        run_id = version_of(client, version, registry.name).run_id
        for name, metric in evaluation.metrics.items():
            if metric.value is not None:
                client.log_metric(run_id, f"test_{name}", metric.value)
        client.log_dict(run_id, evaluation.to_dict(), _EVALUATION)
        for path, text in (texts or {}).items():
            client.log_text(run_id, text, path)
        if description is not None:
            client.update_model_version(registry.name, version, description=description[:LONGEST_DESCRIPTION])


def _experiment(client: Any, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    embedded = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    return str(
        client.create_experiment(name, artifact_location=Path(ARTIFACTS).resolve().as_uri() if embedded else None)
    )


def _log_model(training: TrainingRun) -> Any:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    types = {"integer": "long", "numeric": "double", "boolean": "boolean", "categorical": "string"}
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(types[kind], name, required=False) for name, kind in training.columns.items()
    ]
    return mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("pyfunc.py")),
        artifacts={"bundle": str(training.bundle)},
        metadata={BUNDLE_TAG: bundle.fingerprint(training.bundle)},
        signature=ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec("double")])),
        pip_requirements=[f"{name}=={installed(name)}" for name in ("fraud3000", "numba", "polars")],
    )


def _register(client: Any, name: str, logged: Any, run_id: str, tags: Mapping[str, str]) -> str:
    _ensure_name(client, name)
    created = None
    try:
        created = client.create_model_version(
            name, logged.model_uri, run_id=run_id, tags=dict(tags), model_id=logged.model_id
        )
        client.set_registered_model_alias(name, CHALLENGER, str(created.version))
    except BaseException:
        if created is not None:
            client.delete_model_version(name, str(created.version))
        raise
    return str(created.version)


def _ensure_name(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested keys, joined by dots.

    Examples
    --------
    >>> _flat({"train": {"seed": 1, "estimator_params": {}}})
    {'train.seed': '1'}
    """
    flat: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = str(value)[:500]
    return flat


_EVALUATION = "reports/metrics.json"


def logged_evaluation(version: str, registry: RegistryParams) -> Evaluation | None:
    """Read the logged evaluation of a version; None if there is none, or one of a release with fewer keys.

    Raises
    ------
    ScorerError
        There is no such version.
    SchemaError
        The evaluation has an invalid value.
    UnavailableError
        The store cannot be reached.
    """
    require_trained(f"version {version}")
    with store(write=False) as client:
        import mlflow

        run_id = version_of(client, version, registry.name).run_id
        folder = _EVALUATION.rpartition("/")[0]
        if _EVALUATION not in [file.path for file in client.list_artifacts(run_id, folder)]:
            return None
        content = mlflow.artifacts.load_dict(f"runs:/{run_id}/{_EVALUATION}")
    return Evaluation.from_dict(content) if Evaluation.has_all_keys(content) else None
