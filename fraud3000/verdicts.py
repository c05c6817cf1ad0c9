"""Every verdict of the gate, accepted or not, in a dry run or not: how often rows were asked, and which recipes passed.

A level holds for one verdict. Of many on the same rows the best looks better than it is, so their number is kept: as
tags of the registered model, numbered and chained by hashes like the moves of an alias.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from fraud3000.champions import START, registered, user
from fraud3000.errors import CheckFailed
from fraud3000.params import RegistryParams
from fraud3000.registry import store

_TAG = "verdict."


@dataclass(frozen=True)
class Recorded:
    """One verdict.

    Attributes
    ----------
    number
        From 1 on, without gaps.
    at
        UTC, ISO 8601.
    by
        Name of the user who ran the command.
    version, champion
        Who was judged, and against which champion; None where there was none.
    rows
        SHA-256 of the rows and labels that it rests on; None where a recipe was recognised and no row was asked.
    recipe
        SHA-256 of how the version was made; None for versions of earlier releases.
    failed
        The checks that did not hold.
    parent
        SHA-256 of the verdict before.
    """

    number: int
    at: str
    by: str
    version: str
    champion: str | None
    rows: str | None
    recipe: str | None
    accept: bool
    failed: tuple[str, ...]
    parent: str = START

    @property
    def line(self) -> str:
        """The verdict as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.line.encode()).hexdigest()


def recorded(registry: RegistryParams) -> tuple[Recorded, ...]:
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
        tags = registered(client, registry.name).tags
    return _chained([tags[tag] for tag in sorted(tags) if tag.startswith(_TAG)], registry.name)


def judged_as(every: Sequence[Recorded], recipe: str | None, champion: str | None) -> str | None:
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


def record(
    registry: RegistryParams,
    *,
    version: str,
    champion: str | None,
    rows: str | None,
    recipe: str | None,
    failed: tuple[str, ...],
) -> tuple[Recorded, ...]:
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
    before = recorded(registry)
    verdict = Recorded(
        number=len(before) + 1,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=user(),
        version=version,
        champion=champion,
        rows=rows,
        recipe=recipe,
        accept=not failed,
        failed=failed,
        parent=before[-1].sha256 if before else START,
    )
    with store(write=True) as client:
        client.set_registered_model_tag(registry.name, f"{_TAG}{verdict.number:06}", verdict.line)
    return (*before, verdict)


def _chained(lines: list[str], name: str) -> tuple[Recorded, ...]:
    found: list[Recorded] = []
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            verdict = Recorded(**{**content, "failed": tuple(content["failed"])})
        except (ValueError, TypeError, KeyError) as error:
            raise _changed(name, number) from error
        if (verdict.number, verdict.parent) != (number, found[-1].sha256 if found else START):
            raise _changed(name, number)
        found.append(verdict)
    return tuple(found)


def _changed(name: str, number: int) -> CheckFailed:
    return CheckFailed(
        f"the verdicts on '{name}': number {number} is not as it was written, or one before it is missing",
        hint="Find out who changed the registry's tags; how often rows were asked can no longer be told.",
    )
