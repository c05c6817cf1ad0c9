"""Wall clock of the service, checked against the monotonic clock and the journal.

A wall clock that is wrong for seconds would do lasting harm: a label recorded in 2046 stays unknown for twenty years, and a
card whose newest transaction lies in 2046 has null features until then. So a reading that jumps is refused, and nothing is
taken until the clock is right again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fraud3000.durations import text
from fraud3000.errors import UnavailableError

Now = Callable[[], datetime]


def elapsed() -> float:
    """Seconds since some moment, also while the machine sleeps; no setting of the wall clock changes it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


class CheckedClock:
    """The wall clock, as long as it moves as the monotonic clock does.

    Parameters
    ----------
    jump
        By how much the two may differ between one reading and the next.
    now, elapsed
        The wall clock, and seconds of the monotonic clock.

    Attributes
    ----------
    problem
        Why the last reading was refused; None if it was not.
    """

    def __init__(self, jump: timedelta, *, now: Now = wall, elapsed: Callable[[], float] = elapsed) -> None:
        self._jump, self._now, self._elapsed = jump, now, elapsed
        self._last = now(), elapsed()
        self.problem: str | None = None

    def __call__(self) -> datetime:
        """The time.

        Raises
        ------
        UnavailableError
            The clock has jumped.
        """
        now, seconds = self._now(), self._elapsed()
        before, seconds_before = self._last
        off = now - before - timedelta(seconds=seconds - seconds_before)
        if abs(off) > self._jump:
            self.problem = (
                f"it jumped {'ahead' if off > timedelta(0) else 'back'} by {text(round(abs(off.total_seconds())))}"
            )
            raise UnavailableError(
                f"the clock of this machine is wrong: {self.problem} (serve.clock.jump is "
                f"{text(round(self._jump.total_seconds()))})",
                hint="Set the clock right, and send it again; if it is right now, restart the service.",
            )
        self.problem = None
        self._last = now, seconds
        return now


def require_plausible(now: datetime, last: datetime | None, *, jump: timedelta, gap: timedelta) -> None:
    """Refuse to start if the wall clock does not fit the time at which the last entry of the journal was received.

    Parameters
    ----------
    last
        None if there is no entry.
    jump
        How far the clock may lie before the last entry.
    gap
        How far it may lie behind.

    Raises
    ------
    UnavailableError
        Saying by how much, and what to do.
    """
    if last is None:
        return
    if now > last + gap:
        raise UnavailableError(
            f"the clock of this machine shows {now:%Y-%m-%d %H:%M} UTC, {text(round((now - last).total_seconds()))} after "
            f"the last entry of the journal (serve.clock.gap is {text(round(gap.total_seconds()))})",
            hint="Set the clock right; if it is right, set serve.clock.gap to more than that.",
        )
    if now < last - jump:
        raise UnavailableError(
            f"the last entry of the journal was received at {last:%Y-%m-%d %H:%M} UTC, and the clock of this machine shows "
            f"{now:%Y-%m-%d %H:%M} UTC",
            hint="Set the clock right; if it is right, repair the journal with `fraud3000 audit repair --reason …`.",
        )
