"""Which version is in production, and how it came to be: aliases in the registry, with a history that only grows.

MLflow moves an alias without a trace. Here each move is an entry of the registered model's tags,
and they make a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fraud3000.errors import ScorerError, UnavailableError
from fraud3000.params import RegistryParams
from fraud3000.promotion import hash_chain
from fraud3000.registry import BUNDLE_TAG, CHALLENGER, CHAMPION, registered_model, require_trained, store, version_of

Action = Literal["promote", "rollback", "stage"]

_TAG = "promotion."


@dataclass(frozen=True, kw_only=True)
class AliasMove(hash_chain.Link):
    """One move of an alias.

    Attributes
    ----------
    version, before
        Where the alias points to now, and where it did; None for the first.
    figures, hashes
        What the decision rests on: metrics of the verdict; bundle, data, catalogue and rows.
    """

    action: Action
    alias: str
    version: str
    before: str | None
    why: str
    figures: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AliasState:
    """Where the aliases of a registered model point to, and every move that led there."""

    aliases: dict[str, str]
    history: tuple[AliasMove, ...]

    @property
    def champion(self) -> str | None:
        return self.aliases.get(CHAMPION)

    @property
    def challenger(self) -> str | None:
        return self.aliases.get(CHALLENGER)

    def earlier_champion(self) -> str:
        """Give the version that was champion before the present one.

        A rollback takes the last promotion back, so a second one goes a step further.

        Raises
        ------
        ScorerError
            There was none.
        """
        stack: list[str] = []
        for entry in self.history:
            if entry.alias == CHAMPION:
                stack = stack[:-1] if entry.action == "rollback" else [*stack, entry.version]
        if len(stack) < 2:
            now = f"version {self.champion} is the first" if self.champion else "there is none at all"
            raise ScorerError(f"no earlier champion to go back to: {now}", hint="Promote another version instead.")
        return stack[-2]


def alias_state(registry: RegistryParams) -> AliasState:
    """Read the aliases and their history.

    Raises
    ------
    ScorerError
        Nothing is registered under this name.
    CheckFailed
        The history is not as it was written.
    UnavailableError
        The store cannot be reached.
    """
    require_trained(f"model '{registry.name}'")
    with store(write=False) as client:
        return _alias_state(client, registry.name)


def move_alias(
    action: Action,
    alias: str,
    version: str,
    registry: RegistryParams,
    *,
    seen: AliasState,
    why: str,
    figures: dict[str, Any] | None = None,
    hashes: dict[str, str] | None = None,
) -> AliasState:
    """Point an alias to a version and write the entry for it; both or neither.

    Parameters
    ----------
    seen
        The standing that the decision rests on.

    Returns
    -------
    Standing
        As it is now.

    Raises
    ------
    ScorerError
        There is no such version.
    UnavailableError
        Another move came between, or the store cannot be written.
    """
    with store(write=True) as client:
        now = _alias_state(client, registry.name)
        if now != seen:
            raise UnavailableError(
                f"the champion or challenger of '{registry.name}' changed while this command ran",
                hint="Run the command again: it will judge by the models as they are now.",
            )
        registered = version_of(client, version, registry.name)
        entry = AliasMove(
            **hash_chain.next_after(now.history),
            action=action,
            alias=alias,
            version=version,
            before=now.aliases.get(alias),
            why=why,
            figures=figures or {},
            hashes={"bundle": registered.tags.get(BUNDLE_TAG, ""), **(hashes or {})},
        )
        _write(client, registry.name, entry)
        return AliasState({**now.aliases, alias: version}, (*now.history, entry))


def _write(client: Any, name: str, entry: AliasMove) -> None:
    """Entry first, then the alias; where that fails the entry is taken away again."""
    tag = f"{_TAG}{entry.number:06}"
    client.set_registered_model_tag(name, tag, entry.line)
    try:
        client.set_registered_model_alias(name, entry.alias, entry.version)
    except BaseException:
        client.delete_registered_model_tag(name, tag)
        raise


def _alias_state(client: Any, name: str) -> AliasState:
    model = registered_model(client, name)
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    lines = [model.tags[tag] for tag in sorted(model.tags) if tag.startswith(_TAG)]
    return AliasState(aliases, history(lines, thing=f"the promotion history of '{name}'"))


def history(lines: Sequence[str], *, thing: str) -> tuple[AliasMove, ...]:
    """Read the moves of aliases, the first one first.

    Raises
    ------
    CheckFailed
        An entry was changed, or one is missing.
    """
    hint = "Find out who changed it; compare the registry's tags with models/history.jsonl."
    return hash_chain.read(lines, AliasMove, thing=thing, hint=hint)
