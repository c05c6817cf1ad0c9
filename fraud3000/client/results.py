"""What a service answers, as frozen objects; a field that this version does not know is passed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

from fraud3000.service.engine.fallback import Verdict

_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for a score."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a transaction or a label record."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about one transaction, or what is wrong with it.

    Attributes
    ----------
    transaction_id
        As it was sent; None where what was sent has none that can be read.
    decision_id
        Names the decision in the service; None where the client made it, and where there is an error.
    score, threshold
        Calibrated probability of fraud, and from where on there is an alert; None where no model was asked.
    alert
        Whether it is not approved.
    decision
        ``approve``, ``review`` or ``decline``.
    decision_source
        ``model``, or ``fallback`` where the amount alone decided.
    reasons
        As they were asked for.
    model_version
        Of the model that decided; None where the client did.
    error
        What is wrong with the transaction; then all else but its id is empty.

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
        """Whether the client decided, since the service did not answer: send it again, as it was."""
        return self.decision_source == "fallback" and self.decision_id is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(Decision):
    """A decision in the queue of those who work on it.

    Attributes
    ----------
    expected_loss
        Minor units; the queue's order.
    open
        Whether no label record speaks of it yet.
    """

    expected_loss: float
    open: bool
    ts: datetime | None = None
    card_id: str | None = None
    terminal_id: str | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRecord:
    """What a source said of a transaction's label, and since when that is known."""

    is_fraud: bool
    source: str
    reported_at: datetime | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Decision):
    """A decision with all that it was made of.

    Attributes
    ----------
    transaction
        As it is kept: the card hashed, if the service hashes cards.
    features
        By name, as they were read; a list where the present model has others.
    labels
        What was said of it since.
    """

    bundle_sha256: str | None
    received_at: datetime
    transaction: Mapping[str, Any]
    features: Mapping[str, float | None] | list[float | None]
    labels: tuple[LabelRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A label record that is kept, or what is wrong with it.

    Attributes
    ----------
    number
        Its place in the service's journal.
    recorded_at
        Transactions after it know it.
    """

    transaction_id: str | None
    number: int | None = None
    recorded_at: datetime | None = None
    error: Fault | None = None


def read(kind: type[_Told], told: Mapping[str, Any]) -> _Told:
    """Make an object of what was told in JSON.

    Raises
    ------
    TypeError, ValueError
        It was told in another form.

    Examples
    --------
    >>> read(Reason, {"code": "AMOUNT", "text": "amount: 489.00", "new": 1})
    Reason(code='AMOUNT', text='amount: 489.00')
    """
    names = [field.name for field in fields(cast(Any, kind))]
    return kind(**{name: _READERS.get(name, _as_is)(told[name]) for name in names if name in told})


def _as_is(told: Any) -> Any:
    return told


def _moment(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)


def _each(kind: type[_Told]) -> Callable[[list[Any]], tuple[_Told, ...]]:
    return lambda told: tuple(read(kind, one) for one in told)


_READERS: dict[str, Callable[[Any], Any]] = {
    "reasons": _each(Reason),
    "labels": _each(LabelRecord),
    "error": lambda told: None if told is None else read(Fault, told),
    **dict.fromkeys(("ts", "received_at", "reported_at", "recorded_at"), _moment),
}
