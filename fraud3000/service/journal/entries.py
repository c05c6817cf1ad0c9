"""What the journal keeps: transactions as they were taken, with their features and what was answered; and label records.

What tells who a cardholder is stands beside an entry's body, which holds a salted hash of it. So it can be taken away
without a change to the body that is sealed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic_core import from_json, to_json

from fraud3000.features.online.row_features import Value
from fraud3000.models.inference.explain import Reason
from fraud3000.schema import APPROVE, DECLINE

Row = dict[str, Any]
"""A transaction's content: columns of TRANSACTIONS and passthrough ones by name, `ts` in microseconds since the epoch."""

PERSONAL = ("card_id", "card_lat", "card_long")
"""Columns that stand beside the body."""

Source = Literal["model", "fallback"]
Kind = Literal["transaction", "answer", "label", "erasure", "acknowledgement", "repair"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one transaction.

    Attributes
    ----------
    score
        Calibrated probability of fraud; None where no model was asked.
    threshold
        The score from which on there is an alert; None likewise.
    decision
        approve, review or decline.
    expected_loss
        If it is approved, in minor units; where no model was asked, what would be lost if it is fraud.
    reasons
        Of an alert; of others where they were asked for.
    model_version, fingerprint
        Which model was there, and the SHA-256 of its bundle.
    source
        Who decided: the model, or the fallback when the deadline had passed.
    bands
        Of the fallback: the amounts from which it reviews and declines.
    """

    decision_id: str
    score: float | None
    threshold: float | None
    decision: str
    expected_loss: float
    reasons: tuple[Reason, ...]
    model_version: str
    fingerprint: str
    source: Source = "model"
    bands: tuple[int | None, int | None] | None = None

    @property
    def alert(self) -> bool:
        return self.decision != APPROVE

    def to_dict(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in self.__slots__}
        return {**told, "reasons": [{"code": reason.code, "text": reason.text} for reason in self.reasons]}


@dataclass(frozen=True, slots=True)
class TransactionEntry:
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
    newest
        The newest `ts` of all transactions up to this one; None without time.
    answer
        None where it could not be decided when it came.
    salt
        Random, so that the hash in the body tells nothing about what is personal.
    commitment
        That hash, where what it was made of was erased; else it is made.
    expired
        Features and answer were kept as long as they are, and are gone.
    left
        Of an expired one: whether it was declined. Of others the answer says so.
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
    left: bool = False

    @property
    def declined(self) -> bool:
        """Whether we declined it, so that nobody will learn what would have become of it."""
        return self.left if self.answer is None else self.answer.decision == DECLINE

    @property
    def transaction_id(self) -> str:
        return str(self.transaction["transaction_id"])

    @property
    def kind(self) -> Kind:
        return "transaction"

    def body(self) -> bytes:
        """The entry as JSON; equal entries give equal bytes."""
        told = {
            **self._content(),
            "catalogue": self.catalogue,
            "features": self.features,
            "answer": None if self.answer is None else self.answer.to_dict(),
        }
        return to_json(told)

    def content(self) -> bytes:
        """What is left of the body once features and answer are gone."""
        return to_json({**self._content(), "declined": True} if self.declined else self._content())

    def personal(self) -> bytes | None:
        """What stands beside the body, as JSON; None where there is nothing of it."""
        told = self._personal()
        if not told:
            return None
        return to_json({"erased": self.commitment, **told} if self.commitment else {"salt": self.salt, **told})

    def erased(self, pseudonym: str) -> TransactionEntry:
        """Without what is personal; the card is another name that tells nothing, the same for all its transactions."""
        kept = {name: value for name, value in self.transaction.items() if name not in PERSONAL[1:]}
        return replace(self, transaction={**kept, "card_id": pseudonym}, salt="", commitment=self.committed())

    def _content(self) -> dict[str, Any]:
        plain = {name: value for name, value in self.transaction.items() if name not in PERSONAL}
        told = {"received_at": self.received_at, "newest": self.newest, "transaction": plain}
        return {**told, "personal": self.committed()} if len(plain) < len(self.transaction) else told

    def _personal(self) -> dict[str, Any]:
        return {name: self.transaction[name] for name in PERSONAL if name in self.transaction}

    def committed(self) -> str:
        """The hash that the body holds of what is personal."""
        return self.commitment or hashlib.sha256(self.salt.encode() + to_json(self._personal())).hexdigest()

    def answered(self, answer: Decision) -> TransactionEntry:
        told = (self.number, self.received_at, self.newest, self.transaction, self.catalogue, self.features)
        rest = (self.salt, self.commitment, self.expired, self.left)
        return TransactionEntry(*told, answer, *rest)  # `replace` takes three times as long


@dataclass(frozen=True, slots=True)
class LateDecisionEntry:
    """The answer to a transaction that could not be decided when it came."""

    number: int
    transaction_id: str
    answer: Decision

    @property
    def kind(self) -> Kind:
        return "answer"

    def body(self) -> bytes:
        """The entry as JSON; equal entries give equal bytes."""
        return to_json({"answer": self.answer.to_dict()})

    @property
    def declined(self) -> bool:
        """Whether we declined it."""
        return self.answer.decision == DECLINE


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """A record of the label ledger.

    Attributes
    ----------
    transaction_id
        Of a transaction that may not have come yet.
    source
        Who says so, such as chargeback or analyst.
    reported_at
        A fact, kept as it was given; microseconds since the epoch.
    recorded_at
        From when on it is known: later than every transaction that was taken before it.
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
        """The entry as JSON; equal entries give equal bytes."""
        told = {name: getattr(self, name) for name in ("is_fraud", "source", "reported_at", "recorded_at")}
        return to_json(told)


@dataclass(frozen=True, slots=True)
class ErasureEntry:
    """A note that what was personal in entries before this one was taken away.

    Attributes
    ----------
    entries
        How many.
    at
        Microseconds since the epoch.
    """

    number: int
    entries: int
    at: int

    @property
    def transaction_id(self) -> str:
        return ""

    @property
    def kind(self) -> Kind:
        return "erasure"

    def body(self) -> bytes:
        """The entry as JSON; equal entries give equal bytes."""
        return to_json({"entries": self.entries, "at": self.at})


@dataclass(frozen=True, slots=True)
class AcknowledgementEntry:
    """A person's statement that lost entries are known to be lost, and why.

    Attributes
    ----------
    at
        Microseconds since the epoch.
    by
        Name of the user who ran the command.
    reason
        In that person's words.
    holes
        Ranges of lost numbers of this journal, each as (first, last).
    stores
        Names of other journals that are lost from this place, with the number of their last known entry.
    """

    number: int
    at: int
    by: str
    reason: str
    holes: tuple[tuple[int, int], ...] = ()
    stores: tuple[tuple[str, int], ...] = ()

    @property
    def transaction_id(self) -> str:
        return ""

    @property
    def kind(self) -> Kind:
        return "acknowledgement"

    def body(self) -> bytes:
        """The entry as JSON; equal entries give equal bytes."""
        return to_json({name: getattr(self, name) for name in ("at", "by", "reason", "holes", "stores")})

    def covers(self, first: int, last: int) -> bool:
        """Whether all entries of a range are acknowledged as lost."""
        return any(begin <= first and last <= end for begin, end in self.holes)

    @classmethod
    def from_body(cls, number: int, body: dict[str, Any]) -> AcknowledgementEntry:
        """The entry that `body` was made of, read back from JSON."""
        holes = tuple((int(first), int(last)) for first, last in body["holes"])
        stores = tuple((str(name), int(last)) for name, last in body["stores"])
        return cls(number, body["at"], body["by"], body["reason"], holes, stores)


@dataclass(frozen=True, slots=True)
class RepairEntry:
    """A person's correction of times that a wrong clock gave to entries before this one, and why.

    Attributes
    ----------
    at
        Microseconds since the epoch.
    by
        Name of the user who ran the command.
    reason
        In that person's words.
    withdrawn
        Numbers of transactions that features and exports ignore from here on; their decisions stay.
    recorded
        Numbers of label records, each with the `recorded_at` that counts from here on, in microseconds since the epoch.
    newest
        The newest `ts` of the transactions that are left, in microseconds since the epoch; None without any.
    """

    number: int
    at: int
    by: str
    reason: str
    withdrawn: tuple[int, ...] = ()
    recorded: tuple[tuple[int, int], ...] = ()
    newest: int | None = None

    @property
    def transaction_id(self) -> str:
        return ""

    @property
    def kind(self) -> Kind:
        return "repair"

    def body(self) -> bytes:
        """The entry as JSON; equal entries give equal bytes."""
        return to_json(
            {name: getattr(self, name) for name in ("at", "by", "reason", "withdrawn", "recorded", "newest")}
        )

    @classmethod
    def from_body(cls, number: int, body: dict[str, Any]) -> RepairEntry:
        """The entry that `body` was made of, read back from JSON."""
        recorded = tuple((int(label), int(at)) for label, at in body["recorded"])
        return cls(number, body["at"], body["by"], body["reason"], tuple(body["withdrawn"]), recorded, body["newest"])


Entry = TransactionEntry | LateDecisionEntry | LabelEntry | ErasureEntry | AcknowledgementEntry | RepairEntry


def decision_id(number: int, fingerprint: str, transaction_id: str) -> str:
    """24 hexadecimal digits: the entry's number, then what binds it to model and transaction."""
    bound = hashlib.sha256(f"{fingerprint}\n{transaction_id}".encode()).hexdigest()
    return f"{number:012x}{bound[:12]}"


def number_in(decision: str) -> int:
    """The number of the transaction's entry that a decision's id begins with.

    Examples
    --------
    >>> number_in(decision_id(42, "f" * 64, "1236698"))
    42
    """
    return int(decision[:12], 16)


def read(number: int, kind: str, transaction_id: str, body: bytes, personal: bytes | None = None) -> Entry:
    """The entry that `body` was made of, with what stood beside it.

    Raises
    ------
    ValueError
        What stands beside it is not what stood there.
    """
    told = from_json(body)
    if kind == "label":
        return LabelEntry(number, transaction_id, **told)
    if kind == "answer":
        return LateDecisionEntry(number, transaction_id, _answer(told["answer"]))
    if kind == "erasure":
        return ErasureEntry(number, **told)
    if kind == "acknowledgement":
        return AcknowledgementEntry.from_body(number, told)
    if kind == "repair":
        return RepairEntry.from_body(number, told)
    said = told.pop("personal", None)
    mine = from_json(personal) if personal else {}
    salt, erased = mine.pop("salt", ""), mine.pop("erased", None)
    answer, features = told.pop("answer", None), tuple(told.pop("features", ()))
    taken = TransactionEntry(
        number,
        told["received_at"],
        told["newest"],
        {**told["transaction"], **mine},
        told.get("catalogue", ""),
        features,
        None if answer is None else _answer(answer),
        salt,
        erased,
        expired="catalogue" not in told,
        left=told.get("declined", False),
    )
    if said is not None and said != taken.committed():
        raise ValueError(f"entry {number}: what is personal is not what it was")
    return taken


def _answer(told: dict[str, Any]) -> Decision:
    reasons = tuple(Reason(**reason) for reason in told.pop("reasons"))
    bands = told.pop("bands")
    return Decision(**told, reasons=reasons, bands=None if bands is None else tuple(bands))
