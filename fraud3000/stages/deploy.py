"""A new version into service on Amazon ECS, and how it stands there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from loguru import logger

from fraud3000 import durations
from fraud3000.deploy import definitions, rollouts
from fraud3000.deploy.aws import Aws
from fraud3000.deploy.definitions import short
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.rollouts import Plan, Rollout, State
from fraud3000.deploy.services import EcsService
from fraud3000.errors import FraudError, ParamsError, UnavailableError
from fraud3000.signals import uninterrupted
from fraud3000.stages.shared.summary import Summary, Table

CLUSTER, SERVICE = "FRAUD3000_ECS_CLUSTER", "FRAUD3000_ECS_SERVICE"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_TOLD, _SHOWN = 3, 10  # events of a failure, and of a status


def redeploy(
    cluster: str | None,
    service: str | None,
    *,
    tag: str | None = None,
    container: str | None = None,
    dry_run: bool = False,
    rollback: bool = True,
    pace: Pace,
) -> Summary:
    """Replace the tasks of a service and wait until it is steady; if it does not get there, go back.

    Parameters
    ----------
    tag
        Of the image, for which the task definition gets a new revision.
    pace
        How long to wait, and how often to look.

    Raises
    ------
    ParamsError
        Something named is not there, or not allowed.
    UnavailableError
        It did not become steady; says what was rolled back. Or AWS cannot be asked now.
    """
    if tag is not None and not _TAG.fullmatch(tag):
        raise ParamsError(f"--image-tag: '{tag}' cannot be a tag", hint="Name a tag alone, such as a commit.")
    aws, names = Aws(), _names(cluster, service)
    plan = rollouts.plan(aws, EcsService.of(aws, *names), tag=tag, container=container)
    if dry_run:
        return _would(plan, aws.region)
    start = pace.clock()
    with going_on() as begun:
        with uninterrupted():
            rollout = rollouts.begin(aws, plan)
            begun.append(f"the deployment of {short(rollout.wanted)}")
        state = rollouts.wait(aws, rollout, pace)
    if state != "steady":
        raise _failed(aws, rollout, state, pace, rollback=rollback)
    return _done(rollout, aws.region, pace.clock() - start)


def status(cluster: str | None, service: str | None) -> Summary:
    """Tell what runs of a service, its deployments and newest events, and whether it is steady.

    Raises
    ------
    ParamsError
        There is no such service, or it may not be looked at.
    UnavailableError
        AWS cannot be asked now.
    """
    aws = Aws()
    seen = EcsService.of(aws, *_names(cluster, service))
    definition = definitions.described(aws, seen.definition)
    facts = {
        "service": seen.name,
        "cluster": seen.cluster,
        "region": aws.region,
        "steady": seen.steady,
        "running": seen.told["runningCount"],
        "desired": seen.told["desiredCount"],
        "pending": seen.told["pendingCount"],
        "task definition": short(seen.definition),
        "images": [one["image"] for one in definition["containerDefinitions"]],
    }
    states = ", ".join(_state(one) or "unknown" for one in seen.deployments)
    return Summary(
        command="deploy status",
        facts=facts,
        tables=_tables(seen),
        warnings=() if seen.told["desiredCount"] else ("it is scaled to 0 tasks: nothing answers",),
        refused=None if seen.steady else f"{seen}: not steady: {seen.running}, rollout {states}",
    )


def waiting(timeout: str) -> Pace:
    """How long to wait, from the text of the command line.

    Raises
    ------
    ParamsError
        It is no duration, or has no unit.

    Examples
    --------
    >>> waiting("10m").timeout, waiting("90s").timeout
    (600, 90)
    """
    try:
        return Pace(durations.seconds(timeout))
    except ValueError as error:
        raise ParamsError(f"--timeout: {error}", hint="Write for instance 10m.") from error


@contextmanager
def going_on() -> Iterator[list[str]]:
    """Say what goes on without this process when that is interrupted; the block notes what it began."""
    begun: list[str] = []
    try:
        yield begun
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop.__context__, FraudError):
            logger.warning("{}", stop.__context__.message)
        for what in begun:
            logger.warning("interrupted: {} goes on in AWS", what)
        raise


def _names(cluster: str | None, service: str | None) -> tuple[str, str]:
    return named(cluster, "--cluster", CLUSTER), named(service, "--service", SERVICE)


def named(given: str | None, option: str, variable: str) -> str:
    """A name as it is given, else as the environment has it.

    Raises
    ------
    ParamsError
        Neither has it.
    """
    name = given or os.environ.get(variable, "").strip()
    if not name:
        found = "empty" if variable in os.environ else "not set"
        raise ParamsError(f"{option} is not given, and {variable} is {found}", hint=f"Give {option} or set {variable}.")
    return name


def _would(plan: Plan, region: str) -> Summary:
    now = short(plan.service.definition)
    does = f"register a new revision of {now} with this image, and deploy it" if plan.revises else f"deploy {now} anew"
    facts = {**_about(plan, region), "task definition": now, "image": plan.image, "would": does}
    warnings = () if plan.service.steady else ("the service is not steady now: another deployment may be under way",)
    return Summary(command="deploy redeploy", facts={**facts, "changed": "nothing (dry run)"}, warnings=warnings)


def _done(rollout: Rollout, region: str, seconds: float) -> Summary:
    facts = {
        **_about(rollout.plan, region),
        "task definition before": short(rollout.former),
        "task definition": short(rollout.wanted),
        "image": rollout.plan.image,
        "deployment": rollout.id,
        "running": rollout.last.told["runningCount"],
        "desired": rollout.last.told["desiredCount"],
        "seconds waited": round(seconds, 1),
    }
    names = {"--cluster": rollout.last.cluster, "--service": rollout.last.name}
    look = " ".join(["fraud3000 deploy status", *(f"{option} {shlex.quote(name)}" for option, name in names.items())])
    return Summary(command="deploy redeploy", facts=facts, next_step=look)


def _about(plan: Plan, region: str) -> dict[str, Any]:
    return {"service": plan.service.name, "cluster": plan.service.cluster, "region": region}


def _failed(aws: Aws, rollout: Rollout, state: State, pace: Pace, *, rollback: bool) -> FraudError:
    """What a deployment that is not steady came to, after rolling it back where nobody did."""
    late = f"not steady after {durations.text(int(pace.timeout))} ({rollout.last.running})"
    said = {"failed": "its deployment failed", "replaced": "another deployment took its place"}.get(state, late)
    reason = rollout.last.primary.get("rolloutStateReason") if state in ("failed", "replaced") else None
    lines = [f"{rollout.last}: {short(rollout.wanted)}: {said}" + (f" ({reason})" if reason else "")]
    lines.append(_undone(aws, rollout, state, rollback=rollback))
    stopped = rollouts.why_stopped(aws, rollout)
    lines += [f"a task stopped: {stopped}"] if stopped else []
    lines += [f"event: {event}" for event in rollout.events[-_TOLD:]]
    hint = "See why its tasks stop in their log, and how it stands with `fraud3000 deploy status`."
    return UnavailableError("\n  ".join(lines), hint=hint)


def _undone(aws: Aws, rollout: Rollout, state: State, *, rollback: bool) -> str:
    """Roll back where that is wanted and nobody did, and say what came of it."""
    if state == "replaced":
        if rollout.healed:
            return f"ECS itself rolled it back to {short(rollout.last.definition)}; nothing more was done"
        return f"not rolled back: somebody deployed {short(rollout.last.definition)} meanwhile"
    if not rollback:
        return "not rolled back, as asked" + ("" if state == "failed" else "; the deployment goes on")
    try:
        with uninterrupted():
            said = rollouts.roll_back(aws, rollout)
            logger.warning("{}: {}", rollout.last, said)
    except FraudError as error:
        said = f"could not be rolled back to {short(rollout.former)}: {error.message}"
    return said


def _tables(seen: EcsService) -> tuple[Table, ...]:
    deployments = tuple(
        (
            one["status"].lower(),
            _state(one),
            short(one["taskDefinition"]),
            f"{one['runningCount']} of {one['desiredCount']}",
            str(one.get("failedTasks", 0)),
            f"{one['createdAt']:%Y-%m-%d %H:%M}",
        )
        for one in seen.deployments
    )
    events = tuple((f"{one['createdAt']:%Y-%m-%d %H:%M}", one["message"]) for one in seen.events[:_SHOWN])
    columns = ("deployment", "rollout", "task definition", "running", "failed tasks", "since")
    tables = (Table("Deployments", columns, deployments), Table("Newest events", ("at", "event"), events))
    return tuple(table for table in tables if table.rows)


def _state(deployment: Mapping[str, Any]) -> str:
    return str(deployment.get("rolloutState", "")).lower().replace("_", " ")
