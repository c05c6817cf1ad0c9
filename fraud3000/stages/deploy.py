"""A new version into service on Amazon ECS, how it stands there, and one command beside it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loguru import logger

from fraud3000 import durations
from fraud3000.deploy import definitions, rollouts, tasks
from fraud3000.deploy.aws import Aws, also
from fraud3000.deploy.definitions import short
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.rollouts import Plan, Rollout, State
from fraud3000.deploy.services import Service
from fraud3000.errors import (
    CheckFailed,
    DataError,
    FraudError,
    ParamsError,
    ScorerError,
    UnavailableError,
)
from fraud3000.interrupts import uninterrupted
from fraud3000.stages.summary import Summary, Table

CLUSTER, SERVICE = "FRAUD3000_ECS_CLUSTER", "FRAUD3000_ECS_SERVICE"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ERRORS = {kind.exit_code: kind for kind in (DataError, ParamsError, ScorerError, CheckFailed, UnavailableError)}
_TOLD, _SHOWN, _LINES, _LATE = 3, 10, 20, 3  # events of a failure, and of a status; lines of a log, and looks for them


@dataclass(frozen=True)
class Task:
    """A command to run, and where.

    Attributes
    ----------
    definition
        Family, or family:revision.
    command
        Of fraud3000, such as ``("promote", "--dry-run")``.
    subnets, security_groups
        Of its network; by default those of a service.
    like
        That service; by default the one that FRAUD3000_ECS_SERVICE names.
    container
        That runs the command, where the task has several.
    """

    definition: str
    command: Sequence[str]
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    like: str | None = None
    container: str | None = None

    def __str__(self) -> str:
        return shlex.join(self.command)


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
    plan = rollouts.plan(aws, Service.of(aws, *names), tag=tag, container=container)
    if dry_run:
        return _would(plan, aws.region)
    start = pace.clock()
    with _going_on() as begun:
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
    seen = Service.of(aws, *_names(cluster, service))
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
    rollout = ", ".join(one.get("rolloutState", "") for one in seen.deployments)
    return Summary(
        command="deploy status",
        facts=facts,
        tables=_tables(seen),
        warnings=() if seen.told["desiredCount"] else ("it is scaled to 0 tasks: nothing answers",),
        refused=None if seen.steady else f"{seen}: not steady: {seen.running}, deployments {rollout or 'unknown'}",
    )


def run(cluster: str | None, wanted: Task, *, pace: Pace) -> Summary:
    """Run one command as a task of its own, and wait for its end.

    Raises
    ------
    FraudError
        The command ended with another exit code than 0, and this one ends with the same.
    ParamsError
        Something named is not there, or not allowed.
    UnavailableError
        The task could not be started, or still runs when the time is up; it goes on.
    """
    aws, name = Aws(), _named(cluster, "--cluster", CLUSTER)
    definition = definitions.described(aws, wanted.definition)
    container = definitions.container_name(definition, wanted.container, [wanted.like, os.environ.get(SERVICE)])
    where = _where(aws, name, wanted)
    start = pace.clock()
    with _going_on() as begun:
        with uninterrupted():
            arn = tasks.start(aws, name, definition, where, name=container, command=list(wanted.command))
            begun.append(f"task {short(arn)}")
        ended = _ended(aws, name, arn, pace)
    place = tasks.log_stream(definition, container, arn)
    warnings = _tell_log(aws, place, pace)
    _check(ended, container, f"task {short(arn)}: `{wanted}`", place)
    facts = {
        "command": str(wanted),
        "cluster": name,
        "region": aws.region,
        "task": short(arn),
        "task definition": f"{definition['family']}:{definition['revision']}",
        "exit code": 0,
        "seconds": round(pace.clock() - start, 1),
        "log": f"{place['group']} {place['stream']}" if place else None,
    }
    return Summary(command="deploy run", facts=facts, warnings=warnings)


def pace(timeout: str) -> Pace:
    """Waiting as the command line asks for it.

    Raises
    ------
    ParamsError
        It is no duration.

    Examples
    --------
    >>> pace("10m").timeout
    600
    """
    try:
        return Pace(durations.seconds(timeout))
    except ValueError as error:
        raise ParamsError(f"--timeout: {error}", hint="Write for instance 10m.") from error


@contextmanager
def _going_on() -> Iterator[list[str]]:
    """Say what goes on without this process when that is interrupted; the block notes what it began."""
    begun: list[str] = []
    try:
        yield begun
    except (KeyboardInterrupt, SystemExit):
        for what in begun:
            logger.warning("interrupted: {} goes on in AWS", what)
        raise


def _names(cluster: str | None, service: str | None) -> tuple[str, str]:
    return _named(cluster, "--cluster", CLUSTER), _named(service, "--service", SERVICE)


def _named(given: str | None, option: str, variable: str) -> str:
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
        "seconds": round(seconds, 1),
    }
    return Summary(command="deploy redeploy", facts=facts, next_step="fraud3000 deploy status")


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
            return rollouts.roll_back(aws, rollout)
    except FraudError as error:
        return f"could not be rolled back to {short(rollout.former)}: {error.message}"


def _tables(seen: Service) -> tuple[Table, ...]:
    deployments = tuple(
        (
            one["status"].lower(),
            one.get("rolloutState", "").lower().replace("_", " "),
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


def _where(aws: Aws, cluster: str, wanted: Task) -> dict[str, Any]:
    """Network and launch type: as they are given, else those of a service."""
    if wanted.subnets:
        network = {"subnets": list(wanted.subnets), "securityGroups": list(wanted.security_groups)}
        return {"launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": network}}
    like = Service.of(aws, cluster, _named(wanted.like, "neither --subnets nor --like-service", SERVICE)).told
    kinds = ("networkConfiguration", "capacityProviderStrategy", "launchType", "platformVersion")
    where = {kind: like[kind] for kind in kinds if like.get(kind)}
    if "capacityProviderStrategy" in where:
        where.pop("launchType", None)
    return where


def _ended(aws: Aws, cluster: str, arn: str, pace: Pace) -> Mapping[str, Any]:
    """The task when it has stopped; its states are logged as they come."""
    last = ""
    try:
        for seen in pace.looks(lambda: tasks.task(aws, cluster, arn)):
            if seen and seen["lastStatus"] != last:
                last = seen["lastStatus"]
                logger.info("task {}: {}", short(arn), last.lower())
            if last == "STOPPED":
                return seen
    except ParamsError as error:
        raise also(error, f"task {short(arn)} goes on") from error
    state = f"still {last.lower()}" if last else "not seen"
    raise UnavailableError(
        f"task {short(arn)}: {state} after {durations.text(int(pace.timeout))}; it goes on",
        hint="Wait longer with --timeout, or look for it in the cluster.",
    )


def _tell_log(aws: Aws, place: Mapping[str, str] | None, pace: Pace) -> tuple[str, ...]:
    """Log the last lines of a task, which may come some seconds late; says why where there are none."""
    if place is None:
        return ("its container does not log to CloudWatch by awslogs with a stream prefix: no lines to show",)
    try:
        for number in range(_LATE):
            lines = tasks.log_lines(aws, place, _LINES)
            for line in lines:
                logger.info("| {}", line)
            if lines:
                return ()
            if number < _LATE - 1:
                pace.sleep(pace.poll)
    except FraudError as error:
        return (f"its log could not be read: {error.message}",)
    return (f"no lines in log stream {place['group']} {place['stream']}",)


def _check(ended: Mapping[str, Any], container: str, thing: str, place: Mapping[str, str] | None) -> None:
    """End as the container did.

    Raises
    ------
    FraudError
        With its exit code, where that is not 0.
    """
    found = next((one for one in ended.get("containers", ()) if one["name"] == container), {})
    code, reason = found.get("exitCode"), found.get("reason") or ended.get("stoppedReason") or "no reason given"
    if code == 0:
        return
    if code is None:
        gone = "CannotPull" in reason and ("not found" in reason or "manifest unknown" in reason)
        raise (ParamsError if gone else UnavailableError)(
            f"{thing} did not run: {reason}", hint="Check image, network and roles of the task definition."
        )
    log = f"Read its log: {place['group']} {place['stream']}" if place else "Read its log"
    error = _ERRORS.get(code, FraudError)(f"{thing} ended with exit code {code} ({reason})", hint=f"{log}.")
    error.exit_code = code
    raise error
