"""Append-only log of all promotion verdicts, dry runs included: how often rows were used, and which recipes passed.

A significance level holds for one verdict. Repeated verdicts on the same rows inflate the best result, so the log counts
them. It is stored in the registered model's tags as a hash chain, like the alias moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fraud3000.params import RegistryParams
from fraud3000.promotion import hash_chain
from fraud3000.registry import registered_model, store

_TAG = "verdict."


@dataclass(frozen=True, kw_only=True)
class LoggedVerdict(hash_chain.Link):
    """Log entry of one verdict.

    Attributes
    ----------
    version, champion
        The candidate, and the champion it was compared with; None if there was no champion.
    rows
        SHA-256 of the rows and labels used; None if the recipe had been accepted before and no row was used.
    recipe
        SHA-256 of the recipe of the version; None for versions of earlier releases.
    failed
        Names of the failed checks.
    """

    version: str
    champion: str | None
    rows: str | None
    recipe: str | None
    accept: bool
    failed: tuple[str, ...]

    @classmethod
    def from_fields(cls, **fields: Any) -> LoggedVerdict:
        """Build an entry from the fields of a JSON line."""
        return cls(**fields | {"failed": tuple(fields["failed"])})


def read_verdicts(registry: RegistryParams) -> tuple[LoggedVerdict, ...]:
    """Read all verdicts, oldest first.

    Raises
    ------
    ScorerError
        Nothing is registered under this name.
    CheckFailed
        The log was changed.
    UnavailableError
        The store cannot be reached.
    """
    with store(write=False) as client:
        return _read_verdicts(client, registry.name)


def accepted_version(verdicts: Sequence[LoggedVerdict], recipe: str | None, champion: str | None) -> str | None:
    """Return the version whose accepted verdict on a recipe is still valid; None if there is none.

    A verdict is valid if the current champion has this recipe, or is the champion that the recipe was accepted against.

    Parameters
    ----------
    champion
        The current champion.
    """
    accepted = [verdict for verdict in verdicts if verdict.accept and verdict.recipe == recipe and recipe is not None]
    if not any(champion in (verdict.version, verdict.champion) for verdict in accepted):
        return None
    return next(verdict.version for verdict in reversed(accepted) if verdict.rows is not None)


def append_verdict(
    registry: RegistryParams,
    *,
    version: str,
    champion: str | None,
    rows: str | None,
    recipe: str | None,
    failed: tuple[str, ...],
) -> tuple[LoggedVerdict, ...]:
    """Append a verdict; it accepts the version if no check failed.

    Returns
    -------
    All verdicts, the new one last.

    Raises
    ------
    CheckFailed
        The log was changed.
    UnavailableError
        The store cannot be written.
    """
    with store(write=True) as client:
        before = _read_verdicts(client, registry.name)
        verdict = LoggedVerdict(
            **hash_chain.next_after(before),
            version=version,
            champion=champion,
            rows=rows,
            recipe=recipe,
            accept=not failed,
            failed=failed,
        )
        client.set_registered_model_tag(registry.name, f"{_TAG}{verdict.number:06}", verdict.line)
    return (*before, verdict)


def _read_verdicts(client: Any, name: str) -> tuple[LoggedVerdict, ...]:
    tags = registered_model(client, name).tags
    return hash_chain.read(
        [tags[tag] for tag in sorted(tags) if tag.startswith(_TAG)],
        LoggedVerdict.from_fields,
        thing=f"the verdicts on '{name}'",
        hint="Find out who changed the registry's tags; how often the rows were used is no longer known.",
    )
