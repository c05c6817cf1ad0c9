"""Split a long JSON list of objects into pieces that are short enough to parse without blocking.

The parser holds the interpreter for as long as it runs: a body of 16 MiB with a million keys takes it most of a second.
Finding the end of an object needs only its strings and brackets, so the list is split before anything is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

MAX_BYTES = 256 * 1024
"""Bytes of JSON that are parsed at once: a whole body, a line, or one item of a list. Takes 15 ms at worst."""

MAX_TOKENS = 4096
"""Strings and brackets of one item: each takes the parser time, however short it is."""

_MIN_PIECE = 16 * 1024
"""Bytes after which a piece ends with its next item."""

_SPACE = rb"[ \t\r\n]*+"
_HEAD = re.compile(_SPACE + rb"\{" + _SPACE + rb'("(?:[^"\\]|\\.){0,100}+")' + _SPACE + rb":" + _SPACE + rb"\[")
_COMMA = re.compile(_SPACE + b",")
_TAIL = re.compile(_SPACE + rb"\]" + _SPACE + rb"\}" + _SPACE + rb"\Z")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


class TooLong(Exception):
    """An item has more bytes, strings or brackets than may be parsed at once."""


class Malformed(Exception):
    """The content is not a JSON list in an object; the message says where."""


def head(content: bytes) -> tuple[bytes, int] | None:
    """Read the beginning of an object whose first value is a list.

    Returns
    -------
    tuple or None
        The first key as JSON text, and the offset of the list's first item. None if the content begins differently.

    Examples
    --------
    >>> head(b'{"labels": [{}]}')
    (b'"labels"', 12)
    """
    match = _HEAD.match(content)
    return None if match is None else (match[1], match.end())


def pieces(content: bytes, start: int) -> Iterator[bytes]:
    """Yield the items of a list as shorter JSON lists, each of one or more whole items.

    The pieces together hold the same bytes, so the parser still finds errors inside an item.

    Parameters
    ----------
    start
        Offset of the list's first item. The list must be the last value of its object, and the object the whole content.

    Raises
    ------
    TooLong
        An item has more than `MAX_BYTES` bytes or `MAX_TOKENS` strings and brackets.
    Malformed
        Items are not separated by commas, or the list is not the end of its object and of the content.

    Examples
    --------
    >>> list(pieces(b'{"labels": [{"a": 1}, {"b": []}]}', 12))
    [b'[{"a": 1}, {"b": []}]']
    """
    while True:
        end = _end_of_piece(content, start)
        yield b"[" + content[start:end] + b"]"
        if _TAIL.match(content, end):
            return
        comma = _COMMA.match(content, end)
        if comma is None:
            raise Malformed(f"`,` or the end of the list and its object is missing at byte {end + 1:,}")
        start = comma.end()


def _end_of_piece(content: bytes, start: int) -> int:
    """Return the offset after the last item of the piece that begins at `start`."""
    depth, end, tokens = 0, start, 0
    for token in islice(_TOKEN.finditer(content, start, start + MAX_BYTES), MAX_TOKENS):
        tokens += 1
        byte = content[token.start()]
        if byte in _OPENING:
            depth += 1
        elif byte in _CLOSING:
            depth -= 1
            if depth < 0:  # the end of the list
                return token.start()
            if depth == 0:
                end = token.end()
                if end - start >= _MIN_PIECE:
                    return end
    if end > start:
        return end
    if start + MAX_BYTES < len(content) or tokens == MAX_TOKENS:
        raise TooLong
    return len(content)
