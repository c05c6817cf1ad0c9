"""What serving needs of the registry, as files: which version an alias means, and the history of its moves."""

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
_AGAIN = "Run `fraud3000 promote` again, or copy the whole models folder."


def pointer_text(alias: str, version: str, folder: Path) -> str:
    """The file that says which version an alias means, with the hash of its bundle; signed if a signing key is set."""
    content = {"alias": alias, "version": version, "bundle_sha256": bundle.fingerprint(folder)}
    keys = signing.keys_from(os.environ)
    signed = {} if keys is None else {"signature": keys.sign(content)}
    return json.dumps({**content, **signed}, indent=2) + "\n"


def require_usable(version: str, folder: Path, names: RegistryParams) -> None:
    """Refuse to export a bundle that is not the registered one, or that serving would refuse.

    Parameters
    ----------
    names
        Of the registry.

    Raises
    ------
    ScorerError
        Saying what is wrong with it.
    UnavailableError
        The registry cannot be reached.
    """
    registry.require_registered(version, folder, names)
    Scorer.load(folder, version=version).self_test()


def export(workspace: Workspace, state: AliasState, alias: str, folder: Path) -> None:
    """Write an alias's pointer and the history as the registry has it, both or neither.

    Parameters
    ----------
    folder
        The bundle of the version that the alias points to, in the workspace.

    Raises
    ------
    CheckFailed
        The history that stands there is not the beginning of the registry's.
    UnavailableError
        The files cannot be written.
    """
    require_same_history(workspace, state)
    with atomic_write.whole(workspace.pointer(alias), workspace.promotions) as (told, history):
        told.write_text(pointer_text(alias, state.aliases[alias], folder), encoding="utf-8")
        history.write_text("".join(f"{entry.line}\n" for entry in state.history), encoding="utf-8")


def matches_registry(workspace: Workspace, state: AliasState, alias: str, folder: Path) -> bool:
    """Tell whether the files say what the registry says; they do not where another machine moved the alias."""
    told, history = workspace.pointer(alias), workspace.promotions
    if not (told.is_file() and history.is_file()):
        return False
    lines = history.read_text(encoding="utf-8").splitlines()
    same = lines == [entry.line for entry in state.history]
    return same and told.read_text(encoding="utf-8") == pointer_text(alias, state.aliases[alias], folder)


def require_same_history(workspace: Workspace, state: AliasState) -> None:
    """Refuse to go on where the workspace's history and the registry's do not agree.

    Raises
    ------
    CheckFailed
        An entry differs, or the workspace has one that the registry lacks.
    """
    path = workspace.promotions
    if not path.exists():
        return
    here = history(path.read_text(encoding="utf-8").splitlines(), thing=str(path))
    if here != state.history[: len(here)]:
        raise CheckFailed(
            f"{path}: not the history that the registry has; neither is changed any more",
            hint="Find out which was changed. Move the file away to have it written anew from the registry.",
        )


def exported_model(workspace: Workspace, alias: str) -> tuple[str, Path] | None:
    """Find the version and the bundle of an alias without the registry; None where it was not exported.

    Raises
    ------
    ScorerError
        The pointer cannot be read, has no valid signature while a signing key is set, or the bundle is not the one it means.
    """
    path = workspace.pointer(alias)
    return _verified(workspace, alias, _read(path)) if path.exists() else None


def _read(path: Path) -> dict[str, str]:
    try:
        content = strict_json.decode(path.read_bytes())
        return {name: str(content[name]) for name in _FIELDS} | {"signature": str(content.get("signature", ""))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScorerError(f"{path}: cannot be read ({type(error).__name__}: {error})", hint=_AGAIN) from error


def _verified(workspace: Workspace, alias: str, content: dict[str, str]) -> tuple[str, Path]:
    path, version = workspace.pointer(alias), content["version"]
    folder = workspace.bundle(version)
    _require_signature(path, content)
    if content["alias"] != alias or not version.isdecimal():
        raise ScorerError(f"{path}: says that {content['alias'][:40]!r} is version {version[:40]!r}", hint=_AGAIN)
    if bundle.fingerprint(folder) != content["bundle_sha256"]:
        raise ScorerError(f"{folder}: not the bundle that {path} means", hint=_AGAIN)
    return version, folder


def _require_signature(path: Path, content: dict[str, str]) -> None:
    """Refuse a pointer without a valid signature if a signing key is set."""
    keys = signing.keys_from(os.environ)
    if keys is None or keys.accepts(content["signature"], {name: content[name] for name in _FIELDS}):
        return
    problem = "its signature is not by the key in" if content["signature"] else "not signed, and there is a key in"
    stage = "staging" if content["alias"] == CHALLENGER else "production"
    raise ScorerError(
        f"{path}: {problem} {signing.VARIABLE}",
        hint=f"If it is genuine, `fraud3000 promote --stage {stage} --version {content['version'][:9]}` under that key "
        f"signs it anew; while the key is rotated, set {signing.OLD_VARIABLE} to the one before.",
    )


def load(model: str = "champion", *, workspace: str | Path = "data") -> Scorer:
    """Load a trained model from a workspace, without the registry.

    Parameters
    ----------
    model
        ``champion``, ``challenger`` or a version whose bundle lies there.
    workspace
        The folder of all outputs.

    Raises
    ------
    ScorerError
        There is none, or its bundle cannot be trusted.

    Examples
    --------
    >>> load("challenger", workspace="nowhere")
    Traceback (most recent call last):
    fraud3000.errors.ScorerError: nowhere/models: no challenger there
    Hint: Run `fraud3000 train`, and `fraud3000 promote` for a champion, or name another workspace.
    """
    place = Workspace(Path(workspace))
    found = _of_version(place, model) if model.isdecimal() else exported_model(place, model)
    if found is None:
        raise ScorerError(
            f"{place.models}: no {model} there",
            hint="Run `fraud3000 train`, and `fraud3000 promote` for a champion, or name another workspace.",
        )
    version, folder = found
    return Scorer.load(folder, version=version)


def _of_version(workspace: Workspace, version: str) -> tuple[str, Path]:
    """Find the bundle of a version, which must be the one of each alias that means this version."""
    meant = []
    for alias in (CHAMPION, CHALLENGER):
        path = workspace.pointer(alias)
        content = _read(path) if path.exists() else {}
        if content.get("version") == version:
            meant.append(_verified(workspace, alias, content))
    if not meant and signing.keys_from(os.environ) is not None:
        raise ScorerError(
            f"{workspace.bundle(version)}: no champion or challenger, so nothing signs it, and there is a key in "
            f"{signing.VARIABLE}",
            hint=f"`fraud3000 promote --stage staging --version {version}` exports and signs it.",
        )
    return version, workspace.bundle(version)
