"""Make the secrets that fraud3000 needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from fraud3000.data.cleaning import card_names, cards
from fraud3000.data.cleaning.card_names import CardNames
from fraud3000.params import Params
from fraud3000.service.http.api_keys import ApiKeys, Scope
from fraud3000.stages.shared.service_store import service_folder
from fraud3000.stages.shared.summary import Summary, Table
from fraud3000.stages.shared.workspace import Workspace


def pan() -> str:
    """Make a new card key, as one line for `FRAUD3000_PAN_KEY`.

    Examples
    --------
    >>> key = cards.load_key({"FRAUD3000_PAN_KEY": pan()})
    >>> len(key.secret)
    32
    """
    return cards.new_key().text()


def key_of(params: Params) -> Callable[[], CardNames]:
    """What names cards, of this process' environment and of the workspace; read when a card number is met first."""
    return cache(partial(card_names.load, os.environ, Workspace.from_params(params).card_names))


def access_file(params: Params) -> Path:
    """Where the keys of the service are kept, hashed."""
    return service_folder(params) / "keys.json"


def add(params: Params, name: str, scopes: Sequence[Scope]) -> Summary:
    """Make a key for the service, told this once; a running one takes it at once.

    Raises
    ------
    UnavailableError
        The file of keys cannot be written.
    """
    made = ApiKeys(access_file(params)).add(name, scopes)
    return Summary(command="keys add", facts={"key": made, "name": name, "scopes": list(scopes)})


def revoke(params: Params, key: str) -> Summary:
    """Refuse a key from now on.

    Raises
    ------
    DataError
        There is no such key.
    """
    revoked = ApiKeys(access_file(params)).revoke(key)
    return Summary(
        command="keys revoke", facts={"key": revoked.id, "name": revoked.name, "revoked at": revoked.revoked_at}
    )


def listed(params: Params) -> Summary:
    """Tell which keys there are, and what they are for."""
    keys = ApiKeys(access_file(params)).all()
    rows = tuple((key.id, key.name, ", ".join(key.scopes), key.made_at, key.revoked_at or "") for key in keys)
    table = Table("Keys", ("key", "name", "scopes", "made at", "revoked at"), rows)
    return Summary(command="keys list", facts={"keys": len(keys)}, tables=(table,) if rows else ())
