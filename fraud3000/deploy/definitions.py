"""Task definitions of ECS: containers, images and revisions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from loguru import logger

from fraud3000.deploy.aws import Aws
from fraud3000.errors import FraudError, ParamsError, nearest

_ECR = re.compile(r"([0-9]{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+):([^:@]+)")


def describe(aws: Aws, definition: str) -> dict[str, Any]:
    """Return a task definition with its tags, by ARN, family or family:revision.

    Raises
    ------
    ParamsError
        It does not exist.
    """
    thing = f"task definition '{short_name(definition)}'"
    answer = aws.call("ecs", "DescribeTaskDefinition", thing, taskDefinition=definition, include=["TAGS"])
    return {**answer["taskDefinition"], "tags": answer.get("tags", [])}


def container_name(definition: Mapping[str, Any], name: str | None, likely: Sequence[str | None] = ()) -> str:
    """Choose a container by name; without a name the only one, or the first that is likely.

    Examples
    --------
    >>> two = {"family": "web", "containerDefinitions": [{"name": "api"}, {"name": "proxy"}]}
    >>> container_name(two, None, ["web", "api"])
    'api'
    >>> container_name(two, "job")
    Traceback (most recent call last):
    fraud3000.errors.ParamsError: task definition 'web': no container 'job'; found: 'api', 'proxy'
    Hint: Choose one of its containers with --container.
    """
    names = [container["name"] for container in definition["containerDefinitions"]]
    matching = [candidate for candidate in ([name] if name else likely) if candidate in names]
    if matching or (len(names) == 1 and not name):
        return str([*matching, *names][0])
    problem = f"no container '{name}'" if name else "it has several containers, and none is chosen"
    raise ParamsError(
        f"task definition '{definition['family']}': {problem}; {nearest(name or '', names)}",
        hint="Choose one of its containers with --container.",
    )


def short_name(arn: str) -> str:
    """Return the last part of an ARN.

    Examples
    --------
    >>> short_name("arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7")
    'web:7'
    """
    return arn.rpartition("/")[2]


def with_tag(image: str, tag: str) -> str:
    """Replace the tag or digest of an image.

    Examples
    --------
    >>> with_tag("registry:5000/fraud3000:a1", "b2"), with_tag("fraud3000@sha256:0c", "b2")
    ('registry:5000/fraud3000:b2', 'fraud3000:b2')
    """
    folder, slash, name = image.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}:{tag}"


def check_image(aws: Aws, image: str) -> None:
    """Raise an error if the image is missing in its ECR repository; only warn if that cannot be checked."""
    match = _ECR.fullmatch(image)
    if match is None:
        return
    registry, region, repository, tag = match.groups()
    names = {"registryId": registry, "repositoryName": repository, "imageIds": [{"imageTag": tag}]}
    try:
        aws.call("ecr", "DescribeImages", f"image {image}", region=region, **names)
    except FraudError as error:
        code = error.code or ""
        if code not in ("ImageNotFoundException", "RepositoryNotFoundException"):
            logger.warning("could not check whether the image exists: {}", error.message)
            return
        problem = f"no tag '{tag}'" if code.startswith("Image") else "no such repository"
        raise ParamsError(
            f"image {image}: {problem} in ECR in {region}", hint="Push the image first, or check --image-tag."
        ) from error


def container_definition(definition: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a container of a task definition."""
    container: Mapping[str, Any] = next(one for one in definition["containerDefinitions"] if one["name"] == name)
    return container


def register(aws: Aws, definition: Mapping[str, Any], container: str, image: str) -> str:
    """Register a new revision of a task definition with another image, and return its ARN.

    Raises
    ------
    FraudError
        AWS rejects it, or does not respond.
    """
    model = aws.client("ecs").meta.service_model.operation_model("RegisterTaskDefinition")
    same = {name: value for name, value in definition.items() if name in model.input_shape.members and value}
    same["containerDefinitions"] = [
        {**one, "image": image} if one["name"] == container else one for one in definition["containerDefinitions"]
    ]
    answer = aws.call("ecs", "RegisterTaskDefinition", f"task definition '{definition['family']}'", **same)
    return str(answer["taskDefinition"]["taskDefinitionArn"])
