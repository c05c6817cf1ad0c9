"""Commands `deploy redeploy` and `deploy status`: roll out a version on Amazon ECS, and show the state of the service."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from loguru import logger

from fraud3000 import durations
from fraud3000.deploy import definitions, rollouts
from fraud3000.deploy.aws import Aws
from fraud3000.deploy.definitions import short_name
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.rollouts import Plan, Rollout, State
from fraud3000.deploy.services import EcsService
from fraud3000.errors import FraudError, ParamsError, UnavailableError
from fraud3000.signals import uninterrupted
from fraud3000.stages.shared.ecs_options import CLUSTER, SERVICE, report_interruption, required_name
from fraud3000.stages.shared.summary import Summary, Table

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ERROR_EVENTS, _STATUS_EVENTS = 3, 10  # latest events in an error, and in a status


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
    """Replace the tasks of a service and wait until it is steady; otherwise roll back.

    Parameters
    ----------
    tag
        Tag of the image, for which a new revision of the task definition is registered.
    pace
        Timeout and polling interval.

    Raises
    ------
    ParamsError
        A name does not exist, or access is denied.
    UnavailableError
        It did not become steady; the message states what was rolled back. Or AWS does not respond.
    """
    if tag is not None and not _TAG.fullmatch(tag):
        raise ParamsError(
            f"--image-tag: '{tag}' is not a valid image tag", hint="Pass only the tag, such as a commit hash."
        )
    aws, names = Aws(), _names(cluster, service)
    plan = rollouts.plan(aws, EcsService.from_aws(aws, *names), tag=tag, container=container)
    if dry_run:
        return _dry_run(plan, aws.region)
    start = pace.clock()
    with report_interruption() as started:
        with uninterrupted():
            rollout = rollouts.start(aws, plan)
            started.append(f"the deployment of {short_name(rollout.target)}")
        state = rollouts.wait(aws, rollout, pace)
    if state != "steady":
        raise _failed(aws, rollout, state, pace, rollback=rollback)
    return _done(rollout, aws.region, pace.clock() - start)


def status(cluster: str | None, service: str | None) -> Summary:
    """Show the tasks, deployments and latest events of a service, and whether it is steady.

    Raises
    ------
    ParamsError
        The service does not exist, or access is denied.
    UnavailableError
        AWS does not respond.
    """
    aws = Aws()
    current = EcsService.from_aws(aws, *_names(cluster, service))
    definition = definitions.describe(aws, current.definition)
    facts = {
        "service": current.name,
        "cluster": current.cluster,
        "region": aws.region,
        "steady": current.steady,
        "running": current.description["runningCount"],
        "desired": current.description["desiredCount"],
        "pending": current.description["pendingCount"],
        "task definition": short_name(current.definition),
        "images": [one["image"] for one in definition["containerDefinitions"]],
    }
    states = ", ".join(_state(one) or "unknown" for one in current.deployments)
    return Summary(
        command="deploy status",
        facts=facts,
        tables=_tables(current),
        warnings=() if current.description["desiredCount"] else ("it is scaled to 0 tasks, so it serves no requests",),
        refused=None if current.steady else f"{current}: not steady: {current.running}, rollout {states}",
    )


def _names(cluster: str | None, service: str | None) -> tuple[str, str]:
    return required_name(cluster, "--cluster", CLUSTER), required_name(service, "--service", SERVICE)


def _dry_run(plan: Plan, region: str) -> Summary:
    now = short_name(plan.service.definition)
    action = f"register a new revision of {now} with this image, and deploy it" if plan.revises else f"redeploy {now}"
    facts = {**_about(plan, region), "task definition": now, "image": plan.image, "would": action}
    warnings = () if plan.service.steady else ("the service is not steady: another deployment may be under way",)
    return Summary(command="deploy redeploy", facts={**facts, "changed": "nothing (dry run)"}, warnings=warnings)


def _done(rollout: Rollout, region: str, seconds: float) -> Summary:
    facts = {
        **_about(rollout.plan, region),
        "task definition before": short_name(rollout.previous),
        "task definition": short_name(rollout.target),
        "image": rollout.plan.image,
        "deployment": rollout.id,
        "running": rollout.last.description["runningCount"],
        "desired": rollout.last.description["desiredCount"],
        "seconds waited": round(seconds, 1),
    }
    names = {"--cluster": rollout.last.cluster, "--service": rollout.last.name}
    look = " ".join(["fraud3000 deploy status", *(f"{option} {shlex.quote(name)}" for option, name in names.items())])
    return Summary(command="deploy redeploy", facts=facts, next_step=look)


def _about(plan: Plan, region: str) -> dict[str, Any]:
    return {"service": plan.service.name, "cluster": plan.service.cluster, "region": region}


def _failed(aws: Aws, rollout: Rollout, state: State, pace: Pace, *, rollback: bool) -> FraudError:
    """Roll back a deployment that is not steady, unless that was done already, and return the error."""
    late = f"not steady after {durations.text(int(pace.timeout))} ({rollout.last.running})"
    problem = {"failed": "its deployment failed", "replaced": "another deployment replaced it"}.get(state, late)
    reason = rollout.last.primary.get("rolloutStateReason") if state in ("failed", "replaced") else None
    lines = [f"{rollout.last}: {short_name(rollout.target)}: {problem}" + (f" ({reason})" if reason else "")]
    lines.append(_roll_back(aws, rollout, state, rollback=rollback))
    stopped = rollouts.why_stopped(aws, rollout)
    lines += [f"a task stopped: {stopped}"] if stopped else []
    lines += [f"event: {event}" for event in rollout.events[-_ERROR_EVENTS:]]
    hint = "Read the log of its tasks, and run `fraud3000 deploy status`."
    return UnavailableError("\n  ".join(lines), hint=hint)


def _roll_back(aws: Aws, rollout: Rollout, state: State, *, rollback: bool) -> str:
    """Roll back if that is enabled and was not done already, and return a description of the result."""
    if state == "replaced":
        if rollout.rolled_back_by_ecs:
            return f"ECS rolled it back to {short_name(rollout.last.definition)}"
        return f"not rolled back: {short_name(rollout.last.definition)} was deployed in the meantime"
    if not rollback:
        return "not rolled back (--no-rollback)" + ("" if state == "failed" else "; the deployment continues")
    try:
        with uninterrupted():
            outcome = rollouts.roll_back(aws, rollout)
            logger.warning("{}: {}", rollout.last, outcome)
    except FraudError as error:
        outcome = f"could not be rolled back to {short_name(rollout.previous)}: {error.message}"
    return outcome


def _tables(current: EcsService) -> tuple[Table, ...]:
    deployments = tuple(
        (
            one["status"].lower(),
            _state(one),
            short_name(one["taskDefinition"]),
            f"{one['runningCount']} of {one['desiredCount']}",
            str(one.get("failedTasks", 0)),
            f"{one['createdAt']:%Y-%m-%d %H:%M}",
        )
        for one in current.deployments
    )
    events = tuple((f"{one['createdAt']:%Y-%m-%d %H:%M}", one["message"]) for one in current.events[:_STATUS_EVENTS])
    columns = ("deployment", "rollout", "task definition", "running", "failed tasks", "since")
    tables = (Table("Deployments", columns, deployments), Table("Newest events", ("at", "event"), events))
    return tuple(table for table in tables if table.rows)


def _state(deployment: Mapping[str, Any]) -> str:
    return str(deployment.get("rolloutState", "")).lower().replace("_", " ")
