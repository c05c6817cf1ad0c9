"""How long to wait for something far away, and how often to look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from loguru import logger

from fraud3000.errors import UnavailableError

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Pace:
    """How long to wait, and how often to look; in seconds.

    Attributes
    ----------
    timeout
        After which waiting ends.
    poll
        Between two looks.
    clock, sleep
        What tells the time, and what lets it pass.
    """

    timeout: float
    poll: float = 5.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def looks(self, look: Callable[[], Seen]) -> Iterator[Seen]:
        """Look again and again until time is up; while AWS does not answer, wait on.

        Examples
        --------
        >>> numbers = iter(range(9))
        >>> list(Pace(2, poll=1, clock=lambda: next(numbers), sleep=lambda _: None).looks(lambda: "seen"))
        ['seen', 'seen']
        """
        end = self.clock() + self.timeout
        while True:
            try:
                seen = look()
            except UnavailableError as error:
                logger.warning("{}; looking again until the time is up", error.message)
            else:
                yield seen
            left = end - self.clock()
            if left <= 0:
                return
            self.sleep(min(self.poll, left))
