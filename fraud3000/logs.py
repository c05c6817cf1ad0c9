"""Log records on stderr, as text or as JSON lines, with card numbers taken out."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from loguru import logger

from fraud3000.errors import ParamsError
from fraud3000.redact import mask

if TYPE_CHECKING:
    from loguru import Message, Record

VARIABLE = "FRAUD3000_LOG_FORMAT"
STYLES = ("text", "json")
_LEVELS = ("INFO", "DEBUG", "TRACE")


def set_up(verbosity: int = 0, *, style: str | None = None, stream: TextIO | None = None) -> None:
    """Send every record of this process, other libraries' too, to one stream.

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


def done(stage: str, facts: Mapping[str, Any], *, seconds: float) -> None:
    """Log that a stage is done, in one line of key=value; only numbers are told, never an id."""
    counts = {name.replace(" ", "_"): _short(value) for name, value in facts.items() if type(value) in (int, float)}
    logger.bind(**counts, seconds=round(seconds, 2)).info("{} done", stage)


def _short(value: float) -> float:
    """Keep six digits of a fraction: more of them could pass for a card number and be masked."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _as_text(record: Record) -> str:
    fields = "".join(f" {name}={value}" for name, value in record["extra"].items())
    line = f"{record['time']:HH:mm:ss} {record['level'].name.lower():<7} {record['message']}{fields}"
    return mask("\n".join(filter(None, [line, _traceback(record)])))


def _as_json(record: Record) -> str:
    fields = {
        "time": record["time"].isoformat(),
        "level": record["level"].name.lower(),
        "module": record["name"],
        "message": record["message"],
        **record["extra"],
        "exception": _traceback(record),
    }
    texts = {name: value if isinstance(value, int | float) else mask(str(value)) for name, value in fields.items()}
    return json.dumps({name: value for name, value in texts.items() if value != ""}, ensure_ascii=False)


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
        log.log(record.levelname if known else record.levelno, "{}", record.getMessage())
