"""Entries of the journal: transactions with their features and decisions, late decisions, and label records.

A cardholder's personal data is stored beside an entry's body, which contains a salted hash of it. So it can be erased
without a change to the sealed body.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic_core import from_json, to_json

from fraud3000.features.online.row_features import Value
from fraud3000.models.inference.decision import Decision
from fraud3000.schema import DECLINE
from fraud3000.service.operator_entries import AcknowledgementEntry, ErasureEntry, RepairEntry

Row = dict[str, Any]
"""A transaction's content: columns of TRANSACTIONS and passthrough ones by name, `ts` in microseconds since the epoch."""

PERSONAL = ("card_id", "card_lat", "card_long")
"""Columns of personal data, stored beside the body."""

Kind = Literal["transaction", "answer", "label", "erasure", "acknowledgement", "repair"]


@dataclass(frozen=True, slots=True)
class TransactionEntry:
    """A transaction that the feature store has observed, with its features and decision.

    Attributes
    ----------
    number
        Number in the journal, which is the order of arrival.
    received_at
        Microseconds since the epoch.
    newest
        Latest `ts` of all transactions up to this one; None if transactions have no time.
    catalogue
        Hash of the feature catalogue.
    features
        Values in the catalogue's order, as of the transaction's arrival.
    answer
        The decision; None if it could not be made on arrival.
    salt
        Random, so that the hash in the body reveals nothing about the personal data.
    commitment
        That hash, if the personal data was erased; None if it can be computed.
    expired
        True if features and decision were removed at the end of their retention.
    was_declined
        Of an expired entry: whether it was declined.
    """

    number: int
    received_at: int
    newest: int | None
    transaction: Row
    catalogue: str
    features: tuple[Value, ...]
    answer: Decision | None = None
    salt: str = ""
    commitment: str | None = None
    expired: bool = False
    was_declined: bool = False

    @property
    def declined(self) -> bool:
        """True if declined: its outcome will never be observed."""
        return self.was_declined if self.answer is None else self.answer.decision == DECLINE

    @property
    def transaction_id(self) -> str:
        return str(self.transaction["transaction_id"])

    @property
    def kind(self) -> Kind:
        return "transaction"

    def body(self) -> bytes:
        """Encode the entry as JSON; equal entries give equal bytes."""
        fields = {
            **self._transaction_fields(),
            "catalogue": self.catalogue,
            "features": self.features,
            "answer": None if self.answer is None else self.answer.to_dict(),
        }
        return to_json(fields)

    def expired_body(self) -> bytes:
        """Encode the entry without features and decision, as JSON."""
        fields = self._transaction_fields()
        return to_json({**fields, "declined": True} if self.declined else fields)

    def personal(self) -> bytes | None:
        """Encode the personal data that is stored beside the body, as JSON; None if there is none."""
        values = self._personal_values()
        if not values:
            return None
        return to_json({"erased": self.commitment, **values} if self.commitment else {"salt": self.salt, **values})

    def pseudonymized(self, pseudonym: str) -> TransactionEntry:
        """Return the entry without personal data, its card renamed to a random name that all its transactions share."""
        rest = {name: value for name, value in self.transaction.items() if name not in PERSONAL[1:]}
        transaction = {**rest, "card_id": pseudonym}
        return replace(self, transaction=transaction, salt="", commitment=self.personal_hash())

    def _transaction_fields(self) -> dict[str, Any]:
        plain = {name: value for name, value in self.transaction.items() if name not in PERSONAL}
        fields = {"received_at": self.received_at, "newest": self.newest, "transaction": plain}
        return {**fields, "personal": self.personal_hash()} if len(plain) < len(self.transaction) else fields

    def _personal_values(self) -> dict[str, Any]:
        return {name: self.transaction[name] for name in PERSONAL if name in self.transaction}

    def personal_hash(self) -> str:
        """Return the salted hash of the personal data that the body contains, in hexadecimal."""
        return self.commitment or hashlib.sha256(self.salt.encode() + to_json(self._personal_values())).hexdigest()

    def answered(self, answer: Decision) -> TransactionEntry:
        """Return the entry with a decision."""
        before = (self.number, self.received_at, self.newest, self.transaction, self.catalogue, self.features)
        after = (self.salt, self.commitment, self.expired, self.was_declined)
        return TransactionEntry(*before, answer, *after)  # `replace` takes three times as long


