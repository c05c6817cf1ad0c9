"""State of an ECS service at one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraud3000.deploy.aws import Aws
from fraud3000.deploy.definitions import short_name
from fraud3000.errors import FraudError, ParamsError, nearest


@dataclass(frozen=True)
class EcsService:
    """State of an ECS service at one moment.

    Attributes
    ----------
    cluster, name
        Names of the cluster and the service.
    description
        Response of DescribeServices.
    """

    cluster: str
    name: str
    description: Mapping[str, Any]

    @classmethod
    def from_aws(cls, aws: Aws, cluster: str, name: str) -> EcsService:
        """Read the state of a service.

        Raises
        ------
        ParamsError
            The cluster or service does not exist in this account and region.
        """
        thing = f"service '{name}' of cluster '{cluster}'"
        try:
            answer = aws.call("ecs", "DescribeServices", thing, cluster=cluster, services=[name])
        except ParamsError as error:
            if error.code != "ClusterNotFoundException":
                raise
            raise _missing(aws, f"cluster '{cluster}'", cluster, "ListClusters", "--cluster") from error
        active = [service for service in answer["services"] if service["status"] != "INACTIVE"]
        if not active:
            raise _missing(aws, thing, name, "ListServices", "--service", cluster=cluster)
        return cls(cluster, name, active[0])

    def __str__(self) -> str:
        return f"service '{self.name}' of cluster '{self.cluster}'"

    @property
    def definition(self) -> str:
        """Task definition of the newest deployment."""
        return str(self.description["taskDefinition"])

    @property
    def deployments(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.description.get("deployments", ()))

    @property
    def primary(self) -> Mapping[str, Any]:
        """Newest deployment; empty if another controller than ECS deploys."""
        return next((one for one in self.deployments if one["status"] == "PRIMARY"), {})

    @property
    def previous(self) -> str:
        """Task definition that last became steady; without one, that of the newest deployment."""
        done = [one for one in self.deployments if one.get("rolloutState") == "COMPLETED"]
        return self.definition if not done or self.primary in done else str(done[0]["taskDefinition"])

    @property
    def events(self) -> tuple[Mapping[str, Any], ...]:
        """Events of the service, newest first."""
        return tuple(self.description.get("events", ()))

    @property
    def steady(self) -> bool:
        """True if one deployment is left, is completed, and runs as many tasks as desired."""
        done = self.primary.get("rolloutState", "COMPLETED") == "COMPLETED"
        return (
            done and len(self.deployments) <= 1 and self.description["runningCount"] == self.description["desiredCount"]
        )

    @property
    def rolls_back_failures(self) -> bool:
        """True if ECS rolls back failed deployments itself (circuit breaker)."""
        breaker = self.description.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {})
        return bool(breaker.get("enable") and breaker.get("rollback"))

    @property
    def running(self) -> str:
        return f"running {self.description['runningCount']} of {self.description['desiredCount']}"


def _missing(aws: Aws, thing: str, name: str, action: str, option: str, **arguments: str) -> ParamsError:
    """Return the error for a missing cluster or service, with similar names if they can be listed."""
    arns: list[str] = []
    with contextlib.suppress(FraudError):
        answer = aws.call("ecs", action, thing, **arguments)
        arns = answer["clusterArns" if action == "ListClusters" else "serviceArns"]
    similar = f"; {nearest(name, [short_name(arn) for arn in arns])}" if arns else ""
    return ParamsError(
        f"{thing}: not found in {aws.region}{similar}", hint=f"Check {option}, AWS_REGION and the AWS account."
    )
