"""Wall clock of the service, checked against the monotonic clock and the journal.

A wall clock that is wrong for seconds would do lasting harm: a label recorded in 2046 stays unknown for twenty years, and a
card whose newest transaction lies in 2046 has null features until then. So a reading that jumps is refused, and the service
accepts nothing until the clock is right again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fraud3000.durations import text
from fraud3000.errors import UnavailableError

Now = Callable[[], datetime]


def elapsed() -> float:
    """Return monotonic seconds that include suspend time and do not depend on the wall clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall() -> datetime:
    """Return the wall-clock time, in UTC."""
    return datetime.now(UTC)


class CheckedClock:
    """Wall clock that raises an error if it does not advance with the monotonic clock.

    Parameters
    ----------
    jump
        By how much the two may differ between consecutive readings.
    now, elapsed
        Read the wall clock, and the seconds of the monotonic clock.

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
        """Return the wall-clock time.

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
                hint="Set the clock, then send the request again; if the clock is right now, restart the service.",
            )
        self.problem = None
        self._last = now, seconds
        return now


def require_plausible(now: datetime, last: datetime | None, *, jump: timedelta, gap: timedelta) -> None:
    """Refuse to start if the wall clock does not fit the time at which the last entry of the journal was received.

    Parameters
    ----------
    last
        When the last entry was received; None if there is no entry.
    jump
        By how much the clock may be earlier than the last entry.
    gap
        By how much it may be later.

    Raises
    ------
    UnavailableError
        With the two times and what to do.
    """
    if last is None:
        return
    if now > last + gap:
        raise UnavailableError(
            f"the clock of this machine shows {now:%Y-%m-%d %H:%M} UTC, {text(round((now - last).total_seconds()))} after "
            f"the last entry of the journal (serve.clock.gap is {text(round(gap.total_seconds()))})",
            hint="Set the clock; if it is right, set serve.clock.gap to more than that.",
        )
    if now < last - jump:
        raise UnavailableError(
            f"the last entry of the journal was received at {last:%Y-%m-%d %H:%M} UTC, and the clock of this machine shows "
            f"{now:%Y-%m-%d %H:%M} UTC",
            hint="Set the clock; if it is right, repair the journal with `fraud3000 audit repair --reason …`.",
        )
