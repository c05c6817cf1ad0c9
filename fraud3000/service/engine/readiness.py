"""What keeps the service from taking transactions, by its cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from loguru import logger

from fraud3000.errors import UnavailableError
from fraud3000.service.engine.clock import Now, wall

Cause = Literal["store", "disk", "clock"]
CAUSES: tuple[Cause, ...] = ("store", "disk", "clock")
"""The store's files are not in place; the journal cannot be written; the wall clock jumped."""


class Readiness:
    """Problems that the service has now; each is logged once when it begins, and once when it ends.

    Attributes
    ----------
    checks
        Run again and again; each raises an UnavailableError while there is a problem of its cause.
    clock
        The time, for all that the service does beside answering.
    """

    def __init__(self) -> None:
        self.clock: Now = wall
        self.checks: dict[Cause, Callable[[], object]] = {}
        self._problems: dict[Cause, UnavailableError] = {}

    def note(self, cause: Cause, error: UnavailableError | None) -> None:
        """Set or clear a problem."""
        before = self._problems.pop(cause, None)
        if error is not None:
            self._problems[cause] = error
            if before is None:
                logger.error("not ready cause={} {} ({})", cause, error.message, error.hint)
        elif before is not None:
            logger.info("ready again cause={}", cause)

    def problem(self, cause: Cause | None = None) -> UnavailableError | None:
        """The problem of a cause, or any; None if there is none."""
        if cause is not None:
            return self._problems.get(cause)
        return next(iter(self._problems.values()), None)

    def require_store(self) -> None:
        """Refuse to read or write a store whose files are not in place.

        Raises
        ------
        UnavailableError
            Naming the file.
        """
        if self._problems and (error := self._problems.get("store")) is not None:
            raise UnavailableError(error.message, hint=error.hint)
