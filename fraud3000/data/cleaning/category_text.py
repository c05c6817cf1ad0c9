"""Canonical text of a category: the same value gives the same text, whatever its type in a file or a request."""

from __future__ import annotations

import re

TRAILING_ZEROS = r"^(?:(-?[1-9][0-9]*)|-?(0))\.0+$"
"""A whole number written with a decimal point; numbers with leading zeros, such as 0742.0, are codes and do not match."""
MISSING = ("", "NaN", "nan")
"""Texts that mean a missing value."""
BOOLEANS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}

BLANKS = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""Unicode white space, as polars and pydantic strip it; `str.strip` also strips the separators U+001C to U+001F."""

_WHOLE = re.compile(TRAILING_ZEROS, re.ASCII)


def canonical(value: object) -> str | None:
    """Return the canonical text of one category, or None if the value is missing.

    Whole numbers have no decimal point; booleans are ``true`` and ``false``. Any other text is not changed, including
    leading zeros. `fraud3000.data.cleaning.passthrough.category` does the same for a column.

    Examples
    --------
    >>> [canonical(value) for value in (7995, 7995.0, "7995", "7995.0", "0742", True, 0.5, float("nan"), " food ")]
    ['7995', '7995', '7995', '7995', '0742', 'true', '0.5', None, 'food']
    """
    if value is None:
        return None
    text = BOOLEANS.get(text := str(value).strip(BLANKS), text)
    whole = _WHOLE.match(text)
    text = (whole[1] or whole[2]) if whole else text
    return None if text in MISSING else text
