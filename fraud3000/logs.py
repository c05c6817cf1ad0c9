"""Log records on stderr, as text or as JSON lines, with card numbers taken out."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from loguru import logger

from fraud3000.errors import ParamsError
from fraud3000.redact import mask

if TYPE_CHECKING:
    from loguru import Message, Record

VARIABLE = "FRAUD3000_LOG_FORMAT"
STYLES = ("text", "json")
_LEVELS = ("INFO", "DEBUG", "TRACE")
_CHECKED = "request_id"
"""A field that who binds it has checked for card numbers: an id may look like one by chance, and must stay whole."""

_SHORTEST_CARD = 10**10


def set_up(verbosity: int = 0, *, style: str | None = None, stream: TextIO | None = None) -> None:
    """Send every record of this process, other libraries' too, to one stream; and what nobody caught.

    Parameters
    ----------
    verbosity
        0 for what a run has to say, 1 (``-v``) for its steps, 2 (``-vv``) for other libraries' as well.
    style
        ``text`` or ``json``, one object a line; by default what FRAUD3000_LOG_FORMAT says, else text.
    stream
        stderr where none is given.

    Raises
    ------
    ParamsError
        The style is neither.
    """
    style = style or os.environ.get(VARIABLE) or STYLES[0]
    if style not in STYLES:
        raise ParamsError(f"{VARIABLE}: '{style}' is no log format", hint=f"Set it to one of {', '.join(STYLES)}.")
    place = stream or sys.stderr
    layout = _as_json if style == "json" else _as_text
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]

    def write(message: Message) -> None:
        place.write(layout(message.record) + "\n")
        place.flush()

    logger.remove()
    # Each line is laid out by us: loguru would append tracebacks unmasked.
    logger.add(write, level=level, format="", diagnose=False, backtrace=False)
    logging.basicConfig(handlers=[_Forward()], level=logging.INFO if verbosity > 1 else logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    _hear_what_nobody_caught(process=style == "json")


def done(stage: str, facts: Mapping[str, Any], *, seconds: float) -> None:
    """Log that a stage is done, in one line of key=value; only numbers are told, never an id."""
    counts = {name.replace(" ", "_"): _short(value) for name, value in facts.items() if type(value) in (int, float)}
    logger.bind(**counts, seconds=round(seconds, 2)).info("{} done", stage)


def _short(value: float) -> float:
    """Keep six digits of a fraction: more of them could pass for a card number and be masked."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _as_text(record: Record) -> str:
    fields = "".join(f" {name}={_field(name, value)}" for name, value in record["extra"].items() if value != "")
    line = f"{record['time']:HH:mm:ss} {record['level'].name.lower():<7} {mask(record['message'])}{fields}"
    return "\n".join(filter(None, [line, mask(_traceback(record))]))


def _as_json(record: Record) -> str:
    fields = {
        "time": record["time"].isoformat(),
        "level": record["level"].name.lower(),
        "module": record["name"],
        "message": record["message"],
        **record["extra"],
        "exception": _traceback(record),
    }
    return json.dumps({name: _field(name, value) for name, value in fields.items() if value != ""})


def _field(name: str, value: Any) -> Any:
    """A value as it is told: numbers as they are, if they are none of cards, and all else as masked text."""
    number = isinstance(value, int | float) and math.isfinite(value)
    if number and abs(value) < _SHORTEST_CARD:
        return value
    told = str(value)
    masked = told if name == _CHECKED else mask(told)
    return value if number and masked == told else masked


def _traceback(record: Record) -> str:
    error = record["exception"]
    if error is None or error.value is None:
        return ""
    return "".join(traceback.format_exception(error.value)).rstrip()


class _Forward(logging.Handler):
    """Records of the standard library's loggers, passed on to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        def name_it(ours: Record) -> None:
            ours["name"] = record.name

        known = record.levelname in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        log = logger.opt(exception=record.exc_info).patch(name_it)
        log.log(record.levelname if known else record.levelno, "{}", _said(record))


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().rstrip()
    except (TypeError, ValueError, KeyError):  # its arguments do not fit; what logs must not fail
        return f"{record.msg} {record.args}"


def _hear_what_nobody_caught(*, process: bool) -> None:
    """Make records of what would be printed as it is: errors that end a thread or come up in a destructor.

    Where somebody listens already, that stays.

    Parameters
    ----------
    process
        Likewise for the error that ends the process.
    """
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _ended_a_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _raised_nowhere
    if process:
        sys.excepthook = _ended_the_process


def _ended_a_thread(told: threading.ExceptHookArgs) -> None:
    name = "a thread" if told.thread is None else f"the thread {told.thread.name}"
    logger.opt(exception=told.exc_value).error("{} ended by an error that nobody caught", name)


def _raised_nowhere(told: sys.UnraisableHookArgs) -> None:
    logger.opt(exception=told.exc_value).error("{}", told.err_msg or "an error that nobody could catch")


def _ended_the_process(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    logger.opt(exception=error).critical("this is a bug in fraud3000, not in your data: please report it")
