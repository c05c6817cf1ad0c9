"""HTTP messages of the service, as it sends them and as its client reads them: field names, headers and limits."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

API_KEY_VARIABLE, API_KEY_HEADER = "FRAUD3000_API_KEY", "X-API-Key"
REQUEST_ID_HEADER = "X-Request-ID"
JSON, NDJSON = "application/json", "application/x-ndjson"

MAX_ITEMS = 10_000
"""Maximum number of transactions or label records in one request."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Maximum size of a request body."""

Verdict = Literal["approve", "review", "decline"]
"""What the decision policy does with a transaction."""


class WireMessage(BaseModel):
    """Base of request and response bodies; the service rejects unknown fields, the client ignores them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReasonText(WireMessage):
    """A reason for a score, with the feature group as code."""

    code: str = Field(examples=["CARD_AMOUNTS"])
    text: str = Field(examples=["amount as a multiple of the mean of this card in 7d: 8.1 times (typically 1.0 times)"])


class ErrorDetail(WireMessage):
    """An error in a request or in one of its items."""

    code: str = Field(examples=["invalid_transaction"])
    message: str = Field(examples=["amount: Input should be a valid integer, found 'abc'"])
    hint: str = Field(examples=["Send the amount as an integer in minor units: 57.16 is 5716."])


class DecisionFields(WireMessage):
    """Decision about one transaction."""

    transaction_id: str | None
    decision_id: str | None = Field(
        None, description="Id of this decision; a replay of the transaction with the same model has the same id."
    )
    score: float | None = Field(None, description="Calibrated probability of fraud; null if the fallback decided.")
    threshold: float | None = Field(None, description="Lowest score of an alert; null if the fallback decided.")
    alert: bool | None = Field(None, description="True if the transaction is not approved.")
    decision: Verdict | None = Field(None, description="What the decision policy does with the transaction.")
    decision_source: Literal["model", "fallback"] | None = Field(
        None, description="The fallback decides by the amount alone if the deadline has passed."
    )
    reasons: tuple[ReasonText, ...] = ()
    model_version: str | None = Field(
        None,
        description="Version of the model that decided; a result of /score has it only if it is not the present one.",
    )

    @property
    def unanswered(self) -> bool:
        """True if the client's fallback decided because the service did not respond; send the transaction again."""
        return self.decision_source == "fallback" and self.decision_id is None


class DecisionResult(DecisionFields):
    """Decision about one transaction, or the error in it."""

    error: ErrorDetail | None = None


class AlertItem(DecisionFields):
    """An alert with the transaction's main fields, for an analyst's queue."""

    ts: datetime | None = None
    card_id: str | None = None
    terminal_id: str | None = None
    amount: int
    expected_loss: float = Field(description="Expected loss if the transaction is approved, in minor units.")
    open: bool = Field(description="True while the transaction has no label record.")


class StoredLabel(WireMessage):
    """A label record in the journal."""

    is_fraud: bool
    source: str
    reported_at: datetime | None
    recorded_at: datetime


class DecisionRecord(DecisionFields):
    """A decision with its transaction, features and label records."""

    bundle_sha256: str | None = Field(description="SHA-256 of the bundle of the model that decided.")
    received_at: datetime
    transaction: dict[str, Any]
    features: dict[str, Any] | list[Any] = Field(
        description="Feature values at the time of the decision; a list in the order of the catalogue of that time if the present model has another one."
    )
    labels: tuple[StoredLabel, ...]


class LabelResult(WireMessage):
    """A stored label record, or the error in it."""

    transaction_id: str | None
    number: int | None = Field(None, description="Number of its journal entry.")
    recorded_at: datetime | None = Field(None, description="Features of later transactions use the label.")
    error: ErrorDetail | None = None
