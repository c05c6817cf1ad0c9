"""Task definitions of ECS: their containers, images and revisions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from loguru import logger

from fraud3000.deploy.aws import Aws
from fraud3000.errors import FraudError, ParamsError, nearest

_ECR = re.compile(r"([0-9]{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+):([^:@]+)")


def described(aws: Aws, definition: str) -> dict[str, Any]:
    """A task definition with its tags, by ARN, family or family:revision.

    Raises
    ------
    ParamsError
        There is none.
    """
    thing = f"task definition '{short(definition)}'"
    answer = aws.ask("ecs", "DescribeTaskDefinition", thing, taskDefinition=definition, include=["TAGS"])
    return {**answer["taskDefinition"], "tags": answer.get("tags", [])}


def container_name(definition: Mapping[str, Any], wanted: str | None, likely: Sequence[str | None] = ()) -> str:
    """The container that is meant: the one named, the only one, or the first likely one.

    Examples
    --------
    >>> two = {"family": "web", "containerDefinitions": [{"name": "api"}, {"name": "proxy"}]}
    >>> container_name(two, None, ["web", "api"])
    'api'
    >>> container_name(two, "job")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: task definition 'web': no container 'job'; found: 'api', 'proxy'
    Hint: Name one of its containers with --container.
    """
    names = [one["name"] for one in definition["containerDefinitions"]]
    found = [one for one in ([wanted] if wanted else likely) if one in names]
    if found or (len(names) == 1 and not wanted):
        return str([*found, *names][0])
    lacks = f"no container '{wanted}'" if wanted else "which of its containers is meant is not known"
    raise ParamsError(
        f"task definition '{definition['family']}': {lacks}; {nearest(wanted or '', names)}",
        hint="Name one of its containers with --container.",
    )


def short(arn: str) -> str:
    """The last part of an ARN.

    Examples
    --------
    >>> short("arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7")
    'web:7'
    """
    return arn.rpartition("/")[2]


def with_tag(image: str, tag: str) -> str:
    """An image with another tag, in place of its tag or digest.

    Examples
    --------
    >>> with_tag("registry:5000/fraud3000:a1", "b2"), with_tag("fraud3000@sha256:0c", "b2")
    ('registry:5000/fraud3000:b2', 'fraud3000:b2')
    """
    folder, slash, name = image.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}:{tag}"


def check_image(aws: Aws, image: str) -> None:
    """Refuse an image that its repository in ECR does not have, where that may be asked."""
    match = _ECR.fullmatch(image)
    if match is None:
        return
    registry, region, repository, tag = match.groups()
    names = {"registryId": registry, "repositoryName": repository, "imageIds": [{"imageTag": tag}]}
    try:
        aws.ask("ecr", "DescribeImages", f"image {image}", region=region, **names)
    except FraudError as error:
        code = error.code or ""
        if code not in ("ImageNotFoundException", "RepositoryNotFoundException"):
            logger.warning("it cannot be told whether the image is there: {}", error.message)
            return
        lacks = f"no tag '{tag}'" if code.startswith("Image") else "no such repository"
        raise ParamsError(
            f"image {image}: {lacks} in ECR in {region}", hint="Push the image first, or check --image-tag."
        ) from error


def container_of(definition: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A container of a task definition, as it is defined there."""
    found: Mapping[str, Any] = next(one for one in definition["containerDefinitions"] if one["name"] == name)
    return found


def registered(aws: Aws, definition: Mapping[str, Any], container: str, image: str) -> str:
    """Register a task definition with another image, and return the ARN of the new revision.

    Raises
    ------
    FraudError
        It may not be registered, or not now.
    """
    model = aws.client("ecs").meta.service_model.operation_model("RegisterTaskDefinition")
    same = {name: value for name, value in definition.items() if name in model.input_shape.members and value}
    same["containerDefinitions"] = [
        {**one, "image": image} if one["name"] == container else one for one in definition["containerDefinitions"]
    ]
    answer = aws.ask("ecs", "RegisterTaskDefinition", f"task definition '{definition['family']}'", **same)
    return str(answer["taskDefinition"]["taskDefinitionArn"])
