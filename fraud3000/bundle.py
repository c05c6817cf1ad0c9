"""A bundle: a folder whose manifest names every file with its hash, and that holds no pickle.

Nothing in a bundle is parsed before its bytes have been found to be those of the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fraud3000.data.outputs import whole
from fraud3000.errors import ScorerError
from fraud3000.features.spec import CONTRACT_VERSION

FORMAT_VERSION = 3
SCHEMA_VERSION = 1
"""Version of TRANSACTIONS, FEATURED and LEDGER as the bundle's model reads them."""

MANIFEST = "manifest.json"
_PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(1, 6))
_AGAIN = "Train again, or take the bundle anew from the registry."


@dataclass(frozen=True)
class Versions:
    """What a bundle was written by and for."""

    bundle: int
    contract: int
    schema: int
    scikit_learn: str

    @classmethod
    def ours(cls) -> Versions:
        return cls(FORMAT_VERSION, CONTRACT_VERSION, SCHEMA_VERSION, version("scikit-learn"))


def write(folder: Path, files: Mapping[str, bytes], *, catalogue_hash: str) -> str:
    """Write the files and their manifest, all or nothing.

    Returns
    -------
    str
        SHA-256 of the manifest, which stands for the whole bundle.
    """
    listed = {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in sorted(files.items())}
    manifest = {**asdict(Versions.ours()), "catalogue": catalogue_hash, "files": listed}
    text = (json.dumps(manifest, indent=2) + "\n").encode()
    with whole(folder) as (part,):
        part.mkdir()
        for name, content in {**files, MANIFEST: text}.items():
            (part / name).write_bytes(content)
    return _sha256(text)


def read(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, once they are known to be what the manifest says.

    Raises
    ------
    ScorerError
        There is no bundle, it holds a pickle, is of an unknown version, or a file is missing,
        unknown or changed.
    """
    present = _regular_files(folder)
    _refuse_pickles(folder, present)
    manifest = _manifest(folder)
    _check_versions(folder, manifest)
    listed = manifest["files"]
    _check_names(folder, present - {MANIFEST}, set(listed))
    return {name: _verified(folder, name, expected) for name, expected in listed.items()}


def fingerprint(folder: Path) -> str:
    """SHA-256 of the manifest, as the registry keeps it; empty where there is none."""
    path = folder / MANIFEST
    return _sha256(path.read_bytes()) if path.is_file() else ""


def _regular_files(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise ScorerError(f"{folder}: no bundle here", hint="Run `fraud3000 train` first, or name another model.")
    odd = sorted(path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file())
    if odd:
        raise ScorerError(f"{folder}: '{odd[0]}' is not a plain file, and a bundle holds nothing else", hint=_AGAIN)
    return {path.name for path in folder.iterdir()}


def _refuse_pickles(folder: Path, names: set[str]) -> None:
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            start = file.read(2)
        if name.lower().endswith(_PICKLE_ENDINGS) or start in _PICKLE_STARTS:
            raise ScorerError(
                f"{folder}: '{name}' is a pickle, which can run any code when it is read; nothing was read from it",
                hint="Do not use this bundle. " + _AGAIN,
            )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise ScorerError(f"{folder}: {MANIFEST} is missing", hint=_AGAIN)
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise ScorerError(f"{path}: not valid JSON ({error})", hint=_AGAIN) from None
    wanted = {field.name for field in fields(Versions)} | {"catalogue", "files"}
    lacking = sorted(wanted - set(manifest)) if isinstance(manifest, dict) else sorted(wanted)
    if lacking or not _is_listing(manifest["files"]):
        raise ScorerError(f"{path}: not a manifest (wrong or missing: {', '.join(lacking) or 'files'})", hint=_AGAIN)
    return dict(manifest)


def _is_listing(files: object) -> bool:
    return isinstance(files, dict) and all(
        isinstance(entry, dict) and {"sha256", "bytes"} <= set(entry) for entry in files.values()
    )


def _check_versions(folder: Path, manifest: dict[str, Any]) -> None:
    ours = Versions.ours()
    for thing in ("bundle", "contract", "schema"):
        known = getattr(ours, thing)
        if manifest[thing] != known:
            raise ScorerError(
                f"{folder}: {thing} version {manifest[thing]} is unknown; this fraud3000 knows {known}",
                hint="Install the fraud3000 that trained this model, or train again with this one.",
            )
    if _minor(str(manifest["scikit_learn"])) != _minor(ours.scikit_learn):
        raise ScorerError(
            f"{folder}: trained with scikit-learn {manifest['scikit_learn']}; here is {ours.scikit_learn}",
            hint=f"Install scikit-learn {_minor(str(manifest['scikit_learn']))}, or train again.",
        )


def _check_names(folder: Path, present: set[str], listed: set[str]) -> None:
    missing, unknown = sorted(listed - present), sorted(present - listed)
    if missing:
        raise ScorerError(f"{folder}: {', '.join(missing)} is named in the manifest and missing", hint=_AGAIN)
    if unknown:
        raise ScorerError(f"{folder}: {', '.join(unknown)} is not named in the manifest", hint=_AGAIN)


def _verified(folder: Path, name: str, expected: dict[str, Any]) -> bytes:
    content = (folder / name).read_bytes()
    if len(content) != expected["bytes"] or _sha256(content) != expected["sha256"]:
        raise ScorerError(f"{folder}: {name} is not what the manifest says; its bytes were changed or cut", hint=_AGAIN)
    return content


def _minor(release: str) -> str:
    return ".".join(release.split(".")[:2])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
