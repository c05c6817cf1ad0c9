"""Handling of Ctrl-C and SIGTERM, and blocks of code that they do not interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_RETRY_SECONDS = 0.01


class Stop:
    """Signal handler that raises, so that every `finally` runs, and records that the process was asked to stop.

    A library may turn the exception raised here into an error of its own; therefore the caller that ends
    the process checks `code`, not the exception.

    Attributes
    ----------
    code
        The exit code for the first signal, 130 or 143; None before any signal.
    """

    def __init__(self) -> None:
        self.code: int | None = None

    def install(self) -> None:
        """Handle both signals; if SIGINT is ignored, as in a background job, it stays ignored."""
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self)
        signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt or SystemExit, or send the signal again a little later."""
        if _in_polars_type_callback(frame):
            # sent to the main thread: a signal to another thread would not end a blocking call of the main thread
            threading.Timer(_RETRY_SECONDS, signal.pthread_kill, [threading.main_thread().ident, number]).start()
            return
        self.code = self.code or 128 + number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(self.code)


def _in_polars_type_callback(frame: FrameType | None) -> bool:
    """Whether polars is calling Python for a data type: an exception raised there makes its engine panic."""
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("polars.datatypes")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block ends, so that its steps are completed together."""
    pending: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    if threading.current_thread() is not threading.main_thread() or None in handlers.values():
        yield
        return
    for number in handlers:
        signal.signal(number, lambda received, _frame: pending.append(received))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received in pending:
            signal.raise_signal(received)
