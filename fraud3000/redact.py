r"""Find card numbers in text and mask them before text is logged, printed, returned or written.

The rule: 13 to 19 decimal digits of any script that begin with an issuer's prefix, have a length of that issuer and
pass the Luhn check. Up to three characters other than letters and digits may separate two of the digits.

- A number is *standalone* if no further digit directly precedes or follows it. All lengths of its issuer count.
- Inside longer digit sequences only the issuer's usual length counts, and only if the digits are unbroken or in the usual
  groups.
- A colon is a separator only after a group of at least four digits: after shorter groups it is part of a time of day.

`mask` searches text for both kinds. An id is refused only for a standalone number (`find_in_id`): one in six random
numbers of twenty digits contains a card number by chance, and a refused id costs a row. docs/mapping.md states the rates.

The cost is linear in the length of the text. Uses only the standard library, so that logs can use it without
loading the data layer.

References
----------
ISO/IEC 7812-1: structure of the number and its check digit (annex B).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import NamedTuple

MASKED = "[card number]"


class _Issuer(NamedTuple):
    """Prefix as a pattern, the lengths of standalone numbers, and the lengths of numbers inside longer digit sequences."""

    prefix: str
    lengths: tuple[int, ...]
    embedded: tuple[int, ...]


_ISSUERS = (
    _Issuer("4", (13, 16, 19), (16,)),  # Visa
    _Issuer("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,), (16,)),  # Mastercard
    _Issuer("3[47]", (15,), (15,)),  # American Express
    _Issuer("30[0-5]|3095|3[689]", (14, 16), (14,)),  # Diners Club
    _Issuer("35(?:2[89]|[3-8])", (16, 17, 18, 19), (16,)),  # JCB
    _Issuer("62|81", (16, 17, 18, 19), (16, 19)),  # UnionPay
    _Issuer("50|5[6-8]|6", (13, 14, 15, 16, 17, 18, 19), (16,)),  # Maestro, Discover, RuPay, Elo and others
    _Issuer("220[0-5]|9792|8600|9860|82", (16,), (16,)),  # national schemes
)
_SHORTEST, _LONGEST = 13, 19
_PREFIX_DIGITS = 4
_NO_ISSUER = len(_ISSUERS)
_OTHER = 0x80  # a value that differs from every sum modulo 10


_PREFIXES = re.compile("|".join(f"({issuer.prefix})" for issuer in _ISSUERS))  # one group per issuer


def _issuer_of(prefix: str) -> int:
    match = _PREFIXES.match(prefix)
    return (match.lastindex or 0) - 1 if match else _NO_ISSUER


_ISSUER_OF = {prefix: _issuer_of(prefix) for prefix in (f"{number:04d}" for number in range(10**_PREFIX_DIGITS))}
"""The first four digits of a number to the index of its issuer."""

_NO_LENGTH = {
    length: bytes(0 if index < _NO_ISSUER and length in _ISSUERS[index].lengths else _OTHER for index in range(256))
    for length in range(_SHORTEST, _LONGEST + 1)
}
"""By length: maps an issuer's index to 0 if its numbers may have that length, otherwise to _OTHER."""

_WIDEST_GAP = 3
_ESCAPE = r"\\u(?:00a0|00A0|00ad|00AD|20[0-6][0-9a-fA-F]|2212|3000|feff|FEFF)|\\[tnrfvb]|%(?:0[9aAdD]|2[0bBcCdDeEfF]|5[fF]|7[cC])"
_ESCAPED = re.compile(_ESCAPE)
"""Separators as JSON and URLs escape them."""

_FILLER = "\ue000"  # private-use character that pads an escape to its length
_SEPARATOR = rf"(?:(?:[^\w:{_FILLER}]|_|(?<=\d{{4}}):){_FILLER}*)"
_RUN = re.compile(rf"\d(?:{_SEPARATOR}{{0,{_WIDEST_GAP}}}+\d)*+")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_MAYBE = re.compile(rf"\d(?:(?:[^\w]|_|{_ESCAPE}){{0,{_WIDEST_GAP}}}\d){{{_SHORTEST - 1}}}")
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
_NEGATIVE = re.compile(r"\s*-[0-9]+\s*")
_WIDEST = _LONGEST * (1 + _WIDEST_GAP * len("\\u00a0"))  # characters of a card number with all its separators

MAYBE = rf"\p{{Nd}}(?:(?:[^\p{{L}}\p{{N}}]|{_ESCAPE}){{0,{_WIDEST_GAP}}}\p{{Nd}}){{{_SHORTEST - 1}}}"
"""A pattern for polars that matches every text with a card number, and few other texts."""


def _borders(length: int, *begins: int) -> bytes:
    return bytes(int(index in begins) for index in range(1, length))


