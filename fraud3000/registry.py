"""Where trained models are kept by name: MLflow, in a file of its own unless MLFLOW_TRACKING_URI says otherwise."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from fraud3000.data.storage.atomic_write import whole
from fraud3000.errors import ScorerError, UnavailableError
from fraud3000.models.inference import bundle
from fraud3000.params import RegistryParams

CHAMPION, CHALLENGER = "champion", "challenger"
STORE, ARTIFACTS = "mlflow.db", "mlartifacts"
LONGEST_DESCRIPTION = 5_000
"""What MLflow's stores hold of a version's description."""

BUNDLE_TAG = "bundle_sha256"
_NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_SECONDS_TO_WAIT = 5.0


@dataclass(frozen=True)
class Training:
    """What a training has to tell the registry.

    Attributes
    ----------
    bundle
        The folder that the scorer was saved to.
    params
        The params, nested as in the file.
    metrics
        On validation rows.
    tags
        Facts to find it by: fingerprint of the data, hash of the catalogue.
    columns
        The model's inputs with their kinds: integer, numeric, boolean or categorical.
    """

    bundle: Path
    params: dict[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A run with others below it: a backtest and its folds, a search and its trials.

    Attributes
    ----------
    name
        Of the run, and of the folder of its report.
    params
        Nested as in the file.
    below
        By the name of each run below it: its params, and its metrics.
    report
        All there is to know, JSON-ready.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    below: Mapping[str, tuple[Mapping[str, Any], Mapping[str, float]]]
    report: Mapping[str, Any]


def is_server() -> bool:
    """Whether the registry is a server, so that other machines may move its aliases."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http://", "https://"))


def is_installed() -> bool:
    """Whether this installation can ask a registry at all: one that only serves has no MLflow."""
    return importlib.util.find_spec("mlflow") is not None


def require(registry: RegistryParams) -> None:
    """Ask the store for an answer before work whose result it is to keep; a store not made yet is no fault.

    Raises
    ------
    UnavailableError
        The store cannot be reached or written.
    """
    if _default_store() and not Path(STORE).exists():
        return
    with store(write=True) as client:
        client.get_experiment_by_name(registry.experiment)


