"""JSON bodies of requests, encoded once so that a retry sends the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from fraud3000.errors import DataError
from fraud3000.wire import MAX_BODY_BYTES, MAX_ITEMS

MAX_JSON_BYTES = MAX_BODY_BYTES - 1024 * 1024
"""Maximum size of the items in one request, with room for the enclosing object."""

Item = Mapping[str, Any]
"""Transaction or label record: a mapping of its fields."""

_MINOR = "Amounts are integers in minor units: 57.16 is sent as 5716."
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Batch:
    """Items of one request, and its encoded body.

    Attributes
    ----------
    items
        Items as the caller passed them.
    content
        Encoded JSON.
    """

    items: Sequence[Item]
    content: bytes


def single(name: str, item: Item) -> Batch:
    """Encode a single item.

    Raises
    ------
    DataError
        A value has no JSON form, or an amount is not an integer.

    Examples
    --------
    >>> single("transactions", {"transaction_id": "1", "amount": 5716}).content
    b'{"transaction_id":"1","amount":5716}'
    >>> single("transactions", {"transaction_id": "1", "amount": 57.16})
    Traceback (most recent call last):
    fraud3000.errors.DataError: transaction '1': amount: 57.16 is a float
    Hint: Amounts are integers in minor units: 57.16 is sent as 5716.
    """
    return Batch([item], _encoded(name.removesuffix("s"), item))


def batches(name: str, items: Iterable[Item], *, rows: int = MAX_ITEMS, size: int = MAX_JSON_BYTES) -> list[Batch]:
    """Encode items in as few requests as possible, in order.

    All items are encoded before any is sent, so that nothing is sent if one is invalid.

    Raises
    ------
    DataError
        A value has no JSON form, or an amount is not an integer.

    Examples
    --------
    >>> encoded = batches("labels", [{"transaction_id": "1"}, {"transaction_id": "2"}, {"transaction_id": "3"}], rows=2)
    >>> [batch.content for batch in encoded]
    [b'{"labels":[{"transaction_id":"1"},{"transaction_id":"2"}]}', b'{"labels":[{"transaction_id":"3"}]}']
    """
    kind = name.removesuffix("s")
    encoded = [(item, _encoded(kind, item, number)) for number, item in enumerate(items, 1)]
    return [
        Batch([item for item, _ in group], b'{"%b":[%b]}' % (name.encode(), b",".join(row for _, row in group)))
        for group in _grouped(encoded, rows, size)
    ]


def amount(item: Item) -> int | None:
    """Return the amount of an item as it is sent; None if it is not an integer.

    Examples
    --------
    >>> amount({"amount": Decimal("5716")}), amount({"amount": "5716"})
    (5716, None)
    """
    value = _json_value("amount", item.get("amount"))
    return value if isinstance(value, int) else None


def _grouped(encoded: Iterable[tuple[Item, bytes]], rows: int, size: int) -> Iterator[list[tuple[Item, bytes]]]:
    group: list[tuple[Item, bytes]] = []
    filled = 0
    for item, row in encoded:
        if group and (len(group) == rows or filled + len(row) + 1 > size):
            yield group
            group, filled = [], 0
        group.append((item, row))
        filled += len(row) + 1
    if group:
        yield group


def _encoded(kind: str, item: Any, number: int | None = None) -> bytes:
    if not isinstance(item, Mapping):
        which = f"{kind} {number}" if number else f"the {kind}"
        raise DataError(f"{which} is a {type(item).__name__}, not a dict", hint=f"Pass each {kind} as a dict.")
    try:
        return _encode({name: _json_value(name, value) for name, value in item.items()}).encode()
    except UnicodeEncodeError:
        message, hint = "contains invalid Unicode", "Remove unpaired surrogates from its text."
    except _InvalidValue as error:
        message, hint = error.message, error.hint
    id_ = item.get("transaction_id")
    which = f"{kind} '{id_}'" if isinstance(id_, str) and id_.isprintable() else f"the {kind}"
    item_number = f" (item {number})" if number else ""
    raise DataError(f"{which}{item_number}: {message}", hint=hint)


class _InvalidValue(Exception):
    """Value that cannot be sent."""

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint


def _json_value(name: str, value: Any) -> Any:
    """Convert a value to one that JSON can represent."""
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if name == "amount":
        return _minor(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise _InvalidValue(
                f"{name}: {value} has no UTC offset", "Add its time zone, such as .replace(tzinfo=UTC)."
            )
        return value.isoformat()
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise _InvalidValue(f"{name}: {value} is not a finite number", "Send None for an unknown value.")
        return float(value)
    raise _InvalidValue(
        f"{name}: a {type(value).__name__} is not supported", "Send text, numbers, or times with a UTC offset."
    )


def _minor(value: Any) -> Any:
    """Convert an amount to an integer; reject types that may hold major units. The service validates text."""
    if isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == 0:
        return int(value)
    if not isinstance(value, int | str | None) or isinstance(value, bool):
        raise _InvalidValue(f"amount: {value} is a {type(value).__name__}", _MINOR)
    return value
