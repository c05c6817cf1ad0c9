"""Which version a name means by now: by the registry where that is a server, and without it by what was exported last."""

from __future__ import annotations

from pathlib import Path

from loguru import logger

from fraud3000 import registry
from fraud3000.data.storage import file_lock
from fraud3000.errors import UnavailableError
from fraud3000.params import Params
from fraud3000.promotion import history
from fraud3000.stages.shared import model_pointer
from fraud3000.stages.shared.workspace import Workspace


class AliasFollower:
    """A model's name, followed wherever it is moved.

    A registry on a server may be moved by another machine, so it is asked each time, and what it says is exported to
    the workspace. A registry in a file is moved by the commands of this workspace, which export it themselves.

    Parameters
    ----------
    model
        ``champion``, ``challenger`` or a version.

    Attributes
    ----------
    unasked
        Why the registry could not be asked the last time; None where it was, or was not to be.
    """

    def __init__(self, params: Params, model: str) -> None:
        self.unasked: UnavailableError | None = None
        self._registry, self._workspace, self._model = params.registry, Workspace.of(params), model
        self._asks = not model.isdecimal() and registry.is_server() and registry.is_installed()

    def __call__(self) -> tuple[str, Path]:
        """Find the version and the folder of its bundle.

        Raises
        ------
        CheckFailed
            The registry's history of promotions is not the one that the workspace has the beginning of.
        ScorerError
            There is no such model, or its bundle cannot be trusted.
        UnavailableError
            Nothing was exported yet, and the registry cannot be reached.
        """
        if self._asks:
            self._ask()
        found = model_pointer.exported(self._workspace, self._model)
        return found or registry.resolve(self._model, self._registry, self._workspace.root)

    def _ask(self) -> None:
        try:
            self._export()
        except UnavailableError as error:
            if self.unasked is None:
                logger.warning("{}; what was exported last goes on to serve", error.message)
            self.unasked = error
        else:
            self.unasked = None

    def _export(self) -> None:
        standing = history.standing(self._registry)
        if self._model not in standing.aliases:
            return
        version, folder = registry.resolve(self._model, self._registry, self._workspace.root)
        if not model_pointer.agrees(self._workspace, standing, self._model, folder):
            model_pointer.require_usable(version, folder, self._registry)
            with file_lock.exclusive_lock(self._workspace.models, operation="promotion"):
                model_pointer.export(self._workspace, standing, self._model, folder)
