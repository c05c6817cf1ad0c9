"""Single values of YAML on one line, quoted where YAML would read them as something else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./{}-]*(?: [A-Za-z0-9_./-]+)*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "none", "nan", "inf", "y", "n"}


def comment(text: str) -> str:
    r"""Return text that can stand in a comment: line breaks and control characters become blanks.

    Examples
    --------
    >>> comment("a column\nworkspace: elsewhere")
    'a column workspace: elsewhere'
    """
    return "".join(sign if sign.isprintable() else " " for sign in text)


def inline(value: Any) -> str:
    """Write a value on one line of YAML.

    Examples
    --------
    >>> inline(["Card No.", "08", "no"]), inline({"separator": ";"})
    ('[Card No., "08", "no"]', '{separator: ";"}')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {inline(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(inline(part) for part in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """Write a single value; text that YAML would read as something else is quoted.

    Examples
    --------
    >>> [scalar(value) for value in ("Betrag", "00", "no", True, 7, "a: b", "")]
    ['Betrag', '"00"', '"no"', 'true', '7', '"a: b"', '""']
    """
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    if re.fullmatch(r"[0-9]+[smhdw]", text) or (_PLAIN.fullmatch(text) and text.lower() not in _WORDS):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
