"""Polling with a timeout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from loguru import logger

from fraud3000.errors import UnavailableError

Observation = TypeVar("Observation")


@dataclass(frozen=True)
class Pace:
    """Timeout and interval of polling, in seconds.

    Attributes
    ----------
    timeout
        Time after which polling ends.
    poll
        Interval between two observations.
    clock, sleep
        Replaced in tests.
    """

    timeout: float
    poll: float = 5.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def observe(self, look: Callable[[], Observation]) -> Iterator[Observation]:
        """Yield observations until the timeout; while AWS does not respond, continue to wait.

        Examples
        --------
        >>> numbers = iter(range(9))
        >>> list(Pace(2, poll=1, clock=lambda: next(numbers), sleep=lambda _: None).observe(lambda: "seen"))
        ['seen', 'seen']
        """
        end = self.clock() + self.timeout
        while True:
            try:
                observation = look()
            except UnavailableError as error:
                logger.warning("{}; retrying until the timeout", error.message)
            else:
                yield observation
            remaining = end - self.clock()
            if remaining <= 0:
                return
            self.sleep(min(self.poll, remaining))
