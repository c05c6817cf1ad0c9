"""A new deployment of a service: planned, begun, waited for, rolled back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loguru import logger

from fraud3000.deploy.aws import Aws, also
from fraud3000.deploy.definitions import (
    check_image,
    container_name,
    container_of,
    described,
    registered,
    short,
    with_tag,
)
from fraud3000.deploy.pace import Pace
from fraud3000.deploy.services import EcsService
from fraud3000.errors import FraudError, ParamsError, UnavailableError

State = Literal["steady", "failed", "replaced", "under way"]


@dataclass(frozen=True)
class Plan:
    """A deployment as it would be.

    Attributes
    ----------
    service
        As it is before.
    definition
        Of the task that it runs now.
    container
        The one whose image counts.
    image
        That it is to run.
    """

    service: EcsService
    definition: Mapping[str, Any]
    container: str
    image: str

    @property
    def revises(self) -> bool:
        """Whether it needs a new revision of the task definition."""
        return bool(self.image != container_of(self.definition, self.container)["image"])


@dataclass
class Rollout:
    """A deployment that was begun.

    Attributes
    ----------
    wanted, former
        The task definition it deploys, and the one that ran before.
    id
        What ECS calls it.
    last
        The service as it was last seen.
    events
        What happened since, oldest first.
    """

    plan: Plan
    wanted: str
    former: str
    id: str
    last: EcsService
    events: list[str] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _seen: bool = False

    def __post_init__(self) -> None:
        self._known |= {event["id"] for event in self.plan.service.events}

    def look(self, aws: Aws) -> State:
        """See how it stands, and log what happened since the last look."""
        self.last = EcsService.of(aws, self.last.cluster, self.last.name)
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
            # an answer may be some seconds old: until ours was seen, one from before is no successor
            return "replaced" if self._seen or not ids <= self._before else "under way"
        if primary.get("rolloutState") == "FAILED":
            return "failed"
        return "steady" if self.last.steady else "under way"

    @property
    def _before(self) -> set[str]:
        return {one["id"] for one in self.plan.service.deployments}

    @property
    def healed(self) -> bool:
        """Whether ECS rolled it back itself, where another deployment took its place."""
        primary = self.last.primary
        back = primary.get("taskDefinition") == self.former != self.wanted
        return bool(back or "rolling back" in primary.get("rolloutStateReason", ""))


def plan(aws: Aws, service: EcsService, *, tag: str | None = None, container: str | None = None) -> Plan:
    """See what a deployment would run; changes nothing.

    Parameters
    ----------
    tag
        Of the image; by default that of the task definition.
    container
        Whose image it is; not needed where the load balancer or a single container tells.

    Raises
    ------
    ParamsError
        No such container, or the image is not in its repository.
    """
    definition = described(aws, service.definition)
    balanced = [one.get("containerName") for one in service.told.get("loadBalancers", ())]
    name = container_name(definition, container, [*balanced, service.name])
    image = container_of(definition, name)["image"]
    image = image if tag is None else with_tag(image, tag)
    check_image(aws, image)
    return Plan(service, definition, name, image)


def begin(aws: Aws, planned: Plan) -> Rollout:
    """Begin a deployment, with a new revision of the task definition where the image is another.

    Raises
    ------
    FraudError
        It was not begun, or that is not known; a revision that was registered is named.
    """
    service = planned.service
    wanted = service.definition
    if planned.revises:
        wanted = registered(aws, planned.definition, planned.container, planned.image)
    try:
        told = _update(aws, service, wanted)
    except FraudError as error:
        said = [f"{short(wanted)} was registered and is not deployed"] if planned.revises else []
        said += ["the deployment may have begun all the same"] if isinstance(error, UnavailableError) else []
        raise also(error, *said) from error
    begun = EcsService(service.cluster, service.name, told)
    return Rollout(planned, wanted, service.former, begun.primary.get("id", ""), begun)


def wait(aws: Aws, rollout: Rollout, pace: Pace) -> State:
    """Wait until a deployment is steady, has failed or was replaced; `under way` says that time was up.

    A failed one is waited for where ECS is about to roll it back itself.

    Raises
    ------
    ParamsError
        The service may not be looked at any more; the deployment goes on.
    """
    state: State = "under way"
    try:
        for state in pace.looks(lambda: rollout.look(aws)):
            if state in ("steady", "replaced") or (state == "failed" and not rollout.last.heals):
                return state
    except ParamsError as error:
        raise also(error, f"the deployment of {short(rollout.wanted)} goes on") from error
    return state


def roll_back(aws: Aws, rollout: Rollout) -> str:
    """Begin to go back to what ran before, and say how.

    Where the task definition is the same, only ECS knows which image its tag meant then.

    Raises
    ------
    FraudError
        It could not be begun.
    """
    service = rollout.last
    if rollout.former != rollout.wanted:
        _update(aws, service, rollout.former)
        return f"began to roll back to {short(rollout.former)}"
    names = {"cluster": service.cluster, "service": service.name}
    under_way = ["PENDING", "IN_PROGRESS"]
    found = aws.ask("ecs", "ListServiceDeployments", str(service), **names, status=under_way)["serviceDeployments"]
    if not found:
        return f"not rolled back: the deployment has ended, and {short(rollout.former)} ran before it too"
    arn = found[0]["serviceDeploymentArn"]
    aws.ask("ecs", "StopServiceDeployment", str(service), serviceDeploymentArn=arn, stopType="ROLLBACK")
    return f"ECS was asked to stop it and to go back to the service's last revision of {short(rollout.former)}"


def why_stopped(aws: Aws, rollout: Rollout) -> str | None:
    """Why a task of a deployment stopped, such as an image that is not there; None where that cannot be known."""
    service = rollout.last
    names = {"cluster": service.cluster, "serviceName": service.name, "desiredStatus": "STOPPED"}
    with contextlib.suppress(FraudError):
        tasks = aws.ask("ecs", "ListTasks", str(service), **names, maxResults=10)["taskArns"]
        if tasks:
            found = aws.ask("ecs", "DescribeTasks", str(service), cluster=service.cluster, tasks=tasks)["tasks"]
            reasons = [one.get("stoppedReason") for one in found if one.get("startedBy") == rollout.id]
            return next(filter(None, reasons), None)
    return None


def _update(aws: Aws, service: EcsService, definition: str) -> dict[str, Any]:
    names = {"cluster": service.cluster, "service": service.name, "taskDefinition": definition}
    answer = aws.ask("ecs", "UpdateService", str(service), **names, forceNewDeployment=True)
    return dict(answer["service"])
