"""Ctrl-C and SIGTERM: what they end, and what they wait for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LATER = 0.01  # seconds


class Stop:
    """A handler that leaves through every `finally`, and knows afterwards that the process was asked to stop.

    What is raised here may come out of a library as an error of its own, so whoever ends the process
    asks `code`, not the error.

    Attributes
    ----------
    code
        The exit code of the first signal, 130 or 143; None before.
    """

    def __init__(self) -> None:
        self.code: int | None = None

    def install(self) -> None:
        """Handle both signals; Ctrl-C stays ignored where it is, as in a job of the background."""
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self)
        signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt or SystemExit, or come again in a moment."""
        if _makes_a_type_for_polars(frame):
            # sent to the main thread: a signal of another would not wake it from what it waits for
            threading.Timer(_LATER, signal.pthread_kill, [threading.main_thread().ident, number]).start()
            return
        self.code = self.code or 128 + number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(self.code)


def _makes_a_type_for_polars(frame: FrameType | None) -> bool:
    """Whether polars' engine waits for a data type: anything raised there is a panic of several pages."""
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("polars.datatypes")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block ends, so that what belongs together is done together."""
    waiting: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    if threading.current_thread() is not threading.main_thread() or None in handlers.values():
        yield
        return
    for number in handlers:
        signal.signal(number, lambda received, _frame: waiting.append(received))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received in waiting:
            signal.raise_signal(received)
