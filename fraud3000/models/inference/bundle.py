"""Read and write model bundles: a folder whose manifest lists every file with its SHA-256; no pickle.

Every file is verified against the manifest before it is parsed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from fraud3000 import strict_json
from fraud3000.data.storage.atomic_write import atomic_outputs
from fraud3000.errors import ScorerError
from fraud3000.features.spec.catalogue import CONTRACT_VERSION
from fraud3000.strict_json import MOST_JSON_BYTES, InvalidPartError, Strict

FORMAT_VERSION = 4
SCHEMA_VERSION = 1
"""Version of TRANSACTIONS, FEATURED and LEDGER as the bundle's model reads them."""

MOST_MODEL_BYTES = 2**31
"""The largest file of a fitted model."""

MANIFEST = "manifest.json"
_PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(1, 6))
_RETRAIN_HINT = "Train again, or fetch the bundle from the registry again."


class FileJson(Strict):
    """Size and hash of a file in the manifest."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(Strict):
    """Content of `manifest.json`."""

    bundle: int
    contract: int
    schema_: Annotated[int, Field(alias="schema")]
    catalogue: str
    files: dict[str, FileJson]


@dataclass(frozen=True)
class Versions:
    """Format versions of a bundle."""

    bundle: int
    contract: int
    schema: int

    @classmethod
    def ours(cls) -> Versions:
        return cls(FORMAT_VERSION, CONTRACT_VERSION, SCHEMA_VERSION)


def write(folder: Path, files: Mapping[str, bytes], *, catalogue_hash: str) -> str:
    """Write the files and their manifest, all or nothing.

    Returns
    -------
    str
        SHA-256 of the manifest, which identifies the whole bundle.

    Raises
    ------
    ScorerError
        A file is larger than `read` accepts.
    """
    listed = {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in sorted(files.items())}
    manifest = {**asdict(Versions.ours()), "catalogue": catalogue_hash, "files": listed}
    text = (json.dumps(manifest, indent=2) + "\n").encode()
    for name, content in files.items():
        _require_size(folder / name, len(content), hint="Train with fewer or shorter categories, or a smaller model.")
    with atomic_outputs(folder) as (part,):
        part.mkdir()
        for name, content in {**files, MANIFEST: text}.items():
            (part / name).write_bytes(content)
    return _sha256(text)


class Contents(NamedTuple):
    """Verified content of a bundle.

    Attributes
    ----------
    files
        The bytes of each file except the manifest, by name.
    catalogue
        The hash that the manifest gives for the catalogue.
    """

    files: dict[str, bytes]
    catalogue: str


def read(folder: Path) -> Contents:
    """Read every file of a bundle and verify it against the manifest.

    Raises
    ------
    ScorerError
        There is no bundle, it holds a pickle, is of an unknown version, or a file is missing,
        unknown, changed or too large.
    """
    present = _regular_files(folder)
    _refuse_pickles(folder, present)
    manifest = _read_manifest(folder)
    _check_names(folder, present - {MANIFEST}, set(manifest.files))
    files = {name: _read_verified(folder, name, expected) for name, expected in manifest.files.items()}
    return Contents(files, manifest.catalogue)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of the manifest, as recorded in the registry; empty if there is no manifest.

    Raises
    ------
    ScorerError
        The manifest is larger than `read` accepts.
    """
    path = folder / MANIFEST
    return _sha256(_read_file(path)) if path.is_file() else ""


def _regular_files(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise ScorerError(f"{folder}: no bundle here", hint="Run `fraud3000 train` first, or name another model.")
    irregular = sorted(path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file())
    if irregular:
        raise ScorerError(
            f"{folder}: '{irregular[0]}' is not a plain file, and a bundle holds nothing else", hint=_RETRAIN_HINT
        )
    return {path.name for path in folder.iterdir()}


def _refuse_pickles(folder: Path, names: set[str]) -> None:
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            start = file.read(2)
        if name.lower().endswith(_PICKLE_ENDINGS) or start in _PICKLE_STARTS:
            raise ScorerError(
                f"{folder}: '{name}' is a pickle, which can run any code when it is read; nothing was read from it",
                hint="Do not use this bundle. " + _RETRAIN_HINT,
            )


def _read_manifest(folder: Path) -> Manifest:
    """Read the manifest; check its versions first, because another version may have other keys."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ScorerError(f"{folder}: {MANIFEST} is missing", hint=_RETRAIN_HINT)
    content = _read_file(path)
    try:
        plain = strict_json.decode(content)
        if isinstance(plain, dict):
            _check_versions(folder, plain)
        return strict_json.parse(Manifest, content)[0]
    except InvalidPartError as error:
        raise ScorerError(f"{path}: not a manifest ({error})", hint=_RETRAIN_HINT) from None


def _check_versions(folder: Path, manifest: dict[str, Any]) -> None:
    ours = Versions.ours()
    for part in ("bundle", "contract", "schema"):
        known, stated = getattr(ours, part), manifest.get(part)
        if type(stated) is int and stated != known:
            raise ScorerError(
                f"{folder}: {part} version {_shorten(stated)} is unknown; this fraud3000 knows {known}",
                hint="Install the fraud3000 that trained this model, or train again with this one.",
            )


def _shorten(value: object) -> str:
    return f"{value}"[:40]


def _check_names(folder: Path, present: set[str], listed: set[str]) -> None:
    missing, unknown = sorted(listed - present), sorted(present - listed)
    if missing:
        raise ScorerError(f"{folder}: {', '.join(missing)} is named in the manifest and missing", hint=_RETRAIN_HINT)
    if unknown:
        raise ScorerError(f"{folder}: {', '.join(unknown)} is not named in the manifest", hint=_RETRAIN_HINT)


def _read_verified(folder: Path, name: str, expected: FileJson) -> bytes:
    content = _read_file(folder / name)
    if len(content) != expected.bytes or _sha256(content) != expected.sha256:
        raise ScorerError(
            f"{folder}: {name} is not what the manifest says; its bytes were changed or cut", hint=_RETRAIN_HINT
        )
    return content


def _read_file(path: Path) -> bytes:
    """Read a file, unless it is too large."""
    _require_size(path, path.stat().st_size, hint=_RETRAIN_HINT)
    return path.read_bytes()


def _require_size(path: Path, size: int, *, hint: str) -> None:
    most = MOST_JSON_BYTES if path.suffix == ".json" else MOST_MODEL_BYTES
    if size > most:
        raise ScorerError(f"{path}: {size:,} bytes; at most {most:,} are read", hint=hint)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
