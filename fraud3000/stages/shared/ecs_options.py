"""Options that the commands of `deploy` share: names, timeouts, and what an interruption leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from fraud3000 import durations
from fraud3000.deploy.pace import Pace
from fraud3000.errors import FraudError, ParamsError

CLUSTER, SERVICE = "FRAUD3000_ECS_CLUSTER", "FRAUD3000_ECS_SERVICE"


def parse_timeout(timeout: str) -> Pace:
    """Parse the --timeout option.

    Raises
    ------
    ParamsError
        It is not a duration, or has no unit.

    Examples
    --------
    >>> parse_timeout("10m").timeout, parse_timeout("90s").timeout
    (600, 90)
    """
    try:
        return Pace(durations.seconds(timeout))
    except ValueError as error:
        raise ParamsError(f"--timeout: {error}", hint="Write a number and a unit, such as 10m.") from error


@contextmanager
def report_interruption() -> Iterator[list[str]]:
    """Log what continues in AWS if this process is interrupted; the block appends what it started."""
    started: list[str] = []
    try:
        yield started
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop.__context__, FraudError):
            logger.warning("{}", stop.__context__.message)
        for what in started:
            logger.warning("interrupted: {} continues in AWS", what)
        raise


def required_name(value: str | None, option: str, variable: str) -> str:
    """Return the value of an option, by default that of its environment variable.

    Raises
    ------
    ParamsError
        Neither is set.
    """
    name = value or os.environ.get(variable, "").strip()
    if not name:
        state = "empty" if variable in os.environ else "not set"
        raise ParamsError(f"{option} is not given, and {variable} is {state}", hint=f"Give {option} or set {variable}.")
    return name
