"""A service of ECS, as it is at one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraud3000.deploy.aws import Aws
from fraud3000.deploy.definitions import short
from fraud3000.errors import FraudError, ParamsError, nearest


@dataclass(frozen=True)
class EcsService:
    """What ECS tells of a service at one moment.

    Attributes
    ----------
    cluster, name
        As they were asked for.
    told
        The answer of DescribeServices.
    """

    cluster: str
    name: str
    told: Mapping[str, Any]

    @classmethod
    def of(cls, aws: Aws, cluster: str, name: str) -> EcsService:
        """Ask for it.

        Raises
        ------
        ParamsError
            There is no such cluster or service in this account and region.
        """
        thing = f"service '{name}' of cluster '{cluster}'"
        try:
            answer = aws.ask("ecs", "DescribeServices", thing, cluster=cluster, services=[name])
        except ParamsError as error:
            if error.code != "ClusterNotFoundException":
                raise
            raise _missing(aws, f"cluster '{cluster}'", cluster, "ListClusters", "--cluster") from error
        active = [one for one in answer["services"] if one["status"] != "INACTIVE"]
        if not active:
            raise _missing(aws, thing, name, "ListServices", "--service", cluster=cluster)
        return cls(cluster, name, active[0])

    def __str__(self) -> str:
        return f"service '{self.name}' of cluster '{self.cluster}'"

    @property
    def definition(self) -> str:
        """The task definition it is to run."""
        return str(self.told["taskDefinition"])

    @property
    def deployments(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.told.get("deployments", ()))

    @property
    def primary(self) -> Mapping[str, Any]:
        """The newest deployment; empty where something else than ECS deploys."""
        return next((one for one in self.deployments if one["status"] == "PRIMARY"), {})

    @property
    def former(self) -> str:
        """The task definition that last became steady, or where none did the one that is to run."""
        done = [one for one in self.deployments if one.get("rolloutState") == "COMPLETED"]
        return self.definition if not done or self.primary in done else str(done[0]["taskDefinition"])

    @property
    def events(self) -> tuple[Mapping[str, Any], ...]:
        """What happened, newest first."""
        return tuple(self.told.get("events", ()))

    @property
    def steady(self) -> bool:
        """Whether one deployment is left, is done, and runs as many tasks as it should."""
        done = self.primary.get("rolloutState", "COMPLETED") == "COMPLETED"
        return done and len(self.deployments) <= 1 and self.told["runningCount"] == self.told["desiredCount"]

    @property
    def heals(self) -> bool:
        """Whether ECS itself rolls a failed deployment back."""
        breaker = self.told.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {})
        return bool(breaker.get("enable") and breaker.get("rollback"))

    @property
    def running(self) -> str:
        return f"running {self.told['runningCount']} of {self.told['desiredCount']}"


def _missing(aws: Aws, thing: str, name: str, action: str, option: str, **given: str) -> ParamsError:
    """Something that is not there, with the names there are where they may be listed."""
    arns: list[str] = []
    with contextlib.suppress(FraudError):
        answer = aws.ask("ecs", action, thing, **given)
        arns = answer["clusterArns" if action == "ListClusters" else "serviceArns"]
    found = f"; {nearest(name, [short(arn) for arn in arns])}" if arns else ""
    return ParamsError(
        f"{thing}: not found in {aws.region}{found}", hint=f"Check {option}, AWS_REGION and the AWS account."
    )
