"""Connection to the MLflow store: probed first, quiet, and its errors raised as ours."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fraud3000.errors import ScorerError, UnavailableError
from fraud3000.params import RegistryParams

STORE = "mlflow.db"
NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
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


def is_server() -> bool:
    """Whether the registry is a server, so that other machines may move its aliases."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http://", "https://"))


def is_installed() -> bool:
    """Whether this installation can ask a registry at all: one that only serves has no MLflow."""
    return importlib.util.find_spec("mlflow") is not None


def require_writable(registry: RegistryParams) -> None:
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


def require_trained(wanted: str) -> None:
    """Refuse where nothing was ever registered, before MLflow makes an empty store.

    Raises
    ------
    ScorerError
        Naming what is wanted.
    """
    place = _store_file()
    if place is not None and place.parent.is_dir() and not place.exists():
        raise ScorerError(f"no {wanted}: nothing is registered here, there is no {place}", hint=TRAIN_HINT)


_EXPORTED = "Put the models folder of a workspace here in which `fraud3000 promote` made a champion."
TRAIN_HINT = "Run `fraud3000 train` first, in the same folder."


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
