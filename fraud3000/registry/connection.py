"""Connect to the MLflow store: probe it first, silence it, and convert its errors."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import socket
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
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def is_server() -> bool:
    """Return whether the registry is a server, so that other machines may move its aliases."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http://", "https://"))


def is_installed() -> bool:
    """Return whether MLflow is installed; an installation that only serves does not need it."""
    return importlib.util.find_spec("mlflow") is not None


def require_writable(registry: RegistryParams) -> None:
    """Check that the store is writable before long work; a store that does not exist yet is created later.

    Raises
    ------
    UnavailableError
        The store cannot be reached or written.
    """
    if _default_store() and not Path(STORE).exists():
        return
    with store(write=True) as client:
        client.get_experiment_by_name(registry.experiment)


def require_trained(model: str) -> None:
    """Refuse if nothing was ever registered, before MLflow creates an empty store.

    Parameters
    ----------
    model
        Name of the requested model in the error.

    Raises
    ------
    ScorerError
        The store does not exist.
    """
    path = _store_file()
    if path is not None and path.parent.is_dir() and not path.exists():
        raise ScorerError(f"no {model}: nothing is registered here, there is no {path}", hint=TRAIN_HINT)


_EXPORTED = "Copy the models folder of a workspace here in which `fraud3000 promote` promoted a champion."
TRAIN_HINT = "Run `fraud3000 train` first, in the same folder."


@contextlib.contextmanager
def store(*, write: bool) -> Iterator[Any]:
    """Yield a client of the store; MLflow is silenced, its timeouts are short, and its errors are converted to ours."""
    if not is_installed():
        raise ScorerError("the registry cannot be read: MLflow is not installed", hint=_EXPORTED)
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
    importlib.import_module("skops.io")  # before MLflow, because it scans every loaded module
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():  # after the import, which sets its own filters
            warnings.simplefilter("ignore")
            yield mlflow.MlflowClient()
    except (mlflow.MlflowException, SQLAlchemyError, OSError, ModuleNotFoundError) as error:
        raise _unreachable(str(error)) from error


def _store_file() -> Path | None:
    """Return the SQLite file of the registry; None if the registry is a server or another database."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE}"
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _default_store() -> bool:
    return not os.environ.get("MLFLOW_TRACKING_URI")


def _probe(uri: str, *, write: bool) -> None:
    """Detect a database that is locked, unreadable or not reachable, which MLflow would retry for minutes."""
    if not uri.startswith("sqlite:///"):
        _probe_server(uri)
        return
    path = Path(uri.removeprefix("sqlite:///"))
    if not write and not path.exists():
        raise _unreachable(f"{path.name} does not exist", hint="Check MLFLOW_TRACKING_URI, or run `fraud3000 train`.")
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT)) as connection:
            connection.execute("BEGIN IMMEDIATE" if write else "SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        raise _unreachable(str(error)) from error


def _probe_server(uri: str) -> None:
    """Connect once to the host of a database; MLflow itself bounds its attempts to reach an HTTP server."""
    port = _DATABASE_PORTS.get(uri.partition("://")[0].partition("+")[0])
    if port is None:
        return
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)  # as MLflow reads it: a password may contain # or /
        if url.host:
            socket.create_connection((url.host, url.port or port), timeout=_SECONDS_TO_WAIT).close()
    except (OSError, ValueError, ArgumentError) as error:
        raise _unreachable(str(error)) from error


_BUSY = "Wait until no other command uses it, or check MLFLOW_TRACKING_URI; then run the command again."


def _unreachable(reason: str, *, hint: str = _BUSY) -> UnavailableError:
    location = re.sub(r"//[^/@\s]*@", "//", os.environ.get("MLFLOW_TRACKING_URI", STORE))
    reason = re.sub(r"//[^/@\s]*@", "//", reason.strip().splitlines()[0] if reason.strip() else "no reason given")[:300]
    return UnavailableError(
        f"the model registry at {location} cannot be used ({reason})",
        hint=hint,
    )
