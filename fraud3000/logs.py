"""Logging to stderr as text or JSON lines, with card numbers masked."""

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
"""A field that its caller has already checked for card numbers; it is not masked, since an id may look like one by chance."""

_SHORTEST_CARD = 10**10


def set_up(verbosity: int = 0, *, style: str | None = None, stream: TextIO | None = None) -> None:
    """Configure logging: all records of this process, of other libraries and of uncaught errors go to one stream.

    Parameters
    ----------
    verbosity
        0 for info records, 1 (``-v``) for debug records, 2 (``-vv``) for trace records and those of other libraries.
    style
        ``text`` or ``json`` (one object per line); the default is FRAUD3000_LOG_FORMAT, else text.
    stream
        Where to write; the default is stderr.

    Raises
    ------
    ParamsError
        The style is unknown.
    """
    style = style or os.environ.get(VARIABLE) or STYLES[0]
    if style not in STYLES:
        raise ParamsError(f"{VARIABLE}: '{style}' is not a log format", hint=f"Set it to one of {', '.join(STYLES)}.")
    output = stream or sys.stderr
    layout = _as_json if style == "json" else _as_text
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]

    def write(message: Message) -> None:
        output.write(layout(message.record) + "\n")
        output.flush()

    logger.remove()
    # Each line is formatted here, because loguru would append tracebacks unmasked.
    logger.add(write, level=level, format="", diagnose=False, backtrace=False)
    logging.basicConfig(handlers=[_Forward()], level=logging.INFO if verbosity > 1 else logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    _log_uncaught_errors(process=style == "json")


def log_done(stage: str, facts: Mapping[str, Any], *, seconds: float) -> None:
    """Log the end of a stage in one line of key=value; only numeric facts are logged, never an id."""
    counts = {name.replace(" ", "_"): _short(value) for name, value in facts.items() if type(value) in (int, float)}
    logger.bind(**counts, seconds=round(seconds, 2)).info("{} done", stage)


def _short(value: float) -> float:
    """Round a fraction to six digits: more digits could look like a card number and be masked."""
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
    """The value to log: a number unchanged unless it is a card number, anything else as masked text."""
    number = isinstance(value, int | float) and math.isfinite(value)
    if number and abs(value) < _SHORTEST_CARD:
        return value
    text = str(value)
    masked = text if name == _CHECKED else mask(text)
    return value if number and masked == text else masked


def _traceback(record: Record) -> str:
    error = record["exception"]
    if error is None or error.value is None:
        return ""
    return "".join(traceback.format_exception(error.value)).rstrip()


class _Forward(logging.Handler):
    """Forwards records of the standard library's loggers to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        def set_name(loguru_record: Record) -> None:
            loguru_record["name"] = record.name

        known = record.levelname in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        log = logger.opt(exception=record.exc_info).patch(set_name)
        log.log(record.levelname if known else record.levelno, "{}", _message(record))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().rstrip()
    except (TypeError, ValueError, KeyError):  # the arguments do not match the format; logging must not raise
        return f"{record.msg} {record.args}"


def _log_uncaught_errors(*, process: bool) -> None:
    """Log uncaught errors of threads and destructors, which Python would print unmasked.

    Existing hooks are not replaced.

    Parameters
    ----------
    process
        Also log an uncaught error that ends the process.
    """
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread_error
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable
    if process:
        sys.excepthook = _log_process_error


def _log_thread_error(args: threading.ExceptHookArgs) -> None:
    name = "a thread" if args.thread is None else f"thread {args.thread.name}"
    logger.opt(exception=args.exc_value).error("{} ended by an uncaught error", name)


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    logger.opt(exception=args.exc_value).error("{}", args.err_msg or "an error that could not be raised")


def _log_process_error(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    logger.opt(exception=error).critical("this is a bug in fraud3000, not in your data: please report it")
