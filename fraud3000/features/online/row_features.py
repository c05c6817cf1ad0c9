"""Features that read only the transaction itself: its own columns, and its local time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fraud3000.data.cleaning import category_text
from fraud3000.features.online.event_encoder import Transaction
from fraud3000.features.online.plan import SECOND
from fraud3000.features.spec.catalogue import Catalogue
from fraud3000.features.spec.kinds import Calendar, Column

Value = float | bool | str | None

NIGHT_UNTIL = 6
WEEKEND_FROM = 5

_CALENDAR_PARTS: dict[str, Callable[[datetime], float | bool]] = {
    "hour": lambda local: float(local.hour),
    "weekday": lambda local: float(local.weekday()),
    "night": lambda local: local.hour <= NIGHT_UNTIL,
    "weekend": lambda local: local.weekday() >= WEEKEND_FROM,
}


class RowFeatures:
    """Computes the features of a catalogue that read only the transaction itself.

    Examples
    --------
    >>> row_features = RowFeatures(Catalogue((Column("amount"), Calendar("hour")), label_delay=0, zone="Europe/Paris"))
    >>> row_features.compute({"amount": 250}, ts=0)
    {'amount': 250.0, 'hour': 1.0}
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._columns = [feature for feature in catalogue.features if isinstance(feature, Column)]
        self._parts = [(f.name, _CALENDAR_PARTS[f.part]) for f in catalogue.features if isinstance(f, Calendar)]
        self._zone = ZoneInfo(catalogue.zone)

    def compute(self, transaction: Transaction, ts: int) -> dict[str, Value]:
        """Compute the features of a transaction; ts in microseconds."""
        values = {column.name: _value(column, transaction.get(column.column)) for column in self._columns}
        if self._parts:
            local = datetime.fromtimestamp(ts // SECOND, self._zone)  # exact: offsets are whole seconds
            values |= {name: part(local) for name, part in self._parts}
        return values


def _value(column: Column, value: Any) -> Value:
    if value is None:
        return None
    if column.categorical:
        return value if isinstance(value, str) else category_text.canonical(value)
    number = float(value)
    return None if number != number else number  # noqa: PLR0124  only NaN differs from itself
