"""Follow a model alias: resolve it in a registry server, or in the files exported last."""

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
    """Resolve a model alias to its current version on every call.

    Another machine may move an alias in a registry server, so the server is queried on every call, and its state is
    exported to the workspace. In a registry file only the commands of this workspace move aliases, and they export
    the state themselves.

    Parameters
    ----------
    model
        ``champion``, ``challenger`` or a version.

    Attributes
    ----------
    registry_error
        Error of the last query of the registry server; None if it succeeded or there is no server.
    """

    def __init__(self, params: Params, model: str) -> None:
        self.registry_error: UnavailableError | None = None
        self._registry, self._workspace, self._model = params.registry, Workspace.from_params(params), model
        self._queries_server = not model.isdecimal() and registry.is_server() and registry.is_installed()

    def __call__(self) -> tuple[str, Path]:
        """Return the version and the folder of its bundle.

        Raises
        ------
        CheckFailed
            The promotion histories of the registry and of the workspace differ.
        ScorerError
            There is no such model, or its bundle failed verification.
        UnavailableError
            The registry cannot be reached, and nothing was exported before.
        """
        if self._queries_server:
            self._refresh()
        exported = model_pointer.exported_model(self._workspace, self._model)
        return exported or registry.resolve(self._model, self._registry, self._workspace.root)

    def _refresh(self) -> None:
        try:
            self._export()
        except UnavailableError as error:
            if self.registry_error is None:
                logger.warning("{}; the model exported last continues to serve", error.message)
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
            with file_lock.exclusive_lock(self._workspace.models, operation="promotion"):
                model_pointer.export(self._workspace, state, self._model, folder)
