"""One task of ECS beside a service, and the last lines of its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fraud3000.deploy.aws import LATER, Aws
from fraud3000.deploy.definitions import container_of, short
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
        There is no room for it now.
    """
    name = f"{definition['family']}:{definition['revision']}"
    thing = f"task definition '{name}' on cluster '{cluster}'"
    given = {"overrides": {"containerOverrides": [override]}, "startedBy": "fraud3000", **where}
    answer = aws.ask("ecs", "RunTask", thing, cluster=cluster, taskDefinition=name, **given)
    if not answer["tasks"]:
        reasons = ", ".join(one.get("reason", "") for one in answer.get("failures", ()))
        raise UnavailableError(f"{thing}: no task was started ({reasons or 'no reason given'})", hint=LATER)
    return str(answer["tasks"][0]["taskArn"])


def task(aws: Aws, cluster: str, arn: str) -> dict[str, Any]:
    """What ECS tells of a task; nothing yet, in its first moments."""
    found = aws.ask("ecs", "DescribeTasks", f"task {short(arn)}", cluster=cluster, tasks=[arn])["tasks"]
    return dict(found[0]) if found else {}


def log_stream(definition: Mapping[str, Any], container: str, arn: str) -> dict[str, str] | None:
    """Region, group and stream in CloudWatch to which a task's container logs; None where it logs elsewhere."""
    settings = container_of(definition, container).get("logConfiguration", {})
    options = settings.get("options", {})
    if settings.get("logDriver") != "awslogs" or "awslogs-stream-prefix" not in options:
        return None
    stream = f"{options['awslogs-stream-prefix']}/{container}/{short(arn)}"
    return {"region": options.get("awslogs-region"), "group": options["awslogs-group"], "stream": stream}


def log_lines(aws: Aws, place: Mapping[str, str], most: int) -> list[str]:
    """The last lines of a log stream; none where it is not there yet.

    Raises
    ------
    FraudError
        It may not be read, or not now.
    """
    names = {"logGroupName": place["group"], "logStreamName": place["stream"]}
    thing = f"log stream {place['group']} {place['stream']}"
    try:
        answer = aws.ask("logs", "GetLogEvents", thing, region=place["region"], **names, limit=most)
    except ParamsError as error:
        if error.code != "ResourceNotFoundException":
            raise
        return []
    return [str(event["message"]) for event in answer["events"]]
