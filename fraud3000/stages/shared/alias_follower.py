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
    registry_error
        Why the registry could not be asked the last time; None where it was, or was not to be.
    """

    def __init__(self, params: Params, model: str) -> None:
        self.registry_error: UnavailableError | None = None
        self._registry, self._workspace, self._model = params.registry, Workspace.from_params(params), model
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
        found = model_pointer.exported_model(self._workspace, self._model)
        return found or registry.resolve(self._model, self._registry, self._workspace.root)

    def _ask(self) -> None:
        try:
            self._export()
        except UnavailableError as error:
            if self.registry_error is None:
                logger.warning("{}; what was exported last goes on to serve", error.message)
            self.registry_error = error
        else:
            self.registry_error = None

    def _export(self) -> None:
        state = history.alias_state(self._registry)
        if self._model not in state.aliases:
            return
        version, folder = registry.resolve(self._model, self._registry, self._workspace.root)
        if not model_pointer.matches_registry(self._workspace, state, self._model, folder):
            model_pointer.require_usable(version, folder, self._registry)
            with file_lock.only_one(self._workspace.models, doing="promotion"):
                model_pointer.export(self._workspace, state, self._model, folder)