_PRINTED = {
    14: (bytes(13), _borders(14, 4, 10)),
    15: (bytes(14), _borders(15, 4, 10)),
    16: (bytes(15), _borders(16, 4, 8, 12)),
    19: (bytes(18), _borders(19, 4, 8, 12, 16)),
}
"""By length: the inner borders of unbroken digits, and of the groups printed on cards."""

_DIGITS = b"0123456789"
_NO_DIGITS = bytes(sorted({*range(256)} - {*_DIGITS}))
_IS_DIGIT = bytes(int(code in _DIGITS) for code in range(256))
_NEGATED = bytes((1, 0)) + bytes(254)
_PLAIN = bytes.maketrans(_DIGITS, bytes(range(10)))
_DOUBLED = bytes.maketrans(_DIGITS, bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_NO_DIFFERENCE = re.compile(rb"\x00")


def mask(text: str) -> str:
    """Replace every card number in a text.

    All digits are masked, also the last four: next to a hash of the same card they would help to find the number. If
    candidates overlap, all of them are masked.

    Examples
    --------
    >>> mask('{"pan": "4111 1111-1111.1111", "amount": 57.16}')
    '{"pan": "[card number]", "amount": 57.16}'
    >>> mask("4111111111111112 is off by one")
    '4111111111111112 is off by one'
    """
    if len(text) < _SHORTEST:
        return text
    masked = _masked(text)
    # The digits next to a masked number may now be standalone. A second pass suffices, because it adds no new borders.
    return text if masked is text else _masked(masked)


def excerpt(text: str, most: int) -> str:
    """The first `most` characters of a text, with card numbers masked, including one that the cut would split.

    Examples
    --------
    >>> excerpt("card 4111111111111111 of C. Holder", 20)
    'card [card number] o'
    """
    return mask(text[: most + _WIDEST])[:most]


def lengths(prefix: str) -> tuple[int, ...]:
    """The lengths of card numbers that begin with these four digits; empty if no issuer uses them.

    Examples
    --------
    >>> lengths("4111"), lengths("1522")
    ((13, 16, 19), ())
    """
    index = _ISSUER_OF[prefix]
    return () if index == _NO_ISSUER else _ISSUERS[index].lengths


class IdMatch(NamedTuple):
    """Whether an id contains a standalone number with an issuer's prefix and length, and whether such a number passes Luhn.

    One in ten such numbers that are not card numbers passes by chance.
    """

    has_form: bool
    passes: bool


_NO_NUMBER = IdMatch(has_form=False, passes=False)


def find_in_id(value: str) -> IdMatch:
    """Search an id for a standalone card number.

    Numbers within a word of letters and digits or within a UUID do not count, nor do negative numbers.

    Examples
    --------
    >>> find_in_id("order-4111111111111111"), find_in_id("4111111111111112")
    (IdMatch(has_form=True, passes=True), IdMatch(has_form=True, passes=False))
    >>> find_in_id("0b242a4111111111111111df30655b9d").has_form
    False
    """
    if len(value) < _SHORTEST or not _MAYBE.search(value) or _NEGATIVE.fullmatch(value):
        return _NO_NUMBER
    has_form = False
    for run in _runs(_UUID.sub("-", value)):
        for start, end in run.standalone():
            if (start == 0 and run.joined_before) or (end == len(run.digits) and run.joined_after):
                continue
            has_form = True
            if run.pass_luhn(start, end):
                return IdMatch(has_form=True, passes=True)
    return IdMatch(has_form, passes=False)


def is_card_number(value: float) -> bool:
    """Whether a number is a card number; sign and fraction are ignored.

    Examples
    --------
    >>> is_card_number(4111111111111111.0), is_card_number(4111111111111112)
    (True, False)
    """
    return (
        math.isfinite(value)
        and 10 ** (_SHORTEST - 1) <= abs(value) < 10**_LONGEST
        and find_in_id(str(int(abs(value)))).passes
    )


def passes_luhn(digits: str) -> bool:
    """Whether the check digit at the end is correct (Luhn).

    Examples
    --------
    >>> passes_luhn("4111111111111111"), passes_luhn("4111111111111112")
    (True, False)
    """
    return _Run.from_text(digits, 0).pass_luhn(0, len(digits))


@dataclass(frozen=True)
class _Run:
    """A run of digits in a text with only separators between them.

    Attributes
    ----------
    digits
        The digits in ASCII.
    offsets
        The index of each digit in the text.
    borders
        For each index from 0 to the number of digits: 1 if a group of digits begins or ends there, otherwise 0.
    joined_before, joined_after
        Whether only letters lie between this run and the digits before and after it.
    """

    digits: str
    offsets: list[int]
    borders: bytes
    joined_before: bool
    joined_after: bool
    _issuers: bytes
    _sums: tuple[bytes, bytes]

    @classmethod
    def from_text(cls, text: str, offset: int, *, joined_before: bool = False, joined_after: bool = False) -> _Run:
        characters = text.encode("latin-1", "replace")
        is_digit = characters.translate(_IS_DIGIT)
        digits = characters.translate(None, _NO_DIGITS).decode()
        follows_gap = bytes((1,)) + is_digit[:-1].translate(_NEGATED)
        return cls(
            digits,
            list(compress(range(offset, offset + len(text)), is_digit)),
            bytes(compress(follows_gap, is_digit)) + bytes((1,)),
            joined_before,
            joined_after,
            bytes([_ISSUER_OF[digits[index : index + 4]] for index in range(len(digits) - _PREFIX_DIGITS + 1)]),
            _luhn_sums(digits.encode()),
        )

    def card_numbers(self) -> Iterator[tuple[int, int]]:
        """Yield start and end of every card number."""
        for length in range(_SHORTEST, min(_LONGEST, len(self.digits)) + 1):
            for start in self._passing(length):
                end = start + length
                usual = length in _ISSUERS[self._issuers[start]].embedded
                if self.is_standalone(start, end) or (usual and self._is_grouped_as_printed(start, end)):
                    yield start, end

    def standalone(self) -> Iterator[tuple[int, int]]:
        """Yield start and end of every standalone number with an issuer's prefix and length, whatever its check digit."""
        for start, index in enumerate(self._issuers):
            if index != _NO_ISSUER and self.borders[start]:
                ends = (start + length for length in _ISSUERS[index].lengths)
                yield from ((start, end) for end in ends if end < len(self.borders) and self.borders[end])

    def is_standalone(self, start: int, end: int) -> bool:
        """Whether no digit directly precedes or follows the digits from `start` to before `end`."""
        return self.borders[start] == self.borders[end] == 1

    def pass_luhn(self, start: int, end: int) -> bool:
        """Whether the digits from `start` to before `end` pass the Luhn check."""
        sums = self._sums[end % 2]
        return sums[end] == sums[start]

    def _passing(self, length: int) -> Iterator[int]:
        """Yield the starts of numbers of a length that have an issuer and pass Luhn; compares all at once as long integers."""
        even, odd = self._sums
        ends, starts = bytearray(even), bytearray(self._sums[length % 2])
        ends[1::2], starts[1::2] = odd[1::2], self._sums[1 - length % 2][1::2]
        count = len(ends) - length
        differing = int.from_bytes(ends[length:]) ^ int.from_bytes(starts[:count])
        differing |= int.from_bytes(self._issuers[:count].translate(_NO_LENGTH[length]))
        return (match.start() for match in _NO_DIFFERENCE.finditer(differing.to_bytes(count)))

    def _is_grouped_as_printed(self, start: int, end: int) -> bool:
        """Whether the digits are unbroken, or in the groups printed on cards."""
        borders = self.borders[start + 1 : end]
        return borders in _PRINTED[end - start]


def _luhn_sums(digits: bytes) -> tuple[bytes, bytes]:
    """Luhn sums modulo 10 of the digits before each index: with digits at even indexes doubled, and at odd indexes.

    For a number that ends before an even index, the digits at even indexes are doubled.
    """
    plain, doubled = digits.translate(_PLAIN), digits.translate(_DOUBLED)
    sums = []
    for parity in (0, 1):
        values = bytearray(plain)
        values[parity::2] = doubled[parity::2]
        sums.append(bytes(map((10).__rmod__, accumulate(values, initial=0))))
    return sums[0], sums[1]


def _masked(text: str) -> str:
    if not _MAYBE.search(text):
        return text
    parts: list[str] = []
    done = 0
    for run in _runs(text):
        for start, end in _merged(run.card_numbers()):
            parts += [text[done : run.offsets[start]], MASKED]
            done = run.offsets[end - 1] + 1
    return "".join([*parts, text[done:]]) if parts else text


def _runs(text: str) -> Iterator[_Run]:
    """Yield the runs of at least thirteen digits."""
    plain = _ESCAPED.sub(lambda match: " " + _FILLER * (len(match[0]) - 1), text)
    if not plain.isascii():
        plain = _OTHER_DIGIT.sub(lambda match: str(int(match[0])), plain)
    matches = list(_RUN.finditer(plain))
    for index, match in enumerate(matches):
        start, end = match.span()
        if end - start < _SHORTEST:
            continue
        before = plain[matches[index - 1].end() : start] if index else ""
        after = plain[end : matches[index + 1].start()] if index + 1 < len(matches) else ""
        run = _Run.from_text(match[0], start, joined_before=before.isalpha(), joined_after=after.isalpha())
        if len(run.digits) >= _SHORTEST:
            yield run


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
