"""What serving needs of the registry, as files: which version an alias means, and the history of its moves."""

from __future__ import annotations

import json
from pathlib import Path

from fraud3000 import bundle
from fraud3000.champions import Standing, history
from fraud3000.data import outputs
from fraud3000.errors import CheckFailed, ScorerError
from fraud3000.scorer import Scorer
from fraud3000.stages.workspace import Workspace


def pointer(alias: str, version: str, folder: Path) -> str:
    """The file that says which version an alias means, with the hash of its bundle."""
    content = {"alias": alias, "version": version, "bundle_sha256": bundle.fingerprint(folder)}
    return json.dumps(content, indent=2) + "\n"


def export(workspace: Workspace, standing: Standing, alias: str, folder: Path) -> None:
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
    require_same_history(workspace, standing)
    with outputs.whole(workspace.pointer(alias), workspace.promotions) as (told, history):
        told.write_text(pointer(alias, standing.aliases[alias], folder), encoding="utf-8")
        history.write_text("".join(f"{entry.line}\n" for entry in standing.history), encoding="utf-8")


def agrees(workspace: Workspace, standing: Standing, alias: str, folder: Path) -> bool:
    """Tell whether the files say what the registry says; they do not where another machine moved the alias."""
    told, history = workspace.pointer(alias), workspace.promotions
    if not (told.is_file() and history.is_file()):
        return False
    lines = history.read_text(encoding="utf-8").splitlines()
    same = lines == [entry.line for entry in standing.history]
    return same and told.read_text(encoding="utf-8") == pointer(alias, standing.aliases[alias], folder)


def require_same_history(workspace: Workspace, standing: Standing) -> None:
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
    if here != standing.history[: len(here)]:
        raise CheckFailed(
            f"{path}: not the history that the registry has; neither is changed any more",
            hint="Find out which was changed. Move the file away to have it written anew from the registry.",
        )


def exported(workspace: Workspace, alias: str) -> tuple[str, Path] | None:
    """Find the version and the bundle of an alias without the registry; None where it was not exported.

    Raises
    ------
    ScorerError
        The pointer cannot be read, or the bundle is not the one it means.
    """
    path = workspace.pointer(alias)
    if not path.exists():
        return None
    again = "Run `fraud3000 promote` again, or copy the whole models folder."
    try:
        content = json.loads(path.read_bytes())
        version, expected = str(content["version"]), str(content["bundle_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScorerError(f"{path}: cannot be read ({type(error).__name__}: {error})", hint=again) from error
    folder = workspace.bundle(version)
    if bundle.fingerprint(folder) != expected:
        raise ScorerError(f"{folder}: not the bundle that {path} means", hint=again)
    return version, folder


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
    found = (model, place.bundle(model)) if model.isdecimal() else exported(place, model)
    if found is None:
        raise ScorerError(
            f"{place.models}: no {model} there",
            hint="Run `fraud3000 train`, and `fraud3000 promote` for a champion, or name another workspace.",
        )
    version, folder = found
    return Scorer.load(folder, version=version)
