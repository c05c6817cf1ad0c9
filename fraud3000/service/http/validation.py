"""Validation of transactions and label records, one by one, and conversion to journal rows."""

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
from fraud3000.service.entries import Row
from fraud3000.service.http.schemas import LabelRecord, transaction_model
from fraud3000.service.http.time_slices import Slices
from fraud3000.wire import ErrorDetail

AHEAD = timedelta(minutes=5)
"""How far a time may be after its arrival, since clocks differ."""

_FORMATS = "Amounts are integers in minor units, times ISO 8601 with an offset"
_HASH_BATCH = 500  # cards
_MAX_PROBLEMS = 5  # of an item in its error message
_MAX_QUOTED = 40  # characters of a value in an error message
_HASHED_CARD = "Send the hashed card id that the prepared transactions have, not the card number."
_OTHER_ID = "Send another id. If your ids look like card numbers by chance, add {} to prepare.mapping.card_like_ids and train again."

Model = TypeVar("Model", bound=BaseModel)

Now = Callable[[], datetime]


@dataclass(frozen=True)
class ValidatedTransactions:
    """Valid transactions of a request as rows, and the errors in the others.

    Attributes
    ----------
    rows
        Valid transactions, in the order of the request.
    received_at
        Arrival time, in microseconds since the epoch.
    errors
        Errors of invalid transactions, by index in the request.
    """

    rows: list[Row]
    received_at: int
    errors: dict[int, ErrorDetail]


@dataclass(frozen=True)
class ValidatedLabels:
    """Valid label records of a request, their arrival time, and the errors in the others by index."""

    labels: list[LabelInput]
    received_at: int
    errors: dict[int, ErrorDetail]


class RequestValidator:
    """Validates transactions and label records for one column mapping.

    Parameters
    ----------
    mapping
        The bundle's column mapping, which defines the fields.
    span
        Times must be in [first, last).
    card_key
        Returns the key that hashes card numbers; called only if cards are hashed.
    now
        The clock.

    Attributes
    ----------
    model
        Pydantic model of a transaction.
    lost
        Number of values that became null, by column: coordinates off the globe, and numbers that are card numbers.
    """

    def __init__(self, mapping: ColumnMapping, span: Span, card_key: KeyLoader, now: Now) -> None:
        self.model = transaction_model(mapping)
        self._mapping, self._span, self._card_key, self._now = mapping, span, card_key, now
        role = mapping.columns.card_id
        self._hashed = mapping.card_numbers == "yes" and (
            isinstance(role, str) or (role is not None and len(role) == 1)
        )
        if self._hashed:
            card_key()  # so that a missing key is an error at start, not with the first card
        self.nulled = dict.fromkeys((role for role in passthrough.LIMITS if role in self.model.model_fields), 0)
        self._numbers = [snake_case(name, 0) for name in mapping.numeric]
        self.nulled |= dict.fromkeys(self._numbers, 0)
        roles = [role for role in self.model.model_fields if role in sensitive.ID_ROLES]
        self._searched = sensitive.searched_roles(roles, mapping, hashed=self._hashed)
        self._categories = [snake_case(name, 0) for name in mapping.categorical]

    async def check(self, items: Sequence[Any], slices: Slices) -> ValidatedTransactions:
        """Validate transactions; an invalid one does not affect the others."""
        now = self._now()
        latest = now + AHEAD
        results = await slices.collect(map(self._check_transaction, items, repeat(latest)), steps=len(items))
        rows: list[Row] = []
        errors: dict[int, ErrorDetail] = {}
        for index, result in enumerate(results):
            if isinstance(result, dict):
                rows.append(result)
            else:
                errors[index] = result
        if self._hashed:
            parts = (rows[first : first + _HASH_BATCH] for first in range(0, len(rows), _HASH_BATCH))
            await slices.collect(map(self._hash_cards, parts))
        return ValidatedTransactions(rows, microseconds(now), errors)

    def _check_transaction(self, item: Any, latest: datetime) -> Row | ErrorDetail:
        """Return a transaction as a journal row, with the card not hashed yet, or the error in it."""
        parsed = _parse(item, self.model, "transaction", _FORMATS)
        if isinstance(parsed, ErrorDetail):
            return parsed
        error = self._time_error(parsed, latest) or self._card_number_error(parsed)
        return self._without_card_numbers(self._row(parsed), item) if error is None else error

    def _without_card_numbers(self, row: Row, item: Any) -> Row:
        """Set numeric values to null that are card numbers in the request: as floats they would have lost digits."""
        for name in self._numbers:
            if _is_card_number(item.get(name)):
                row[name] = None
                self.nulled[name] += 1
        return row

    async def check_labels(self, items: Sequence[Any], slices: Slices) -> ValidatedLabels:
        """Validate label records; an invalid one does not affect the others."""
        now = self._now()
        latest = now + AHEAD
        results = await slices.collect(self._check_label(item, latest) for item in items)
        errors = {index: result for index, result in enumerate(results) if isinstance(result, ErrorDetail)}
        labels = [result for result in results if not isinstance(result, ErrorDetail)]
        return ValidatedLabels(labels, microseconds(now), errors)

    def _check_label(self, item: Any, latest: datetime) -> LabelInput | ErrorDetail:
        """Return a label record as input of the journal, or the error in it."""
        parsed = _parse(item, LabelRecord, "label", "Times are ISO 8601 with an offset")
        if isinstance(parsed, ErrorDetail):
            return parsed
        error = self._id_error("transaction_id", parsed.transaction_id) or _label_error(parsed, latest)
        if error is not None:
            return error
        times = [None if at is None else microseconds(at) for at in (parsed.reported_at, parsed.recorded_at)]
        return LabelInput(parsed.transaction_id, int(parsed.is_fraud), parsed.source, *times)

    def _time_error(self, transaction: BaseModel, latest: datetime) -> ErrorDetail | None:
        at = getattr(transaction, "ts", None)
        if at is None:
            return None
        if at > latest:
            return _future_error("ts", at)
        first, last = self._span
        if not first <= at < last:
            message = f"ts: {at.isoformat()} is outside {first.isoformat()} to {last.isoformat()}"
            hint = "Check the time; prepare.earliest and prepare.latest in the params set the limits."
            return ErrorDetail(code="time_out_of_range", message=message, hint=hint)
        return None

    def _card_number_error(self, transaction: BaseModel) -> ErrorDetail | None:
        """Return the error of an id that contains a card number and is not hashed."""
        for role in self._searched:
            error = self._id_error(role, getattr(transaction, role))
            if error is not None:
                return error
        return None

    def _id_error(self, role: str, value: str) -> ErrorDetail | None:
        if role not in self._searched or not find_in_id(value).passes:
            return None
        hint = _HASHED_CARD if role == "card_id" else _OTHER_ID.format(role)
        return ErrorDetail(code="card_number", message=f"{role}: contains a card number", hint=hint)

    def _hash_cards(self, rows: Sequence[Row]) -> None:
        """Replace card numbers by their hashed ids, in place."""
        hashed = self._card_key().names(pl.Series([row["card_id"] for row in rows], dtype=pl.String))
        for row, card in zip(rows, hashed, strict=True):
            row["card_id"] = card

    def _row(self, transaction: BaseModel) -> Row:
        row = transaction.__dict__.copy()
        if "ts" in row:
            row["ts"] = microseconds(row["ts"])
        row["amount"], row["status"] = _settle_refund(row["amount"], row["status"])
        for role, limit in passthrough.LIMITS.items():
            if role in row and row[role] is not None and abs(row[role]) > limit:
                row[role] = None
                self.nulled[role] += 1
        for name in self._categories:
            row[name] = mask(row[name]) if row[name] else None
        return row


