"""A request's transactions, checked one by one and brought to the form in which they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, repeat
from typing import Any, TypeVar

import polars as pl
from pydantic import BaseModel, ValidationError

from fraud3000.data.cleaning import passthrough, sensitive
from fraud3000.data.cleaning.roles import KeyLoader
from fraud3000.data.reading.columns import snake_case
from fraud3000.features.online.event_encoder import microseconds
from fraud3000.params import ColumnMapping, Span
from fraud3000.redact import excerpt, find_in_id, is_card_number, mask
from fraud3000.schema import APPROVED, REFUND
from fraud3000.service.engine.label_input import LabelInput
from fraud3000.service.http.schemas import ErrorDetail, LabelRecord, transaction_model
from fraud3000.service.http.time_slices import Slices
from fraud3000.service.journal.entries import Row

AHEAD = timedelta(minutes=5)
"""How far a transaction's time may lie after that of its arrival: clocks differ."""

_FORMS = "Amounts are integers in minor units, times ISO 8601 with an offset"
_HASHED_AT_ONCE = 500  # cards
_MOST_TOLD = 5  # problems of an item
_TOLD = 40  # characters of what was found
_HASHED_CARD = "Send the card as the prepared transactions have it: its number hashed."
_OTHER_ID = (
    "Send another id; if yours look like card numbers by chance, list {} under prepare.mapping.card_like_ids and train."
)

Sent = TypeVar("Sent", bound=BaseModel)

Now = Callable[[], datetime]


@dataclass(frozen=True)
class ValidatedTransactions:
    """What became of a request's transactions.

    Attributes
    ----------
    rows
        Those that can be decided, in the order of the request.
    received_at
        The clock when they came, in microseconds since the epoch.
    faults
        Place in the request to what is wrong with the transaction there.
    """

    rows: list[Row]
    received_at: int
    faults: dict[int, ErrorDetail]


@dataclass(frozen=True)
class ValidatedLabels:
    """What became of a request's label records: those that can be kept, the clock, and what is wrong with the others."""

    said: list[LabelInput]
    received_at: int
    faults: dict[int, ErrorDetail]


class RequestValidator:
    """Takes transactions as they are sent by users of one data set.

    Parameters
    ----------
    mapping
        Of the bundle: which fields there are.
    span
        Times must lie in [first, last).
    card_key
        Gives the key for card numbers, called only where there are any.
    now
        The clock.

    Attributes
    ----------
    lost
        For each coordinate, how many values were off the globe and became null.
    """

    def __init__(self, mapping: ColumnMapping, span: Span, card_key: KeyLoader, now: Now) -> None:
        self.model = transaction_model(mapping)
        self._mapping, self._span, self._card_key, self._now = mapping, span, card_key, now
        role = mapping.columns.card_id
        self._hashed = mapping.card_numbers == "yes" and (
            isinstance(role, str) or (role is not None and len(role) == 1)
        )
        if self._hashed:
            card_key()  # a missing key is told when the service starts, not with the first card
        self.lost = dict.fromkeys((role for role in passthrough.LIMITS if role in self.model.model_fields), 0)
        self._numbers = [snake_case(name, 0) for name in mapping.numeric]
        self.lost |= dict.fromkeys(self._numbers, 0)
        roles = [role for role in self.model.model_fields if role in sensitive.ID_ROLES]
        self._searched = sensitive.searched_roles(roles, mapping, hashed=self._hashed)
        self._categories = [snake_case(name, 0) for name in mapping.categorical]

    async def check(self, items: Sequence[Any], slices: Slices) -> ValidatedTransactions:
        """Check each transaction on its own; one that is wrong does not keep the others back."""
        now = self._now()
        latest = now + AHEAD
        found = await slices.collect(map(self._check_one, items, repeat(latest)), steps=len(items))
        rows: list[Row] = []
        faults: dict[int, ErrorDetail] = {}
        for place, one in enumerate(found):
            if isinstance(one, dict):
                rows.append(one)
            else:
                faults[place] = one
        if self._hashed:
            parts = (rows[first : first + _HASHED_AT_ONCE] for first in range(0, len(rows), _HASHED_AT_ONCE))
            await slices.collect(map(self._hash_cards, parts))
        return ValidatedTransactions(rows, microseconds(now), faults)

    def _check_one(self, item: Any, latest: datetime) -> Row | ErrorDetail:
        """A transaction as it is kept, except that its card is not hashed yet, or what is wrong with it."""
        made = _read(item, self.model, "transaction", _FORMS)
        fault = made if isinstance(made, ErrorDetail) else self._out_of_time(made, latest) or self._card_number(made)
        return self._without_card_numbers(self._row(made), item) if fault is None else fault

    def _without_card_numbers(self, row: Row, item: Any) -> Row:
        """Set numbers to null that are card numbers as they were sent: a float would have lost their last digits."""
        for name in self._numbers:
            if _is_card_number(item.get(name)):
                row[name] = None
                self.lost[name] += 1
        return row

    async def check_labels(self, items: Sequence[Any], slices: Slices) -> ValidatedLabels:
        """Check each label record on its own."""
        now = self._now()
        latest = now + AHEAD
        found = await slices.collect(self._check_label(item, latest) for item in items)
        faults = {place: one for place, one in enumerate(found) if isinstance(one, ErrorDetail)}
        return ValidatedLabels([one for one in found if not isinstance(one, ErrorDetail)], microseconds(now), faults)

    def _check_label(self, item: Any, latest: datetime) -> LabelInput | ErrorDetail:
        """A label record as it is kept, or what is wrong with it."""
        made = _read(item, LabelRecord, "label", "Times are ISO 8601 with an offset")
        if isinstance(made, LabelRecord):
            made = self._id_fault("transaction_id", made.transaction_id) or _placed(made, latest)
        if isinstance(made, ErrorDetail):
            return made
        times = [None if at is None else microseconds(at) for at in (made.reported_at, made.recorded_at)]
        return LabelInput(made.transaction_id, int(made.is_fraud), made.source, *times)

    def _out_of_time(self, made: BaseModel, latest: datetime) -> ErrorDetail | None:
        at = getattr(made, "ts", None)
        if at is None:
            return None
        if at > latest:
            return _ahead("ts", at)
        first, last = self._span
        if not first <= at < last:
            said = f"ts: {at.isoformat()} lies outside {first.isoformat()} to {last.isoformat()}"
            return ErrorDetail(
                code="time_out_of_range", message=said, hint="See prepare.earliest and latest of the params."
            )
        return None

    def _card_number(self, made: BaseModel) -> ErrorDetail | None:
        """Refuse an id that contains a card number and is not hashed."""
        for role in self._searched:
            fault = self._id_fault(role, getattr(made, role))
            if fault is not None:
                return fault
        return None

    def _id_fault(self, role: str, value: str) -> ErrorDetail | None:
        if role not in self._searched or not find_in_id(value).passes:
            return None
        hint = _HASHED_CARD if role == "card_id" else _OTHER_ID.format(role)
        return ErrorDetail(code="card_number", message=f"{role}: contains a card number", hint=hint)

    def _hash_cards(self, rows: Sequence[Row]) -> None:
        """Replace card numbers by their names under the card key."""
        hashed = self._card_key().names(pl.Series([row["card_id"] for row in rows], dtype=pl.String))
        for row, card in zip(rows, hashed, strict=True):
            row["card_id"] = card

    def _row(self, made: BaseModel) -> Row:
        row = made.__dict__.copy()
        if "ts" in row:
            row["ts"] = microseconds(row["ts"])
        row["amount"], row["status"] = _settled(row["amount"], row["status"])
        for role, most in passthrough.LIMITS.items():
            if role in row and row[role] is not None and abs(row[role]) > most:
                row[role] = None
                self.lost[role] += 1
        for name in self._categories:
            row[name] = mask(row[name]) if row[name] else None
        return row