def log_training(training: Training, registry: RegistryParams) -> str:
    """Record a training and register its bundle as a new version, the challenger from now on.

    Returns
    -------
    str
        The version. Where the recording fails or is interrupted, nothing stays registered.

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


def log_family(family: Family, registry: RegistryParams) -> None:
    """Record a run and those below it.

    Raises
    ------
    UnavailableError
        The store cannot be reached or written.
    """
    with store(write=True) as client:
        import mlflow

        experiment = _experiment(client, registry.experiment)
        with mlflow.start_run(experiment_id=experiment, run_name=family.name, tags=dict(family.tags)) as run:
            mlflow.log_params(_flat(family.params))
            mlflow.log_metrics(dict(family.metrics))
            client.log_dict(run.info.run_id, dict(family.report), f"{family.name}/metrics.json")
            for name, (params, metrics) in family.below.items():
                with mlflow.start_run(experiment_id=experiment, run_name=name, nested=True):
                    mlflow.log_params(_flat(params))
                    mlflow.log_metrics(dict(metrics))


def resolve(model: str, registry: RegistryParams, workspace: Path) -> tuple[str, Path]:
    """Find a model's version and its bundle's folder.

    The workspace's own copy under ``models/<version>`` is taken where it is what was registered;
    where there is none it is fetched from the registry.

    Parameters
    ----------
    model
        ``champion``, ``challenger`` or a version.
    workspace
        Root folder of the outputs.

    Raises
    ------
    ScorerError
        There is no such model, or the workspace's copy, or what was fetched, is not what was registered.
    UnavailableError
        The store cannot be reached.
    """
    if model not in (CHAMPION, CHALLENGER) and not model.isdecimal():
        raise ScorerError(f"no model '{model}'", hint="Name champion, challenger or the number of a version.")
    require_trained(_said(model))
    with store(write=False) as client:
        found = version_of(client, model, registry.name)
        folder, registered = workspace / "models" / str(found.version), _bundle_hash(found)
        if folder.exists():
            _check_copy(folder, str(found.version), registered)
        else:
            _fetch(f"models:/{registry.name}/{found.version}", folder, registered)
    return str(found.version), folder


def require_registered(version: str, folder: Path, registry: RegistryParams) -> None:
    """Compare a folder with the bundle that was registered as a version, once more before others rely on it.

    Raises
    ------
    ScorerError
        There is no such version, or the folder holds another bundle.
    UnavailableError
        The store cannot be reached.
    """
    with store(write=False) as client:
        _check_copy(folder, version, _bundle_hash(version_of(client, version, registry.name)))


def require_trained(wanted: str) -> None:
    """Refuse where nothing was ever registered, before MLflow makes an empty store.

    Raises
    ------
    ScorerError
        Naming what is wanted.
    """
    place = _store_file()
    if place is not None and place.parent.is_dir() and not place.exists():
        raise ScorerError(f"no {wanted}: nothing is registered here, there is no {place}", hint=_TRAIN)


def log_evaluation(
    version: str,
    metrics: Mapping[str, float | None],
    report: dict[str, Any],
    registry: RegistryParams,
    *,
    texts: Mapping[str, str] | None = None,
    description: str | None = None,
) -> None:
    """Add an evaluation's metrics (those that could be computed) and its report to the version's run.

    Parameters
    ----------
    texts
        Further files by their path among the run's artifacts.
    description
        What the registry shows beside the version; cut at `LONGEST_DESCRIPTION` characters.

    Raises
    ------
    ScorerError
        There is no such version.
    UnavailableError
        The store cannot be reached or written.
    """
    with store(write=True) as client:
        run_id = version_of(client, version, registry.name).run_id
        for name, value in metrics.items():
            if value is not None:
                client.log_metric(run_id, f"test_{name}", value)
        client.log_dict(run_id, report, "reports/metrics.json")
        for path, text in (texts or {}).items():
            client.log_text(run_id, text, path)
        if description is not None:
            client.update_model_version(registry.name, version, description=description[:LONGEST_DESCRIPTION])


_EXPORTED = "Put the models folder of a workspace here in which `fraud3000 promote` made a champion."
_TRAIN = "Run `fraud3000 train` first, in the same folder."


@contextlib.contextmanager
def store(*, write: bool) -> Iterator[Any]:
    """Give a client of the store, with MLflow kept quiet, impatient, and its errors told as ours."""
    if not is_installed():
        raise ScorerError("the registry cannot be asked: MLflow is not installed here", hint=_EXPORTED)
    environment = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    if _default_store():
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path(STORE).resolve()}"
    os.environ.update(environment)
    try:
        _probe(os.environ["MLFLOW_TRACKING_URI"], write=write)
        yield from _client()
    finally:
        for name in environment:
            os.environ.pop(name, None)


def _client() -> Iterator[Any]:
    importlib.import_module("skops.io")  # before MLflow, since it looks through every module loaded so far
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():  # after the import, which sets filters of its own
            warnings.simplefilter("ignore")
            yield mlflow.MlflowClient()
    except (mlflow.MlflowException, SQLAlchemyError, OSError, ModuleNotFoundError) as error:
        raise _unreachable(str(error)) from error


def _store_file() -> Path | None:
    """The SQLite file that holds the registry, or None where a server or another database does."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE}"
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _default_store() -> bool:
    return not os.environ.get("MLFLOW_TRACKING_URI")


