"""Commands `keys …`: API keys and the card-number key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fraud3000.cli.app import keys_app
from fraud3000.cli.command import command, example
from fraud3000.cli.options import Scope

if TYPE_CHECKING:
    from fraud3000.params import Params
    from fraud3000.stages.shared.summary import Summary


@command(keys_app, "fraud3000 keys add shop --scope score", name="add")
def keys_add(
    params: Params,
    name: Annotated[str, typer.Argument(help="Owner of the key.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key allows, repeatable.")],
    as_json: bool = False,
) -> Summary | None:
    """Create an API key and print it; only its hash is stored.

    A running service accepts it at once. As soon as there is a key, every request needs one.
    """
    from fraud3000.stages import keys

    summary = keys.add(params, name, [choice.value for choice in dict.fromkeys(scope)])
    if as_json:
        return summary
    typer.echo(summary.facts["key"])
    return None


@command(keys_app, "fraud3000 keys list", name="list")
def keys_list(
    params: Params,
) -> Summary:
    """List API keys and their scopes."""
    from fraud3000.stages import keys

    return keys.list_keys(params)


@command(keys_app, "fraud3000 keys revoke 1f9c02ab", name="revoke")
def keys_revoke(
    params: Params,
    key: Annotated[str, typer.Argument(help="Key id: the part between the first two underscores.")],
) -> Summary:
    """Revoke an API key; a running service rejects it at once."""
    from fraud3000.stages import keys

    return keys.revoke(params, key)


@keys_app.command(epilog=example("export FRAUD3000_PAN_KEY=$(fraud3000 keys pan)"))
def pan() -> None:
    """Print a new key for FRAUD3000_PAN_KEY, which hashes card numbers."""
    from fraud3000.stages import keys

    typer.echo(keys.pan())
