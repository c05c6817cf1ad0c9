"""Aliases of the registered model (champion, challenger) and the append-only history of their moves.

MLflow keeps no record of alias moves. Here each move is an entry in the registered model's tags,
and the entries form a hash chain.
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
        Version that the alias points to from now on, and the previous one; None for the first move.
    figures, hashes
        Evidence for the decision: its metrics; hashes of bundle, data, catalogue and rows.
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
    """Current aliases of a registered model, and the history of their moves."""

    aliases: dict[str, str]
    history: tuple[AliasMove, ...]

    @property
    def champion(self) -> str | None:
        return self.aliases.get(CHAMPION)

    @property
    def challenger(self) -> str | None:
        return self.aliases.get(CHALLENGER)

    def earlier_champion(self) -> str:
        """Return the version that was champion before the current one.

        A rollback undoes the last promotion, so a second rollback undoes the promotion before it.

        Raises
        ------
        ScorerError
            There is no earlier champion.
        """
        stack: list[str] = []
        for entry in self.history:
            if entry.alias == CHAMPION:
                stack = stack[:-1] if entry.action == "rollback" else [*stack, entry.version]
        if len(stack) < 2:
            now = f"version {self.champion} is the first" if self.champion else "there is no champion"
            raise ScorerError(f"no earlier champion to roll back to: {now}", hint="Promote another version instead.")
        return stack[-2]


def alias_state(registry: RegistryParams) -> AliasState:
    """Read the current aliases and their history.

    Raises
    ------
    ScorerError
        Nothing is registered under this name.
    CheckFailed
        The history was changed.
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
    """Point an alias to a version and append the move to the history, atomically.

    Parameters
    ----------
    seen
        The alias state that the decision is based on.

    Returns
    -------
    AliasState
        The new state.

    Raises
    ------
    ScorerError
        There is no such version.
    UnavailableError
        The aliases were moved in the meantime, or the store cannot be written.
    """
    with store(write=True) as client:
        now = _alias_state(client, registry.name)
        if now != seen:
            raise UnavailableError(
                f"the champion or challenger of '{registry.name}' changed while this command ran",
                hint="Run the command again: it will compare with the current champion.",
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
    """Write the entry, then the alias; remove the entry again if moving the alias fails."""
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
    """Read the history of alias moves, oldest first.

    Raises
    ------
    CheckFailed
        An entry was changed or is missing.
    """
    hint = "Find out who changed it; compare the registry's tags with models/history.jsonl."
    return hash_chain.read(lines, AliasMove, thing=thing, hint=hint)
