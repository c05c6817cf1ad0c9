"""What Ctrl-C and SIGTERM end, and how that is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType, FunctionType

import polars as pl
import pytest

from fraud3000.signals import Stop

SIGNALS = [(signal.SIGINT, 130, KeyboardInterrupt), (signal.SIGTERM, 143, SystemExit)]

TURNED = """
import os, sys
from fraud3000 import __main__, cli, errors

@cli.app.command()
def asked():
    try:
        os.kill(os.getpid(), SENT)
    except BaseException as error:
        raise ERROR from error

sys.argv = ["fraud3000", "asked"]
sys.exit(__main__.main())
"""


@pytest.fixture
def stop() -> Iterator[Stop]:
    """The handler, installed as long as a test runs."""
    before = {number: signal.getsignal(number) for number, _, _ in SIGNALS}
    stop = Stop()
    stop.install()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def here() -> FrameType:
    return sys._getframe()


def frame_in(module: str) -> FrameType:
    """The frame of a function of the module."""
    frame: FrameType = FunctionType(here.__code__, {"__name__": module, "sys": sys})()
    return frame


@pytest.mark.parametrize("error", ["RuntimeError('a panic')", "BaseException()", "errors.DataError('unreadable')"])
@pytest.mark.parametrize(("sent", "code", "_raised"), SIGNALS)
def test_a_stop_that_a_library_turns_into_its_own_error_is_still_a_stop(
    sent: int, code: int, error: str, _raised: type[BaseException]
) -> None:
    program = TURNED.replace("SENT", str(int(sent))).replace("ERROR", error)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize(("sent", "code", "raised"), SIGNALS)
def test_the_first_signal_is_told(stop: Stop, sent: signal.Signals, code: int, raised: type[BaseException]) -> None:
    with pytest.raises(raised):
        signal.raise_signal(sent)
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    assert stop.code == code


@pytest.mark.parametrize(("sent", "code", "raised"), SIGNALS)
def test_it_waits_while_polars_asks_for_a_type(
    stop: Stop, sent: signal.Signals, code: int, raised: type[BaseException]
) -> None:
    stop(sent, frame_in(pl.Datetime.__module__))
    assert stop.code is None
    with pytest.raises(raised):
        time.sleep(10)
    assert stop.code == code


def test_it_does_not_wait_elsewhere(stop: Stop) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGINT, frame_in(pl.LazyFrame.__module__))


def test_a_job_of_the_background_goes_on_ignoring_ctrl_c(stop: Stop) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop.install()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is stop
