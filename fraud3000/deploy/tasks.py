"""Standalone ECS tasks, and the last lines of their logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fraud3000.deploy.aws import RETRY_LATER, Aws
from fraud3000.deploy.definitions import container_definition, short_name
from fraud3000.errors import ParamsError, UnavailableError


def start(aws: Aws, cluster: str, definition: Mapping[str, Any], where: Mapping[str, Any], **override: Any) -> str:
    """Start one task and return its ARN.

    Parameters
    ----------
    where
        Network configuration, launch type or capacity providers.
    override
        Name and command of the container.

    Raises
    ------
    UnavailableError
        The cluster has no capacity for it now.
    """
    name = f"{definition['family']}:{definition['revision']}"
    thing = f"task definition '{name}' on cluster '{cluster}'"
    arguments = {"overrides": {"containerOverrides": [override]}, "startedBy": "fraud3000", **where}
    answer = aws.call("ecs", "RunTask", thing, cluster=cluster, taskDefinition=name, **arguments)
    if not answer["tasks"]:
        reasons = ", ".join(one.get("reason", "") for one in answer.get("failures", ()))
        raise UnavailableError(f"{thing}: no task was started ({reasons or 'no reason given'})", hint=RETRY_LATER)
    return str(answer["tasks"][0]["taskArn"])


def task(aws: Aws, cluster: str, arn: str) -> dict[str, Any]:
    """Return the description of a task; empty in its first moments."""
    tasks = aws.call("ecs", "DescribeTasks", f"task {short_name(arn)}", cluster=cluster, tasks=[arn])["tasks"]
    return dict(tasks[0]) if tasks else {}


def log_stream(definition: Mapping[str, Any], container: str, arn: str) -> dict[str, str] | None:
    """Return region, group and stream of a container's log in CloudWatch; None if it logs elsewhere."""
    settings = container_definition(definition, container).get("logConfiguration", {})
    options = settings.get("options", {})
    if settings.get("logDriver") != "awslogs" or "awslogs-stream-prefix" not in options:
        return None
    stream = f"{options['awslogs-stream-prefix']}/{container}/{short_name(arn)}"
    return {"region": options.get("awslogs-region"), "group": options["awslogs-group"], "stream": stream}


def log_lines(aws: Aws, stream: Mapping[str, str], most: int) -> list[str]:
    """Return the last lines of a log stream; none if it does not exist yet.

    Raises
    ------
    FraudError
        Reading it is not allowed, or AWS does not respond.
    """
    names = {"logGroupName": stream["group"], "logStreamName": stream["stream"]}
    thing = f"log stream {stream['group']} {stream['stream']}"
    try:
        answer = aws.call("logs", "GetLogEvents", thing, region=stream["region"], **names, limit=most)
    except ParamsError as error:
        if error.code != "ResourceNotFoundException":
            raise
        return []
    return [str(event["message"]) for event in answer["events"]]
