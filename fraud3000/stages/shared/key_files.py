"""Files of API keys and card names, where the params put them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from fraud3000.data.cleaning import card_names
from fraud3000.data.cleaning.card_names import CardNames
from fraud3000.params import Params
from fraud3000.stages.shared.service_store import service_folder
from fraud3000.stages.shared.workspace import Workspace


def card_names_loader(params: Params) -> Callable[[], CardNames]:
    """Return a function that loads the card names of the environment's key and the workspace, on its first call only."""
    return cache(partial(card_names.load, os.environ, Workspace.from_params(params).card_names))


def api_keys_file(params: Params) -> Path:
    """Return the path of the service's hashed API keys."""
    return service_folder(params) / "keys.json"
