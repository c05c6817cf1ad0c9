"""Results that the client returns, as frozen dataclasses; unknown fields of a response are ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

from fraud3000.service.engine.fallback import Verdict

_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Reason:
    """Reason for a score."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Error of a transaction or a label record."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision about one transaction, or its error.

    Attributes
    ----------
    transaction_id
        Id as it was sent; None if it could not be read.
    decision_id
        Id of the decision in the service; None for decisions of the client's fallback and for errors.
    score, threshold
        Calibrated probability of fraud, and the score from which on there is an alert; None without a model.
    alert
        True unless the decision is ``approve``.
    decision
        ``approve``, ``review`` or ``decline``.
    decision_source
        ``model``, or ``fallback`` if only the amount decided.
    reasons
        Reasons for the score, if requested.
    model_version
        Version of the model that decided; None for decisions of the client's fallback.
    error
        Error of the transaction; then all other fields but its id are empty.

    Examples
    --------
    >>> Decision(transaction_id="1", decision="approve", decision_source="fallback", alert=False).unanswered
    True
    """

    transaction_id: str | None
    decision_id: str | None = None
    score: float | None = None
    threshold: float | None = None
    alert: bool | None = None
    decision: Verdict | None = None
    decision_source: Literal["model", "fallback"] | None = None
    reasons: tuple[Reason, ...] = ()
    model_version: str | None = None
    error: Fault | None = None

    @property
    def unanswered(self) -> bool:
        """True if the client's fallback decided because the service did not respond; send the transaction again."""
        return self.decision_source == "fallback" and self.decision_id is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(Decision):
    """Decision other than approve, as reviewers read it.

    Attributes
    ----------
    expected_loss
        Expected loss in minor units, by which alerts are sorted.
    open
        True while the transaction has no label record.
    """

    expected_loss: float
    open: bool
    ts: datetime | None = None
    card_id: str | None = None
    terminal_id: str | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRecord:
    """Label of a transaction from one source, and from when on it is known."""

    is_fraud: bool
    source: str
    reported_at: datetime | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Decision):
    """Decision with its inputs.

    Attributes
    ----------
    transaction
        Transaction as stored: with the card id hashed if the service hashes cards.
    features
        Feature values by name; a list if the current model has other features.
    labels
        Label records since then.
    """

    bundle_sha256: str | None
    received_at: datetime
    transaction: Mapping[str, Any]
    features: Mapping[str, float | None] | list[float | None]
    labels: tuple[LabelRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Stored label record, or its error.

    Attributes
    ----------
    number
        Number of its entry in the service's journal.
    recorded_at
        Time from which on it is known to features.
    """

    transaction_id: str | None
    number: int | None = None
    recorded_at: datetime | None = None
    error: Fault | None = None


def read(kind: type[_Kind], content: Mapping[str, Any]) -> _Kind:
    """Convert decoded JSON to a result.

    Raises
    ------
    TypeError, ValueError
        A field is missing or malformed.

    Examples
    --------
    >>> read(Reason, {"code": "AMOUNT", "text": "amount: 489.00", "new": 1})
    Reason(code='AMOUNT', text='amount: 489.00')
    """
    names = [field.name for field in fields(cast(Any, kind))]
    return kind(**{name: _READERS.get(name, _unchanged)(content[name]) for name in names if name in content})


def _unchanged(value: Any) -> Any:
    return value


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _each(kind: type[_Kind]) -> Callable[[list[Any]], tuple[_Kind, ...]]:
    return lambda items: tuple(read(kind, item) for item in items)


_READERS: dict[str, Callable[[Any], Any]] = {
    "reasons": _each(Reason),
    "labels": _each(LabelRecord),
    "error": lambda content: None if content is None else read(Fault, content),
    **dict.fromkeys(("ts", "received_at", "reported_at", "recorded_at"), _time),
}
