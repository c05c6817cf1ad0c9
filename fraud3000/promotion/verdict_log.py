"""Every verdict of the gate, accepted or not, in a dry run or not: how often rows were asked, and which recipes passed.

A level holds for one verdict. Of many on the same rows the best looks better than it is, so their number is kept: as
tags of the registered model, a chain like the moves of an alias.
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
    """One verdict.

    Attributes
    ----------
    version, champion
        Who was judged, and against which champion; None where there was none.
    rows
        SHA-256 of the rows and labels that it rests on; None where a recipe was recognised and no row was asked.
    recipe
        SHA-256 of how the version was made; None for versions of earlier releases.
    failed
        The checks that did not hold.
    """

    version: str
    champion: str | None
    rows: str | None
    recipe: str | None
    accept: bool
    failed: tuple[str, ...]

    @classmethod
    def from_fields(cls, **told: Any) -> LoggedVerdict:
        """Make one of the fields of a line of JSON."""
        return cls(**told | {"failed": tuple(told["failed"])})


def read_verdicts(registry: RegistryParams) -> tuple[LoggedVerdict, ...]:
    """Read every verdict, the first one first.

    Raises
    ------
    ScorerError
        Nothing is registered under this name.
    CheckFailed
        They are not as they were written.
    UnavailableError
        The store cannot be reached.
    """
    with store(write=False) as client:
        return _read_verdicts(client, registry.name)


def accepted_version(every: Sequence[LoggedVerdict], recipe: str | None, champion: str | None) -> str | None:
    """Name the version by which a recipe was judged, where that still says something; None where it does not.

    It does where the champion is of this recipe, or was what the recipe was accepted against.

    Parameters
    ----------
    champion
        The version that is champion now.
    """
    accepted = [one for one in every if one.accept and one.recipe == recipe and recipe is not None]
    if not any(champion in (one.version, one.champion) for one in accepted):
        return None
    return next(one.version for one in reversed(accepted) if one.rows is not None)


def append_verdict(
    registry: RegistryParams,
    *,
    version: str,
    champion: str | None,
    rows: str | None,
    recipe: str | None,
    failed: tuple[str, ...],
) -> tuple[LoggedVerdict, ...]:
    """Add a verdict; it accepts where no check failed.

    Returns
    -------
    Every verdict, this one last.

    Raises
    ------
    CheckFailed
        Those before are not as they were written.
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
        hint="Find out who changed the registry's tags; how often rows were asked can no longer be told.",
    )
