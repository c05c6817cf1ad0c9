"""Log records: their two layouts, levels, and no card number in any of them."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
from loguru import logger

from fraud3000 import logs
from fraud3000.errors import ParamsError

CARD = "4111 1111 1111 1111"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    yield
    logger.remove()
    logging.captureWarnings(capture=False)
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)


def logged(*, style: str = "text", verbosity: int = 0) -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(verbosity, style=style, stream=stream)
    return stream


def test_text_tells_time_level_message_and_fields() -> None:
    stream = logged()
    logs.log_done("prepare", {"rows read": 7, "source": "custom", "sorted": True}, seconds=1.234)
    assert stream.getvalue()[9:] == "info    prepare done rows_read=7 seconds=1.23\n"


def test_no_fraction_passes_for_a_card_number() -> None:
    stream = logged()
    logs.log_done("train", {"prevalence": 0.013670000000000001, "share": 1 / 3, "rows": 17_208}, seconds=2.0)
    assert stream.getvalue()[9:] == "info    train done prevalence=0.01367 share=0.333333 rows=17208 seconds=2.0\n"


def test_json_is_one_object_a_line() -> None:
    stream = logged(style="json")
    logs.log_done("prepare", {"rows read": 7}, seconds=2.0)
    logger.warning("second")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["rows_read"], first["seconds"]) == ("prepare done", 7, 2.0)
    assert (second["level"], second["message"]) == ("warning", "second")
    assert "exception" not in first


@pytest.mark.parametrize("style", logs.STYLES)
def test_no_card_number_in_message_field_or_exception(style: str) -> None:
    stream = logged(style=style)
    logger.bind(found=CARD).info("card {}", CARD)
    secret = CARD
    try:
        int(secret)
    except ValueError:
        logger.exception("failed")
    told = stream.getvalue()
    assert told.count("[card number]") == 3
    assert "1111 1111" not in told
    assert "ValueError" in told
    assert "secret = " not in told


@pytest.mark.parametrize(
    ("verbosity", "lines"), [(0, ["said"]), (1, ["said", "step"]), (2, ["said", "step", "detail"])]
)
def test_verbosity(verbosity: int, lines: list[str]) -> None:
    stream = logged(verbosity=verbosity)
    logger.info("said")
    logger.debug("step")
    logger.trace("detail")
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == lines


@pytest.mark.parametrize(("verbosity", "quiet"), [(0, True), (2, False)])
def test_other_libraries_are_heard_from_warning_on(verbosity: int, quiet: bool) -> None:
    stream = logged(verbosity=verbosity)
    other = logging.getLogger("other_package")
    other.info("starting")
    other.warning("slow disk, card %s", CARD)
    other.log(35, "unusual level")
    told = stream.getvalue()
    assert "slow disk, card [card number]" in told
    assert "unusual level" in told
    assert ("starting" in told) is not quiet


def test_python_warnings_are_records_too() -> None:
    stream = logged()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", stacklevel=1)
    assert "old ways" in stream.getvalue()


def test_the_environment_chooses_the_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD3000_LOG_FORMAT", "json")
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logger.info("hello")
    assert json.loads(stream.getvalue())["message"] == "hello"
    monkeypatch.setenv("FRAUD3000_LOG_FORMAT", "xml")
    with pytest.raises(ParamsError, match="'xml' is not a log format"):
        logs.set_up()


def test_a_value_is_a_number_unless_it_is_one_of_a_card() -> None:
    stream = logged(style="json")
    logger.bind(rows=7, share=0.5, bytes=12_345_678_901, card=4111111111111111, none=float("nan"), at=True).info("x")
    told = json.loads(stream.getvalue(), parse_constant=pytest.fail)
    assert [told[name] for name in ("rows", "share", "bytes", "at")] == [7, 0.5, 12_345_678_901, True]
    assert (told["card"], told["none"]) == ("[card number]", "nan")


def test_a_line_is_a_line_whatever_it_tells() -> None:
    stream = logged(style="json")
    logger.info("one\ntwo\r\nthree\u2028four\x85five \udc80")
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "one\ntwo\r\nthree\u2028four\x85five \udc80"


def test_a_message_that_does_not_fit_its_arguments_is_told_all_the_same() -> None:
    stream = logged()
    logging.getLogger("other_package").warning("%d rows", "x")
    assert stream.getvalue().endswith("%d rows ('x',)\n")


PROCESS = """
import threading
from fraud3000 import logs
logs.set_up()
secret = "4111111111111111"
made = type("Odd", (), {"__del__": lambda self: int(secret + "x")})()
del made
thread = threading.Thread(target=lambda: int(secret + "y"), name="worker")
thread.start()
thread.join()
raise ValueError(secret)
"""


def test_what_nobody_caught_is_a_record_too() -> None:
    environment = {**os.environ, "FRAUD3000_LOG_FORMAT": "json"}
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, env=environment, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [line["level"] for line in lines] == ["error", "error", "critical"]
    assert "worker" in lines[1]["message"]
    assert all("[card number]" in line["exception"] for line in lines)
    assert "4111" not in done.stderr
