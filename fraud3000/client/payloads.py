"""What is sent, as JSON: made once, so that a retry sends the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from fraud3000.errors import DataError

MOST_ROWS = 10_000
"""Transactions or label records of one request, as the service takes them."""

MOST_BYTES = 15 * 1024 * 1024
"""And their bytes, with room for what stands around them."""

Item = Mapping[str, Any]
"""A transaction or a label record, field by field."""

_MINOR = "Amounts are integers in minor units: 57.16 is sent as 5716."
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Piece:
    """What goes into one request.

    Attributes
    ----------
    items
        What was given.
    content
        The same as it is sent.
    """

    items: Sequence[Item]
    content: bytes


def single(name: str, item: Item) -> Piece:
    """Lay out one item.

    Raises
    ------
    DataError
        It cannot be sent as it is.

    Examples
    --------
    >>> single("transactions", {"transaction_id": "1", "amount": 5716}).content
    b'{"transaction_id":"1","amount":5716}'
    >>> single("transactions", {"transaction_id": "1", "amount": 57.16})
    Traceback (most recent call last):
    fraud3000.errors.DataError: transaction '1': amount: 57.16 is a float
    Hint: Amounts are integers in minor units: 57.16 is sent as 5716.
    """
    return Piece([item], _laid_out(name.removesuffix("s"), item))


def pieces(name: str, items: Iterable[Item], *, rows: int = MOST_ROWS, size: int = MOST_BYTES) -> list[Piece]:
    """Lay out items in as few requests as may be, in their order.

    All of them are laid out before any is sent, so that one that cannot be keeps back all.

    Raises
    ------
    DataError
        One cannot be sent as it is.

    Examples
    --------
    >>> made = pieces("labels", [{"transaction_id": "1"}, {"transaction_id": "2"}, {"transaction_id": "3"}], rows=2)
    >>> [piece.content for piece in made]
    [b'{"labels":[{"transaction_id":"1"},{"transaction_id":"2"}]}', b'{"labels":[{"transaction_id":"3"}]}']
    """
    one = name.removesuffix("s")
    laid_out = [(item, _laid_out(one, item, place)) for place, item in enumerate(items, 1)]
    return [
        Piece([item for item, _ in group], b'{"%b":[%b]}' % (name.encode(), b",".join(row for _, row in group)))
        for group in _grouped(laid_out, rows, size)
    ]


def amount(item: Item) -> int | None:
    """An item's amount as it is sent; None where it has none that is an integer.

    Examples
    --------
    >>> amount({"amount": Decimal("5716")}), amount({"amount": "5716"})
    (5716, None)
    """
    value = _plain("amount", item.get("amount"))
    return value if isinstance(value, int) else None


def _grouped(laid_out: Iterable[tuple[Item, bytes]], rows: int, size: int) -> Iterator[list[tuple[Item, bytes]]]:
    group: list[tuple[Item, bytes]] = []
    filled = 0
    for item, row in laid_out:
        if group and (len(group) == rows or filled + len(row) + 1 > size):
            yield group
            group, filled = [], 0
        group.append((item, row))
        filled += len(row) + 1
    if group:
        yield group


def _laid_out(one: str, item: Any, place: int | None = None) -> bytes:
    where = "" if place is None else f" at place {place}"
    if not isinstance(item, Mapping):
        raise DataError(f"a {type(item).__name__}{where} is no {one}", hint=f"A {one} is a dict of its fields.")
    try:
        return _encode({name: _plain(name, value) for name, value in item.items()}).encode()
    except UnicodeEncodeError:
        message, hint = "holds text that is no Unicode", "Look for half of a surrogate pair."
    except _Unfit as error:
        message, hint = error.message, error.hint
    named = item.get("transaction_id")
    which = f"{one} '{named}'" if isinstance(named, str) and named.isprintable() else f"the {one}"
    raise DataError(f"{which}{where}: {message}", hint=hint)


class _Unfit(Exception):
    """A value that cannot be sent."""

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint


def _plain(name: str, value: Any) -> Any:
    """Bring a value to one of JSON's."""
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    if name == "amount":
        return _minor(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise _Unfit(f"{name}: {value} has no offset", "Say where its clock stands, as by .replace(tzinfo=UTC).")
        return value.isoformat()
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise _Unfit(f"{name}: {value} is no number", "Send None where nothing is known.")
        return float(value)
    raise _Unfit(f"{name}: a {type(value).__name__} cannot be sent", "Send text, numbers and times with an offset.")


def _minor(value: Any) -> Any:
    """Bring an amount to an integer; refuse what looks like one in major units. Text is left to the service."""
    if isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == 0:
        return int(value)
    if not isinstance(value, int | str | None) or isinstance(value, bool):
        raise _Unfit(f"amount: {value} is a {type(value).__name__}", _MINOR)
    return value