def _probe(uri: str, *, write: bool) -> None:
    """Find out at once what MLflow would retry for minutes: a SQLite file that is locked or cannot be opened."""
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///"))
    if not write and not path.exists():
        raise _unreachable(f"{path.name} does not exist", hint="Check MLFLOW_TRACKING_URI, or run `fraud3000 train`.")
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT)) as connection:
            connection.execute("BEGIN IMMEDIATE" if write else "SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        raise _unreachable(str(error)) from error


_BUSY = "Wait until no other command uses it, or check MLFLOW_TRACKING_URI; then run the command again."


def _unreachable(reason: str, *, hint: str = _BUSY) -> UnavailableError:
    place = re.sub(r"//[^/@\s]*@", "//", os.environ.get("MLFLOW_TRACKING_URI", STORE))
    reason = re.sub(r"//[^/@\s]*@", "//", reason.strip().splitlines()[0] if reason.strip() else "no reason given")[:300]
    return UnavailableError(
        f"the model registry at {place} cannot be used ({reason})",
        hint=hint,
    )


def _experiment(client: Any, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    embedded = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    return str(
        client.create_experiment(name, artifact_location=Path(ARTIFACTS).resolve().as_uri() if embedded else None)
    )


def _log_model(training: Training) -> Any:
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
        pip_requirements=[f"{name}=={installed(name)}" for name in ("fraud3000", "scikit-learn", "skops", "polars")],
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


def version_of(client: Any, model: str, name: str) -> Any:
    """Find a registered version by its number or its alias.

    Raises
    ------
    ScorerError
        There is none.
    """
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
        if model.isdecimal():
            return client.get_model_version(name, model)
        if model in aliases:
            return client.get_model_version(name, str(aliases[model]))
    except MlflowException as error:
        if error.error_code != _NOT_FOUND:
            raise
        aliases = {}
    hint = "Name --model challenger to use the newest training." if CHALLENGER in aliases else _TRAIN
    raise ScorerError(f"no {_said(model)} is registered under the name '{name}'", hint=hint)


def _said(model: str) -> str:
    return f"version {model}" if model.isdecimal() else model


def _bundle_hash(version: Any) -> str:
    """SHA-256 of the bundle that a version was registered with."""
    registered = version.tags.get(BUNDLE_TAG)
    if not registered:
        raise ScorerError(
            f"version {version.version} has no tag '{BUNDLE_TAG}' in the registry, so no bundle can be compared with it",
            hint="Train again, or name a version that `fraud3000 train` registered.",
        )
    return str(registered)


def _check_copy(folder: Path, version: str, registered: str) -> None:
    if bundle.fingerprint(folder) == registered:
        return
    bundle.read(folder)  # tells what is wrong with it, where that can be told
    raise ScorerError(
        f"{folder}: a sound bundle, but not the one registered as version {version}",
        hint="Move the folder away to have the registered one fetched, or name another model.",
    )


def _fetch(source: str, folder: Path, registered: str) -> None:
    """Download a bundle, and move it to its folder once it is found to be the one that was registered."""
    with tempfile.TemporaryDirectory() as place, whole(folder) as (part,):
        downloaded = _downloaded(source, Path(place), folder)
        if bundle.fingerprint(downloaded) != registered:
            raise ScorerError(
                f"the registry's files of version {folder.name} hold another bundle than was registered "
                f"(SHA-256 {bundle.fingerprint(downloaded)[:12] or 'missing'} instead of {registered[:12]})",
                hint="Find out who changed the artifacts. Restore them, name another version, or train again.",
            )
        bundle.read(downloaded)
        shutil.copytree(downloaded, part)


def _downloaded(source: str, place: Path, folder: Path) -> Path:
    import mlflow

    try:
        fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{source}/artifacts", dst_path=str(place)))
        (only,) = fetched.iterdir()
    except (OSError, ValueError, mlflow.MlflowException) as error:
        if not _says_gone(error):
            raise
        raise ScorerError(
            f"the bundle of version {folder.name} is gone: neither {folder} nor the registry's files have it",
            hint="Copy the folder back, name another version, or `fraud3000 promote --rollback` if it is the champion.",
        ) from error
    return only


def _says_gone(error: Exception) -> bool:
    """Whether files are not there, other than that a store cannot be reached."""
    absent = getattr(error, "error_code", None) == _NOT_FOUND
    return absent or type(error) in {OSError, ValueError, FileNotFoundError, NotADirectoryError}


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested keys joined by dots.

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
