"""Command `deploy run`: run one command as a standalone task on Amazon ECS."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger

from fraud3000 import durations
from fraud3000.deploy import definitions, tasks
from fraud3000.deploy.aws import Aws, with_details
from fraud3000.deploy.definitions import short_name
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.services import EcsService
from fraud3000.errors import CheckFailed, DataError, FraudError, ParamsError, ScorerError, UnavailableError
from fraud3000.signals import uninterrupted
from fraud3000.stages.shared.ecs_options import CLUSTER, SERVICE, report_interruption, required_name
from fraud3000.stages.shared.summary import Summary

_ERRORS = {kind.exit_code: kind for kind in (DataError, ParamsError, ScorerError, CheckFailed, UnavailableError)}
_LINES, _LOG_READS = 50, 3  # lines of a log, and attempts to read them


@dataclass(frozen=True)
class Network:
    """Subnets and security groups of a task.

    Examples
    --------
    >>> Network.from_options("subnet-a, subnet-b", "")
    Network(subnets=('subnet-a', 'subnet-b'), security_groups=())
    """

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]

    @classmethod
    def from_options(cls, subnets: str, security_groups: str) -> Network | None:
        """Parse the options --subnets and --security-groups; None if both are empty.

        Raises
        ------
        ParamsError
            Security groups without subnets.
        """
        first, second = (tuple(filter(None, re.split(r"[,\s]+", names))) for names in (subnets, security_groups))
        if second and not first:
            raise ParamsError("--security-groups: given without --subnets", hint="Add --subnets.")
        return cls(first, second) if first else None


@dataclass(frozen=True)
class Task:
    """Command to run as a task, and where to run it.

    Attributes
    ----------
    definition
        Family, or family:revision.
    command
        Arguments of fraud3000, such as ``("promote", "--dry-run")``.
    network
        Network of the task; by default that of a service.
    like
        Service whose network is used; by default the value of FRAUD3000_ECS_SERVICE.
    container
        Container that runs the command, if the task has several.
    """

    definition: str
    command: Sequence[str]
    network: Network | None = None
    like: str | None = None
    container: str | None = None

    def __str__(self) -> str:
        return shlex.join(self.command)


def run(cluster: str | None, task: Task, *, pace: Pace) -> Summary:
    """Run one command as a standalone task, and wait for it to finish.

    Raises
    ------
    FraudError
        The command exited with a code other than 0; the error has the same exit code.
    ParamsError
        A name does not exist, or access is denied.
    UnavailableError
        The task could not be started, or still runs at the timeout; it continues.
    """
    aws, name = Aws(), required_name(cluster, "--cluster", CLUSTER)
    definition = definitions.describe(aws, task.definition)
    container = definitions.container_name(definition, task.container, [task.like, os.environ.get(SERVICE)])
    where = _where(aws, name, task)
    start = pace.clock()
    with report_interruption() as started:
        with uninterrupted():
            arn = tasks.start(aws, name, definition, where, name=container, command=list(task.command))
            started.append(f"task {short_name(arn)}")
        ended = _wait_stopped(aws, name, arn, pace)
    stream = tasks.log_stream(definition, container, arn)
    _log_output(aws, stream, pace)
    _check(ended, container, f"task {short_name(arn)}: `{task}`", stream)
    facts = {
        "command": str(task),
        "cluster": name,
        "region": aws.region,
        "task": short_name(arn),
        "task definition": f"{definition['family']}:{definition['revision']}",
        "exit code": 0,
        "seconds waited": round(pace.clock() - start, 1),
        "log": f"{stream['group']} {stream['stream']}" if stream else None,
    }
    return Summary(command="deploy run", facts=facts)


def _where(aws: Aws, cluster: str, task: Task) -> dict[str, Any]:
    """Return network and launch type: those of the options, by default those of a service."""
    if task.network:
        network = {
            "subnets": list(task.network.subnets),
            "securityGroups": list(task.network.security_groups),
        }
        return {"launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": network}}
    like = EcsService.from_aws(
        aws, cluster, required_name(task.like, "--like-service (or --subnets)", SERVICE)
    ).description
    kinds = ("networkConfiguration", "capacityProviderStrategy", "launchType", "platformVersion")
    where = {kind: like[kind] for kind in kinds if like.get(kind)}
    if "capacityProviderStrategy" in where:
        where.pop("launchType", None)
    return where


def _wait_stopped(aws: Aws, cluster: str, arn: str, pace: Pace) -> Mapping[str, Any]:
    """Wait until the task has stopped and return its description; logs each change of its state."""
    last = ""
    try:
        for current in pace.observe(lambda: tasks.task(aws, cluster, arn)):
            if current and current["lastStatus"] != last:
                last = current["lastStatus"]
                logger.info("task {}: {}", short_name(arn), last.lower())
            if last == "STOPPED":
                return current
    except ParamsError as error:
        raise with_details(error, f"task {short_name(arn)} continues") from error
    state = f"still {last.lower()}" if last else "not seen"
    raise UnavailableError(
        f"task {short_name(arn)}: {state} after {durations.text(int(pace.timeout))}; it continues",
        hint="Wait longer with --timeout, or check the task in the cluster.",
    )


def _log_output(aws: Aws, stream: Mapping[str, str] | None, pace: Pace) -> None:
    """Log the last lines of a task's log, which may arrive some seconds late, or why there are none."""
    if stream is None:
        logger.warning("no log lines: the container does not log to CloudWatch (awslogs driver with a stream prefix)")
        return
    try:
        lines = next(filter(None, _log_lines(aws, stream, pace)), [])
    except FraudError as error:
        logger.warning("its log could not be read: {}", error.message)
        return
    for line in lines:
        logger.info("| {}", line)
    if not lines:
        logger.warning("no lines in log stream {} {}", stream["group"], stream["stream"])


def _log_lines(aws: Aws, stream: Mapping[str, str], pace: Pace) -> Iterator[list[str]]:
    yield tasks.log_lines(aws, stream, _LINES)
    for _ in range(_LOG_READS - 1):
        pace.sleep(pace.poll)
        yield tasks.log_lines(aws, stream, _LINES)


def _check(ended: Mapping[str, Any], container: str, thing: str, stream: Mapping[str, str] | None) -> None:
    """Raise an error if the container failed.

    Raises
    ------
    FraudError
        With the exit code of the container, if that is not 0.
    """
    state: Mapping[str, Any] = next((one for one in ended.get("containers", ()) if one["name"] == container), {})
    code, reason = state.get("exitCode"), state.get("reason") or ended.get("stoppedReason") or "no reason given"
    if code == 0:
        return
    if code is None:
        missing = "CannotPull" in reason and ("not found" in reason or "manifest unknown" in reason)
        raise (ParamsError if missing else UnavailableError)(
            f"{thing} did not run: {reason}", hint="Check the image, network and roles of the task definition."
        )
    log = f"Read its log: {stream['group']} {stream['stream']}" if stream else "Read its log"
    error = _ERRORS.get(code, FraudError)(f"{thing} ended with exit code {code} ({reason})", hint=f"{log}.")
    error.exit_code = code
    raise error
