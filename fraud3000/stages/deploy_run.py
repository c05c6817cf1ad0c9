"""One command as a task of its own on Amazon ECS, beside the service."""

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
from fraud3000.deploy.aws import Aws, also
from fraud3000.deploy.definitions import short
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.services import EcsService
from fraud3000.errors import CheckFailed, DataError, FraudError, ParamsError, ScorerError, UnavailableError
from fraud3000.signals import uninterrupted
from fraud3000.stages.deploy import CLUSTER, SERVICE, going_on, named
from fraud3000.stages.shared.summary import Summary

_ERRORS = {kind.exit_code: kind for kind in (DataError, ParamsError, ScorerError, CheckFailed, UnavailableError)}
_LINES, _LATE = 50, 3  # of a log, and looks for them


@dataclass(frozen=True)
class Network:
    """Subnets and security groups of a task.

    Examples
    --------
    >>> Network.of("subnet-a, subnet-b", "")
    Network(subnets=('subnet-a', 'subnet-b'), security_groups=())
    """

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]

    @classmethod
    def of(cls, subnets: str, security_groups: str) -> Network | None:
        """As the command line names them; None where it names none.

        Raises
        ------
        ParamsError
            Security groups without subnets.
        """
        first, second = (tuple(filter(None, re.split(r"[,\s]+", names))) for names in (subnets, security_groups))
        if second and not first:
            raise ParamsError("--security-groups: given without --subnets", hint="Give --subnets too.")
        return cls(first, second) if first else None


@dataclass(frozen=True)
class Task:
    """A command to run, and where.

    Attributes
    ----------
    definition
        Family, or family:revision.
    command
        Of fraud3000, such as ``("promote", "--dry-run")``.
    network
        By default that of a service.
    like
        That service; by default the one that FRAUD3000_ECS_SERVICE names.
    container
        That runs the command, where the task has several.
    """

    definition: str
    command: Sequence[str]
    network: Network | None = None
    like: str | None = None
    container: str | None = None

    def __str__(self) -> str:
        return shlex.join(self.command)


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
    aws, name = Aws(), named(cluster, "--cluster", CLUSTER)
    definition = definitions.described(aws, wanted.definition)
    container = definitions.container_name(definition, wanted.container, [wanted.like, os.environ.get(SERVICE)])
    where = _where(aws, name, wanted)
    start = pace.clock()
    with going_on() as begun:
        with uninterrupted():
            arn = tasks.start(aws, name, definition, where, name=container, command=list(wanted.command))
            begun.append(f"task {short(arn)}")
        ended = _ended(aws, name, arn, pace)
    place = tasks.log_stream(definition, container, arn)
    _tell_log(aws, place, pace)
    _check(ended, container, f"task {short(arn)}: `{wanted}`", place)
    facts = {
        "command": str(wanted),
        "cluster": name,
        "region": aws.region,
        "task": short(arn),
        "task definition": f"{definition['family']}:{definition['revision']}",
        "exit code": 0,
        "seconds waited": round(pace.clock() - start, 1),
        "log": f"{place['group']} {place['stream']}" if place else None,
    }
    return Summary(command="deploy run", facts=facts)


def _where(aws: Aws, cluster: str, wanted: Task) -> dict[str, Any]:
    """Network and launch type: as they are given, else those of a service."""
    if wanted.network:
        network = {
            "subnets": list(wanted.network.subnets),
            "securityGroups": list(wanted.network.security_groups),
        }
        return {"launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": network}}
    like = EcsService.of(aws, cluster, named(wanted.like, "--like-service (or --subnets)", SERVICE)).told
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


def _tell_log(aws: Aws, place: Mapping[str, str] | None, pace: Pace) -> None:
    """Log the last lines of a task, which may come some seconds late, or why there are none."""
    if place is None:
        logger.warning("no log lines: its container does not log to CloudWatch by awslogs with a stream prefix")
        return
    try:
        lines = next(filter(None, _log_lines(aws, place, pace)), [])
    except FraudError as error:
        logger.warning("its log could not be read: {}", error.message)
        return
    for line in lines:
        logger.info("| {}", line)
    if not lines:
        logger.warning("no lines in log stream {} {}", place["group"], place["stream"])


def _log_lines(aws: Aws, place: Mapping[str, str], pace: Pace) -> Iterator[list[str]]:
    yield tasks.log_lines(aws, place, _LINES)
    for _ in range(_LATE - 1):
        pace.sleep(pace.poll)
        yield tasks.log_lines(aws, place, _LINES)


def _check(ended: Mapping[str, Any], container: str, thing: str, place: Mapping[str, str] | None) -> None:
    """End as the container did.

    Raises
    ------
    FraudError
        With its exit code, where that is not 0.
    """
    found: Mapping[str, Any] = next((one for one in ended.get("containers", ()) if one["name"] == container), {})
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
