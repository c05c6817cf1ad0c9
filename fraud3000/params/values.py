"""Types of single values in a params file: durations, dates, flags, column names."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, Strict
from pydantic_core import PydanticCustomError

from fraud3000 import durations

_LONGEST = 100 * 366 * 86_400
_LONGEST_WINDOW = 10 * 366 * 86_400
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].+)?")
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _to_seconds(value: object, longest: int) -> int:
    """Parse a duration; a number is refused, because it has no unit."""
    if not isinstance(value, str):
        raise PydanticCustomError("duration", "a duration needs a unit")
    length = durations.seconds(value)
    if length > longest:
        raise ValueError(f"'{value}' is more than {durations.text(longest)}")
    return length


def _to_timedelta(value: object) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(seconds=_to_seconds(value, _LONGEST))


def _checked_length(value: object) -> object:
    _to_seconds(value, _LONGEST_WINDOW)
    return value


def _to_datetime(value: object) -> object:
    """Parse a date or time; a number such as 20240131 is not read as seconds since 1970."""
    if isinstance(value, str):
        if not _DATE.fullmatch(value.strip()):
            raise ValueError(f"'{value}' is not a date; write it as 2024-01-31 or 2024-01-31 13:05:00")
        return datetime.fromisoformat(value.strip())
    return datetime(value.year, value.month, value.day) if type(value) is date else value


def _to_sign(value: object) -> object:
    if type(value) is not int:
        raise PydanticCustomError("sign", "Input should be -1 or 1")
    return value


def _to_bool(value: object) -> object:
    return _SWITCH.get(value.lower(), value) if isinstance(value, str) else value


def _check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"'{value}' is not a time zone; write a name such as 'Europe/Paris'") from error
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_to_timedelta),
    PlainSerializer(durations.text, return_type=str),
]
"""A whole-second duration, written as text such as ``7d``; a number without a unit is refused."""
Moment = Annotated[datetime, BeforeValidator(_to_datetime)]
"""A date, or a date and time; in UTC unless it has an offset."""
Flag = Annotated[bool, BeforeValidator(_to_bool)]
"""True or false, also written yes, no, on and off."""
Sign = Annotated[Literal[-1, 1], BeforeValidator(_to_sign)]
"""1 or -1; true is not accepted."""
_Item = TypeVar("_Item")
Several = Annotated[tuple[_Item, ...], Strict(strict=False)]
"""A list in the file."""
Rate = Annotated[float, Field(gt=0, le=1)]
"""A share of rows."""
Columns = str | Several[str]
"""One column of the raw file, or several that together form the value."""
Length = Annotated[str, BeforeValidator(_checked_length)]
"""A whole-second duration that keeps its text, because feature names contain it."""
Span = Annotated[tuple[Moment, Moment], Strict(strict=False)]
"""A half-open span of event time [first, last); in UTC unless it has an offset."""
Zone = Annotated[str, AfterValidator(_check_zone)]
"""Name of a time zone, such as Europe/Paris."""
