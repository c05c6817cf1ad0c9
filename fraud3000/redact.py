"""Card numbers taken out of text before it is logged, printed or written.

Needs nothing but `re`, so that logs can use it without loading the data layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MASKED = "[card number]"

_BLANK = "\\t \u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff"
_DASH = "\\-.\u00ad\u2010-\u2015\u2212"
_ESCAPED = r"\\t|\\u(?:00a0|00ad|20[0-6][0-9a-fA-F]|2212|3000|feff|FEFF)"  # as JSON writes them
GAP = rf"(?:[{_BLANK}{_DASH}]|{_ESCAPED}){{1,3}}"
"""What people write between the digits of a card number: blanks, dashes and dots of all sorts."""

_GROUPS = re.compile(rf"\d+(?:{GAP}\d+)*")
_GROUP = re.compile(rf"(?:{GAP})?(\d+)")
_SHORTEST, _LONGEST = 11, 19
_WIDEST = _LONGEST * (1 + 3 * len("\\u00a0"))  # characters of a card number with all that may stand between its digits


def mask(text: str) -> str:
    """Replace every card number in a text: 11 to 19 digits that pass Luhn, separated or not.

    The whole number goes, last digits too: next to a hash of the same card they would help to
    find it. A number may stand between others; where candidates overlap, all of them go. Digits
    that run on for twenty or more are no card number.

    Examples
    --------
    >>> mask('{"pan": "4111 1111-1111.1111", "amount": 57.16}')
    '{"pan": "[card number]", "amount": 57.16}'
    >>> mask("4111111111111112 is off by one")
    '4111111111111112 is off by one'
    """
    return _GROUPS.sub(_mask_groups, text)


def excerpt(text: str, most: int) -> str:
    """The beginning of a text that may be told, its card numbers masked, also one that would be cut in two.

    Examples
    --------
    >>> excerpt("card 4111111111111111 of C. Holder", 20)
    'card [card number] o'
    """
    return mask(text[: most + _WIDEST])[:most]


def passes_luhn(digits: str) -> bool:
    """Tell whether the check digit at the end is right.

    Examples
    --------
    >>> passes_luhn("4111111111111111"), passes_luhn("4111111111111112")
    (True, False)

    References
    ----------
    ISO/IEC 7812-1, annex B.
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _mask_groups(found: re.Match[str]) -> str:
    text = found[0]
    groups = [group.span(1) for group in _GROUP.finditer(text)]
    masked: list[str] = []
    done = 0
    for start, end in _merged(_card_spans(text, groups)):
        masked += [text[done:start], MASKED]
        done = end
    return "".join([*masked, text[done:]])


def _card_spans(text: str, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, (start, _) in enumerate(groups):
        digits = ""
        for group_start, end in groups[first : first + _LONGEST]:
            digits += text[group_start:end]
            if len(digits) > _LONGEST:
                break
            if len(digits) >= _SHORTEST and digits.strip("0") and passes_luhn(digits):
                yield start, end


def _merged(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