@dataclass(frozen=True, slots=True)
class LateDecisionEntry:
    """The decision about a transaction that could not be decided on arrival."""

    number: int
    transaction_id: str
    answer: Decision

    @property
    def kind(self) -> Kind:
        return "answer"

    def body(self) -> bytes:
        """Encode the entry as JSON; equal entries give equal bytes."""
        return to_json({"answer": self.answer.to_dict()})

    @property
    def declined(self) -> bool:
        """True if declined: its outcome will never be observed."""
        return self.answer.decision == DECLINE


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """A record of the label ledger.

    Attributes
    ----------
    transaction_id
        Of a transaction that may arrive later.
    source
        Such as chargeback or analyst.
    reported_at
        As sent, in microseconds since the epoch.
    recorded_at
        Time from which the label is visible: later than every transaction that arrived before it.
    """

    number: int
    transaction_id: str
    is_fraud: int
    source: str
    reported_at: int | None
    recorded_at: int

    @property
    def kind(self) -> Kind:
        return "label"

    def body(self) -> bytes:
        """Encode the entry as JSON; equal entries give equal bytes."""
        return to_json({name: getattr(self, name) for name in ("is_fraud", "source", "reported_at", "recorded_at")})


Entry = TransactionEntry | LateDecisionEntry | LabelEntry | ErasureEntry | AcknowledgementEntry | RepairEntry


def decision_id(number: int, fingerprint: str, transaction_id: str) -> str:
    """Return 24 hexadecimal digits: the entry's number, then a hash of the model and the transaction."""
    digest = hashlib.sha256(f"{fingerprint}\n{transaction_id}".encode()).hexdigest()
    return f"{number:012x}{digest[:12]}"


def number_in(decision: str) -> int:
    """Parse the number of the transaction's entry from the id of its decision.

    Examples
    --------
    >>> number_in(decision_id(42, "f" * 64, "1236698"))
    42
    """
    return int(decision[:12], 16)


def decode(number: int, kind: str, transaction_id: str, body: bytes, personal: bytes | None = None) -> Entry:
    """Decode an entry from its body and the personal data beside it.

    Raises
    ------
    ValueError
        The personal data does not match its hash in the body.
    """
    fields = from_json(body)
    if kind == "label":
        return LabelEntry(number, transaction_id, **fields)
    if kind == "answer":
        return LateDecisionEntry(number, transaction_id, Decision.from_dict(fields["answer"]))
    if kind == "erasure":
        return ErasureEntry(number, **fields)
    if kind == "acknowledgement":
        return AcknowledgementEntry.from_body(number, fields)
    if kind == "repair":
        return RepairEntry.from_body(number, fields)
    expected_hash = fields.pop("personal", None)
    values = from_json(personal) if personal else {}
    salt, erased = values.pop("salt", ""), values.pop("erased", None)
    decision, features = fields.pop("answer", None), tuple(fields.pop("features", ()))
    entry = TransactionEntry(
        number,
        fields["received_at"],
        fields["newest"],
        {**fields["transaction"], **values},
        fields.get("catalogue", ""),
        features,
        None if decision is None else Decision.from_dict(decision),
        salt,
        erased,
        expired="catalogue" not in fields,
        was_declined=fields.get("declined", False),
    )
    if expected_hash is not None and expected_hash != entry.personal_hash():
        raise ValueError(f"entry {number}: its personal data does not match the hash in its body")
    return entry