def _is_card_number(value: object) -> bool:
    return isinstance(value, int | float) and is_card_number(value)


def _settle_refund(amount: int, status: str) -> tuple[int, str]:
    """Make status and sign of the amount consistent, as `settle_refunds` does for columns."""
    if amount < 0 and status == APPROVED:
        status = REFUND
    return (-abs(amount) if status == REFUND else amount), status


def _parse(item: Any, model: type[Model], what: str, hint: str) -> Model | ErrorDetail:
    """Parse an item with a pydantic model; returns the error if it is invalid."""
    fields = model.model_fields
    if len(item) > len(fields):  # with unknown fields, maybe a million of them: not all are parsed
        unknown = islice((name for name in item if name not in fields), _MAX_PROBLEMS)
        return _unknown_fields_error("; ".join(map(_unknown_field, unknown)), model, what)
    try:
        return model.model_validate(item)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        message = "; ".join(_problem(problem, what) for problem in problems[:_MAX_PROBLEMS])
        if any(problem["type"] == "extra_forbidden" for problem in problems):
            return _unknown_fields_error(message, model, what)
        return ErrorDetail(code=f"invalid_{what}", message=message, hint=f"{hint}; see /openapi.json.")


def _unknown_fields_error(message: str, model: type[BaseModel], what: str) -> ErrorDetail:
    hint = f"Fields of a {what}: {', '.join(model.model_fields)}."
    return ErrorDetail(code=f"invalid_{what}", message=message, hint=hint)


def _label_error(label: LabelRecord, latest: datetime) -> ErrorDetail | None:
    """Return the error of a label record from the future, or whose source contains a card number."""
    times = [at for at in (label.reported_at, label.recorded_at) if at is not None]
    if any(at > latest for at in times):
        return _future_error("reported_at, recorded_at", max(times))
    if mask(label.source) != label.source:
        hint = "Send the kind of source, such as chargeback or analyst."
        return ErrorDetail(code="card_number", message="source: contains a card number", hint=hint)
    return None


def _future_error(field: str, at: datetime) -> ErrorDetail:
    message = f"{field}: {at.isoformat()} is more than {AHEAD.seconds // 60} minutes after its arrival"
    return ErrorDetail(code="future_event", message=message, hint="Check the sender's clock and time zone.")


def _problem(problem: Any, what: str) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or f"the {what}"
    if problem["type"] == "extra_forbidden":
        return _unknown_field(field)
    if problem["type"] == "missing":
        return f"{field}: missing"
    value = problem["input"]
    quoted = (
        f", found {excerpt(str(value), _MAX_QUOTED)!r}" if isinstance(value, str | int | float | bool | None) else ""
    )
    return f"{field}: {problem['msg']}{quoted}"


def _unknown_field(name: str) -> str:
    return f"{excerpt(name, _MAX_QUOTED)}: unknown field"
