"""Export aliases and promotion history to files, so that serving does not need the registry."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fraud3000 import registry, strict_json
from fraud3000.data.storage import atomic_write
from fraud3000.errors import CheckFailed, ScorerError
from fraud3000.models.inference import bundle
from fraud3000.models.inference.scorer import Scorer
from fraud3000.params import RegistryParams
from fraud3000.promotion import signing
from fraud3000.promotion.history import AliasState, history
from fraud3000.registry import CHALLENGER, CHAMPION
from fraud3000.stages.shared.workspace import Workspace

_FIELDS = ("alias", "version", "bundle_sha256")
_EXPORT_HINT = "Run `fraud3000 promote` again, or copy the whole models folder."


def pointer_text(alias: str, version: str, folder: Path) -> str:
    """Return the pointer file of an alias: its version, and the hash of the bundle; signed if a signing key is set."""
    content = {"alias": alias, "version": version, "bundle_sha256": bundle.fingerprint(folder)}
    keys = signing.keys_from(os.environ)
    signed = {} if keys is None else {"signature": keys.sign(content)}
    return json.dumps({**content, **signed}, indent=2) + "\n"


def require_usable(version: str, folder: Path, names: RegistryParams) -> None:
    """Check that a bundle is the registered one, and that serving can load it.

    Parameters
    ----------
    names
        Names of the registry.

    Raises
    ------
    ScorerError
        The bundle differs from the registered one, or fails its self-test.
    UnavailableError
        The registry cannot be reached.
    """
    registry.require_registered(version, folder, names)
    Scorer.load(folder, version=version).self_test()


def export(workspace: Workspace, state: AliasState, alias: str, folder: Path) -> None:
    """Write an alias's pointer file and the registry's history, atomically.

    Parameters
    ----------
    folder
        The bundle of the version that the alias points to, in the workspace.

    Raises
    ------
    CheckFailed
        The workspace's history is not a prefix of the registry's.
    UnavailableError
        The files cannot be written.
    """
    require_same_history(workspace, state)
    with atomic_write.atomic_outputs(workspace.pointer(alias), workspace.promotions) as (pointer, history):
        pointer.write_text(pointer_text(alias, state.aliases[alias], folder), encoding="utf-8")
        history.write_text("".join(f"{entry.line}\n" for entry in state.history), encoding="utf-8")


def matches_registry(workspace: Workspace, state: AliasState, alias: str, folder: Path) -> bool:
    """Return whether the files agree with the registry; they differ if another machine moved the alias."""
    pointer, history = workspace.pointer(alias), workspace.promotions
    if not (pointer.is_file() and history.is_file()):
        return False
    lines = history.read_text(encoding="utf-8").splitlines()
    same = lines == [entry.line for entry in state.history]
    return same and pointer.read_text(encoding="utf-8") == pointer_text(alias, state.aliases[alias], folder)


def require_same_history(workspace: Workspace, state: AliasState) -> None:
    """Check that the workspace's history is a prefix of the registry's.

    Raises
    ------
    CheckFailed
        An entry differs, or the registry lacks an entry of the workspace.
    """
    path = workspace.promotions
    if not path.exists():
        return
    here = history(path.read_text(encoding="utf-8").splitlines(), thing=str(path))
    if here != state.history[: len(here)]:
        raise CheckFailed(
            f"{path}: differs from the promotion history in the registry; nothing was changed",
            hint="Find out which of the two was changed. Move the file away to write it again from the registry.",
        )


def exported_model(workspace: Workspace, alias: str) -> tuple[str, Path] | None:
    """Return the version and bundle folder of an alias from its pointer file; None if it was not exported.

    Raises
    ------
    ScorerError
        The pointer cannot be read, has no valid signature while a signing key is set, or the bundle is not the one it names.
    """
    path = workspace.pointer(alias)
    return _verify(workspace, alias, _read(path)) if path.exists() else None


def _read(path: Path) -> dict[str, str]:
    try:
        content = strict_json.decode(path.read_bytes())
        return {name: str(content[name]) for name in _FIELDS} | {"signature": str(content.get("signature", ""))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScorerError(f"{path}: cannot be read ({type(error).__name__}: {error})", hint=_EXPORT_HINT) from error


def _verify(workspace: Workspace, alias: str, content: dict[str, str]) -> tuple[str, Path]:
    path, version = workspace.pointer(alias), content["version"]
    folder = workspace.bundle(version)
    _require_signature(path, content)
    if content["alias"] != alias or not version.isdecimal():
        raise ScorerError(
            f"{path}: names alias {content['alias'][:40]!r} and version {version[:40]!r}", hint=_EXPORT_HINT
        )
    if bundle.fingerprint(folder) != content["bundle_sha256"]:
        raise ScorerError(f"{folder}: not the bundle that {path} names", hint=_EXPORT_HINT)
    return version, folder


def _require_signature(path: Path, content: dict[str, str]) -> None:
    """Refuse a pointer without a valid signature if a signing key is set."""
    keys = signing.keys_from(os.environ)
    if keys is None or keys.accepts(content["signature"], {name: content[name] for name in _FIELDS}):
        return
    problem = "its signature was not made by the key in" if content["signature"] else "not signed, and a key is set in"
    stage = "staging" if content["alias"] == CHALLENGER else "production"
    raise ScorerError(
        f"{path}: {problem} {signing.VARIABLE}",
        hint=f"If it is genuine, `fraud3000 promote --stage {stage} --version {content['version'][:9]}` under that key "
        f"signs it again; during key rotation, set {signing.OLD_VARIABLE} to the previous key.",
    )


def load(model: str = "champion", *, workspace: str | Path = "data") -> Scorer:
    """Load a trained model from a workspace, without the registry.

    Parameters
    ----------
    model
        ``champion``, ``challenger`` or a version whose bundle is in the workspace.
    workspace
        The folder of all outputs.

    Raises
    ------
    ScorerError
        There is no such model, or its bundle failed verification.

    Examples
    --------
    >>> load("challenger", workspace="nowhere")
    Traceback (most recent call last):
    fraud3000.errors.ScorerError: nowhere/models: no challenger there
    Hint: Run `fraud3000 train`, and `fraud3000 promote` for a champion, or name another workspace.
    """
    files = Workspace(Path(workspace))
    located = _bundle_of_version(files, model) if model.isdecimal() else exported_model(files, model)
    if located is None:
        raise ScorerError(
            f"{files.models}: no {model} there",
            hint="Run `fraud3000 train`, and `fraud3000 promote` for a champion, or name another workspace.",
        )
    version, folder = located
    return Scorer.load(folder, version=version)


def _bundle_of_version(workspace: Workspace, version: str) -> tuple[str, Path]:
    """Return the bundle of a version; verify it against each alias that points to this version."""
    verified = []
    for alias in (CHAMPION, CHALLENGER):
        path = workspace.pointer(alias)
        content = _read(path) if path.exists() else {}
        if content.get("version") == version:
            verified.append(_verify(workspace, alias, content))
    if not verified and signing.keys_from(os.environ) is not None:
        raise ScorerError(
            f"{workspace.bundle(version)}: not signed because no alias points to it, and a key is set in "
            f"{signing.VARIABLE}",
            hint=f"`fraud3000 promote --stage staging --version {version}` exports and signs it.",
        )
    return version, workspace.bundle(version)
