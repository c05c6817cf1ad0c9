"""What the journal keeps: transactions as they were taken, with their features, and what was answered."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic_core import from_json, to_json

from fraud3000.features.online.alone import Value
from fraud3000.models.explain import Reason
from fraud3000.schema import APPROVE

Row = dict[str, Any]
"""A transaction's content: columns of TRANSACTIONS and passthrough ones by name, `ts` in microseconds since the epoch."""

Kind = Literal["transaction", "answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided about one transaction.

    Attributes
    ----------
    score
        Calibrated probability of fraud.
    threshold
        The score from which on there is an alert.
    decision
        approve, review or decline.
    reasons
        Of an alert; of others where they were asked for.
    model_version, fingerprint
        Which model decided, and the SHA-256 of its bundle.
    """

    decision_id: str
    score: float
    threshold: float
    decision: str
    reasons: tuple[Reason, ...]
    model_version: str
    fingerprint: str

    @property
    def alert(self) -> bool:
        return self.decision != APPROVE


@dataclass(frozen=True, slots=True)
class Taken:
    """A transaction that the store has observed.

    Attributes
    ----------
    number
        Place in the journal, which is the order of arrival.
    received_at
        Microseconds since the epoch.
    catalogue
        Hash of the catalogue that the features are of.
    features
        Their values in the catalogue's order, as of the transaction's arrival.
    answer
        None where it could not be decided when it came.
    """

    number: int
    received_at: int
    transaction: Row
    catalogue: str
    features: tuple[Value, ...]
    answer: Answer | None = None

    @property
    def transaction_id(self) -> str:
        return str(self.transaction["transaction_id"])

    @property
    def kind(self) -> Kind:
        return "transaction"

    def body(self) -> bytes:
        """The entry as JSON; equal entries give equal bytes."""
        told = {
            "received_at": self.received_at,
            "transaction": self.transaction,
            "catalogue": self.catalogue,
            "features": self.features,
            "answer": None if self.answer is None else asdict(self.answer),
        }
        return to_json(told)

    def answered(self, answer: Answer) -> Taken:
        return replace(self, answer=answer)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a transaction that could not be decided when it came."""

    number: int
    transaction_id: str
    answer: Answer

    @property
    def kind(self) -> Kind:
        return "answer"

    def body(self) -> bytes:
        """The entry as JSON; equal entries give equal bytes."""
        return to_json({"answer": asdict(self.answer)})


Entry = Taken | Answered


def read(number: int, kind: str, transaction_id: str, body: bytes) -> Entry:
    """The entry that `body` was made of."""
    told = from_json(body)
    if kind == "answer":
        return Answered(number, transaction_id, _answer(told["answer"]))
    answer, features = told.pop("answer"), tuple(told.pop("features"))
    return Taken(number, **told, features=features, answer=None if answer is None else _answer(answer))


def _answer(told: dict[str, Any]) -> Answer:
    reasons = tuple(Reason(**reason) for reason in told.pop("reasons"))
    return Answer(**told, reasons=reasons)
