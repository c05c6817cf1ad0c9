"""Current problems that keep the service from accepting transactions, by cause."""

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
    """Current problems of the service; logs each once when it begins and once when it ends.

    Attributes
    ----------
    checks
        Run periodically by maintenance; each raises an UnavailableError while there is a problem of its cause.
    clock
        Time source of background tasks.
    """

    def __init__(self) -> None:
        self.clock: Now = wall
        self.checks: dict[Cause, Callable[[], object]] = {}
        self._problems: dict[Cause, UnavailableError] = {}

    def note(self, cause: Cause, error: UnavailableError | None) -> None:
        """Set or clear the problem of a cause."""
        before = self._problems.pop(cause, None)
        if error is not None:
            self._problems[cause] = error
            if before is None:
                logger.error("not ready cause={} {} ({})", cause, error.message, error.hint)
        elif before is not None:
            logger.info("ready again cause={}", cause)

    def problem(self, cause: Cause | None = None) -> UnavailableError | None:
        """Return the problem of a cause, or of any cause; None if there is none."""
        if cause is not None:
            return self._problems.get(cause)
        return next(iter(self._problems.values()), None)

    def require_store(self) -> None:
        """Refuse to read or write a store whose files are not in place.

        Raises
        ------
        UnavailableError
            With the path of the file.
        """
        if self._problems and (error := self._problems.get("store")) is not None:
            raise UnavailableError(error.message, hint=error.hint)
