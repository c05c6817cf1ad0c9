"""Resolve registered versions and aliases to bundles, and verify the bundles against the registry."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from fraud3000.data.storage.atomic_write import atomic_outputs
from fraud3000.errors import ScorerError
from fraud3000.models.inference import bundle
from fraud3000.params import RegistryParams
from fraud3000.registry.connection import NOT_FOUND, TRAIN_HINT, require_trained, store

CHAMPION, CHALLENGER = "champion", "challenger"
BUNDLE_TAG = "bundle_sha256"


def resolve(model: str, registry: RegistryParams, workspace: Path) -> tuple[str, Path]:
    """Find a model's version and its bundle's folder.

    The workspace's copy under ``models/<version>`` is used if it is the registered bundle;
    if there is no copy, it is fetched from the registry.

    Parameters
    ----------
    model
        ``champion``, ``challenger`` or a version.
    workspace
        Root folder of the outputs.

    Raises
    ------
    ScorerError
        There is no such model, or the workspace's copy or the fetched bundle is not the registered one.
    UnavailableError
        The store cannot be reached.
    """
    if model not in (CHAMPION, CHALLENGER) and not model.isdecimal():
        raise ScorerError(f"no model '{model}'", hint="Name champion, challenger or the number of a version.")
    require_trained(_description(model))
    with store(write=False) as client:
        version = version_of(client, model, registry.name)
        folder, registered = workspace / "models" / str(version.version), _bundle_hash(version)
        if folder.exists():
            _check_copy(folder, str(version.version), registered)
        else:
            _fetch(f"models:/{registry.name}/{version.version}", folder, registered)
    return str(version.version), folder


def require_registered(version: str, folder: Path, registry: RegistryParams) -> None:
    """Check that a folder holds the bundle registered as a version.

    Raises
    ------
    ScorerError
        There is no such version, or the folder holds another bundle.
    UnavailableError
        The store cannot be reached.
    """
    with store(write=False) as client:
        _check_copy(folder, version, _bundle_hash(version_of(client, version, registry.name)))


def version_of(client: Any, model: str, name: str) -> Any:
    """Find a registered version by its number or its alias.

    Raises
    ------
    ScorerError
        There is no such version.
    """
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
        if model.isdecimal():
            return client.get_model_version(name, model)
        if model in aliases:
            return client.get_model_version(name, str(aliases[model]))
    except MlflowException as error:
        if error.error_code != NOT_FOUND:
            raise
        aliases = {}
    hint = "Name --model challenger to use the newest training." if CHALLENGER in aliases else TRAIN_HINT
    raise ScorerError(f"no {_description(model)} is registered under the name '{name}'", hint=hint)


def _description(model: str) -> str:
    return f"version {model}" if model.isdecimal() else model


def _bundle_hash(version: Any) -> str:
    """Return the SHA-256 of the bundle that a version was registered with."""
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
    bundle.read(folder)  # raises a precise error if the bundle is invalid
    raise ScorerError(
        f"{folder}: a valid bundle, but not the one registered as version {version}",
        hint="Move the folder away to have the registered one fetched, or name another model.",
    )


def _fetch(source: str, folder: Path, registered: str) -> None:
    """Download a bundle, check that it is the registered one, and move it to its folder."""
    with tempfile.TemporaryDirectory() as temporary, atomic_outputs(folder) as (part,):
        downloaded = _download(source, Path(temporary), folder)
        if bundle.fingerprint(downloaded) != registered:
            raise ScorerError(
                f"the registry's files of version {folder.name} hold a different bundle than the registered one "
                f"(SHA-256 {bundle.fingerprint(downloaded)[:12] or 'missing'} instead of {registered[:12]})",
                hint="Find out who changed the artifacts. Restore them, name another version, or train again.",
            )
        bundle.read(downloaded)
        shutil.copytree(downloaded, part)


def _download(source: str, target: Path, folder: Path) -> Path:
    import mlflow

    try:
        fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{source}/artifacts", dst_path=str(target)))
        (only,) = fetched.iterdir()
    except (OSError, ValueError, mlflow.MlflowException) as error:
        if not _is_missing(error):
            raise
        raise ScorerError(
            f"the bundle of version {folder.name} is missing: neither {folder} nor the registry's files have it",
            hint="Copy the folder back, name another version, or `fraud3000 promote --rollback` if it is the champion.",
        ) from error
    return only


def _is_missing(error: Exception) -> bool:
    """Return whether an error means missing files, not an unreachable store."""
    absent = getattr(error, "error_code", None) == NOT_FOUND
    return absent or type(error) in {OSError, ValueError, FileNotFoundError, NotADirectoryError}


def registered_model(client: Any, name: str) -> Any:
    """Return a registered model with its aliases and tags.

    Raises
    ------
    ScorerError
        Nothing is registered under this name.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ScorerError(
            f"no model is registered under the name '{name}'", hint="Run `fraud3000 train` first."
        ) from None
