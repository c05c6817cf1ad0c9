"""Options and choices that several commands have."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", metavar="NAME", help="champion, challenger or a version.")]
EcsCluster = Annotated[
    str | None, typer.Option("--cluster", metavar="NAME", help="ECS cluster [default: FRAUD3000_ECS_CLUSTER].")
]
EcsService = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="ECS service [default: FRAUD3000_ECS_SERVICE].")
]
EcsContainer = Annotated[
    str | None, typer.Option("--container", metavar="NAME", help="Container of the task, if it has several.")
]


class Stage(StrEnum):
    """Alias that a version gets: staging is the challenger, production the champion."""

    STAGING = "staging"
    PRODUCTION = "production"


class Split(StrEnum):
    """Splits whose labels are known."""

    VALID = "valid"
    TEST = "test"


class Reasons(StrEnum):
    """Rows for which reasons are written."""

    ALERTS = "alerts"
    ALL = "all"
    NONE = "none"


class Scope(StrEnum):
    """What an API key allows."""

    SCORE = "score"
    LABEL = "label"
    READ = "read"
    ADMIN = "admin"