def _is_card_number(value: object) -> bool:
    return isinstance(value, int | float) and is_card_number(value)


def _settled(amount: int, status: str) -> tuple[int, str]:
    """As `normalise_refunds` does to columns."""
    if amount < 0 and status == APPROVED:
        status = REFUND
    return (-abs(amount) if status == REFUND else amount), status


def _read(item: Any, model: type[Sent], what: str, hint: str) -> Sent | ErrorDetail:
    """An item as it is meant, or what is wrong with it."""
    fields = model.model_fields
    if len(item) > len(fields):  # some of them are unknown, and it may be a million
        unknown = islice((name for name in item if name not in fields), _MOST_TOLD)
        return _unknown("; ".join(map(_unknown_field, unknown)), model, what)
    try:
        return model.model_validate(item)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        told = "; ".join(_problem(problem, what) for problem in problems[:_MOST_TOLD])
        if any(problem["type"] == "extra_forbidden" for problem in problems):
            return _unknown(told, model, what)
        return ErrorDetail(code=f"invalid_{what}", message=told, hint=f"{hint}; see /openapi.json.")


def _unknown(told: str, model: type[BaseModel], what: str) -> ErrorDetail:
    return ErrorDetail(
        code=f"invalid_{what}", message=told, hint=f"Fields of a {what}: {', '.join(model.model_fields)}."
    )


def _placed(made: LabelRecord, latest: datetime) -> LabelRecord | ErrorDetail:
    """A label record that is not of the future and whose source is a name."""
    given = [at for at in (made.reported_at, made.recorded_at) if at is not None]
    if any(at > latest for at in given):
        return _ahead("reported_at, recorded_at", max(given))
    if mask(made.source) != made.source:
        hint = "Name who says so, such as chargeback or analyst."
        return ErrorDetail(code="card_number", message="source: contains a card number", hint=hint)
    return made


def _ahead(field: str, at: datetime) -> ErrorDetail:
    said = f"{field}: {at.isoformat()} lies more than {AHEAD.seconds // 60} minutes after its arrival"
    return ErrorDetail(code="future_event", message=said, hint="Check the sender's clock and its time zone.")


def _problem(problem: Any, what: str) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or f"the {what}"
    if problem["type"] == "extra_forbidden":
        return _unknown_field(field)
    if problem["type"] == "missing":
        return f"{field}: missing"
    found = problem["input"]
    shown = f", found {excerpt(str(found), _TOLD)!r}" if isinstance(found, str | int | float | bool | None) else ""
    return f"{field}: {problem['msg']}{shown}"


def _unknown_field(name: str) -> str:
    return f"{excerpt(name, _TOLD)}: unknown field"
