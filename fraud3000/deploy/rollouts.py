"""Rollout of a service: plan, start, wait, roll back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loguru import logger

from fraud3000.deploy.aws import Aws, with_details
from fraud3000.deploy.definitions import (
    check_image,
    container_definition,
    container_name,
    describe,
    register,
    short_name,
    with_tag,
)
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.services import EcsService
from fraud3000.errors import FraudError, ParamsError, UnavailableError

State = Literal["steady", "failed", "replaced", "under way"]


@dataclass(frozen=True)
class Plan:
    """Planned deployment.

    Attributes
    ----------
    service
        State of the service before.
    definition
        Task definition that it runs now.
    container
        Name of the container whose image is deployed.
    image
        Image to run.
    """

    service: EcsService
    definition: Mapping[str, Any]
    container: str
    image: str

    @property
    def revises(self) -> bool:
        """True if the deployment needs a new revision of the task definition."""
        return bool(self.image != container_definition(self.definition, self.container)["image"])


@dataclass
class Rollout:
    """Started deployment.

    Attributes
    ----------
    target, previous
        Task definition to deploy, and the one that ran before.
    id
        Id of the deployment in ECS.
    last
        Latest known state of the service.
    events
        Messages of events since the start, oldest first.
    """

    plan: Plan
    target: str
    previous: str
    id: str
    last: EcsService
    events: list[str] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _seen: bool = False

    def __post_init__(self) -> None:
        self._known |= {event["id"] for event in self.plan.service.events}

    def refresh(self, aws: Aws) -> State:
        """Fetch the state of the deployment, and log new events."""
        self.last = EcsService.from_aws(aws, self.last.cluster, self.last.name)
        for event in reversed(self.last.events):
            if event["id"] not in self._known:
                self._known.add(event["id"])
                self.events.append(event["message"])
                logger.info("{}", event["message"])
        return self._state()

    def _state(self) -> State:
        primary, ids = self.last.primary, {one["id"] for one in self.last.deployments}
        self._seen |= self.id in ids
        if primary and primary["id"] != self.id:
            # A response may be some seconds old: until our deployment appears, an earlier one did not replace it.
            return "replaced" if self._seen or not ids <= self._before else "under way"
        if primary.get("rolloutState") == "FAILED":
            return "failed"
        return "steady" if self.last.steady else "under way"

    @property
    def _before(self) -> set[str]:
        return {one["id"] for one in self.plan.service.deployments}

    @property
    def rolled_back_by_ecs(self) -> bool:
        """True if the deployment that replaced it is a rollback by ECS."""
        primary = self.last.primary
        back = primary.get("taskDefinition") == self.previous != self.target
        return bool(back or "rolling back" in primary.get("rolloutStateReason", ""))


def plan(aws: Aws, service: EcsService, *, tag: str | None = None, container: str | None = None) -> Plan:
    """Plan a deployment; changes nothing.

    Parameters
    ----------
    tag
        Tag of the image; by default that of the task definition.
    container
        Container of that image; by default the one behind the load balancer, or the only one.

    Raises
    ------
    ParamsError
        The container does not exist, or the image is missing in its repository.
    """
    definition = describe(aws, service.definition)
    balanced = [one.get("containerName") for one in service.description.get("loadBalancers", ())]
    name = container_name(definition, container, [*balanced, service.name])
    image = container_definition(definition, name)["image"]
    image = image if tag is None else with_tag(image, tag)
    check_image(aws, image)
    return Plan(service, definition, name, image)


def start(aws: Aws, planned: Plan) -> Rollout:
    """Start a deployment, with a new revision of the task definition if the image differs.

    Raises
    ------
    FraudError
        It was not started, or may not have been; the message names a registered revision.
    """
    service = planned.service
    target = service.definition
    if planned.revises:
        target = register(aws, planned.definition, planned.container, planned.image)
    try:
        description = _update(aws, service, target)
    except FraudError as error:
        details = [f"{short_name(target)} was registered but is not deployed"] if planned.revises else []
        details += ["the deployment may have started nevertheless"] if isinstance(error, UnavailableError) else []
        raise with_details(error, *details) from error
    started = EcsService(service.cluster, service.name, description)
    return Rollout(planned, target, service.previous, started.primary.get("id", ""), started)


def wait(aws: Aws, rollout: Rollout, pace: Pace) -> State:
    """Wait until a deployment is steady, failed or replaced; `under way` means that the timeout was reached.

    If ECS rolls back failed deployments itself, wait for that rollback.

    Raises
    ------
    ParamsError
        The service can no longer be read; the deployment continues.
    """
    state: State = "under way"
    try:
        for state in pace.observe(lambda: rollout.refresh(aws)):
            if state in ("steady", "replaced") or (state == "failed" and not rollout.last.rolls_back_failures):
                return state
    except ParamsError as error:
        raise with_details(error, f"the deployment of {short_name(rollout.target)} continues") from error
    return state


def roll_back(aws: Aws, rollout: Rollout) -> str:
    """Start to roll back to what ran before, and return a description of it.

    If the task definition is the same, only ECS knows which image its tag meant before.

    Raises
    ------
    FraudError
        It could not be started.
    """
    service = rollout.last
    if rollout.previous != rollout.target:
        _update(aws, service, rollout.previous)
        return f"started to roll back to {short_name(rollout.previous)}"
    names = {"cluster": service.cluster, "service": service.name}
    under_way = ["PENDING", "IN_PROGRESS"]
    deployments = aws.call("ecs", "ListServiceDeployments", str(service), **names, status=under_way)[
        "serviceDeployments"
    ]
    if not deployments:
        return f"not rolled back: the deployment has ended, and {short_name(rollout.previous)} ran before it as well"
    arn = deployments[0]["serviceDeploymentArn"]
    aws.call("ecs", "StopServiceDeployment", str(service), serviceDeploymentArn=arn, stopType="ROLLBACK")
    return f"ECS was asked to stop it and to restore the service's last revision of {short_name(rollout.previous)}"


def why_stopped(aws: Aws, rollout: Rollout) -> str | None:
    """Return why a task of a deployment stopped, such as a missing image; None if unknown."""
    service = rollout.last
    names = {"cluster": service.cluster, "serviceName": service.name, "desiredStatus": "STOPPED"}
    with contextlib.suppress(FraudError):
        tasks = aws.call("ecs", "ListTasks", str(service), **names, maxResults=10)["taskArns"]
        if tasks:
            stopped = aws.call("ecs", "DescribeTasks", str(service), cluster=service.cluster, tasks=tasks)["tasks"]
            reasons = [task.get("stoppedReason") for task in stopped if task.get("startedBy") == rollout.id]
            return next(filter(None, reasons), None)
    return None


def _update(aws: Aws, service: EcsService, definition: str) -> dict[str, Any]:
    names = {"cluster": service.cluster, "service": service.name, "taskDefinition": definition}
    answer = aws.call("ecs", "UpdateService", str(service), **names, forceNewDeployment=True)
    return dict(answer["service"])
