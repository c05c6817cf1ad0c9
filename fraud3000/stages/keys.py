"""Keys of the service and of card numbers: create, list and revoke them."""

from __future__ import annotations

from collections.abc import Sequence

from fraud3000.data.cleaning import cards
from fraud3000.params import Params
from fraud3000.service.http.api_keys import ApiKeys, Scope
from fraud3000.stages.shared.service_store import api_keys_file
from fraud3000.stages.shared.summary import Summary, Table


def pan() -> str:
    """Create a random card-number key, as one line for `FRAUD3000_PAN_KEY`.

    Examples
    --------
    >>> key = cards.load_key({"FRAUD3000_PAN_KEY": pan()})
    >>> len(key.secret)
    32
    """
    return cards.new_key().text()


def add(params: Params, name: str, scopes: Sequence[Scope]) -> Summary:
    """Create an API key and print it once; a running service accepts it immediately.

    Raises
    ------
    UnavailableError
        The file of keys cannot be written.
    """
    key = ApiKeys(api_keys_file(params)).add(name, scopes)
    return Summary(command="keys add", facts={"key": key, "name": name, "scopes": list(scopes)})


def revoke(params: Params, key: str) -> Summary:
    """Revoke an API key; a running service refuses it from then on.

    Raises
    ------
    DataError
        There is no such key.
    """
    revoked = ApiKeys(api_keys_file(params)).revoke(key)
    return Summary(
        command="keys revoke", facts={"key": revoked.id, "name": revoked.name, "revoked at": revoked.revoked_at}
    )


def list_keys(params: Params) -> Summary:
    """List API keys with their scopes."""
    keys = ApiKeys(api_keys_file(params)).all()
    rows = tuple((key.id, key.name, ", ".join(key.scopes), key.made_at, key.revoked_at or "") for key in keys)
    table = Table("Keys", ("key", "name", "scopes", "made at", "revoked at"), rows)
    return Summary(command="keys list", facts={"keys": len(keys)}, tables=(table,) if rows else ())
